"""System packages on an image as base: the base's own package manager installs them, the one step with a network."""

from __future__ import annotations

import hashlib
import io
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bundler.effects import base_image, feature_repo
from bundler.effects.blobs import BlobStore
from bundler.effects.debian import images as debian
from bundler.errors import ToolFailedError
from bundler.model import spec_reader
from bundler.model.lock import LockedPlatform
from bundler.model.progress import SilentProgress
from bundler.model.spec import BundleSpec
from bundler.oci import layer_format, mutate, tar_reader
from bundler.oci.filetree import File, FileTree
from bundler.oci.layer import Layer, write_layer
from bundler.steps.build import engine_bake
from bundler.steps.build.bake import ImageIdentity
from bundler.steps.build.builder import BuildJob
from bundler.steps.sources.unpacked_base import UnpackedBase
from tests.integration.test_debian import HERE
from tests.support import engines
from tests.support.programs import require

pytestmark = pytest.mark.integration
SPEC = """
name: demo
version: 1.0.0
repo: {path: repo}
feast: {version: 0.61.0}
base: {image: "registry.example/base:1"}
registry: {host: registry.internal.example}
operator: {version: 0.61.0, preinstalled: true}
deployment: {name: demo}
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one Debian package, as an archive serves it."""
    folder = tmp_path_factory.mktemp("archive")
    control = folder / "tree" / "DEBIAN" / "control"
    control.parent.mkdir(parents=True)
    described = "Package: greeting\nVersion: 1.0-1\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\n"
    control.write_text(f"{described}Description: says hello\n")
    (folder / "tree" / "usr" / "lib").mkdir(parents=True)
    (folder / "tree" / "usr" / "lib" / "greeting").write_text("hello\n")
    deb = folder / "greeting.deb"
    subprocess.run([require("dpkg-deb"), "--root-owner-group", "--build", control.parents[1], deb], check=True)
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    listed = f"{described}Filename: ./greeting.deb\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"
    (folder / "Packages").write_text(f"{listed}Description: says hello\n")
    return folder


@pytest.fixture(scope="module")
def address(packages: Path) -> Iterator[str]:
    """Where the archive is served."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(packages))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def store(cache: Path) -> BlobStore:
    return BlobStore(cache)


@pytest.fixture(scope="module")
def apt_base(store: BlobStore, address: str) -> UnpackedBase:
    """A base with Python and apt, whose package source is ours."""
    require("mmdebstrap")
    made = debian.make(debian.DebianRequest.base("bookworm", HERE, ("apt",)), store, progress=SilentProgress()).image
    listed = f"deb [trusted=yes] {address} ./\n".encode()
    tree = FileTree.of([File("etc/apt/sources.list", len(listed), lambda: io.BytesIO(listed))]).with_parents()
    with store.writing() as sink:
        layer = write_layer(tree, sink, epoch=0, created_by="test")
    image = mutate.append_layers(made, (layer,))
    store.put(image.config_bytes())
    store.put(image.manifest_bytes())
    return UnpackedBase(image, base_image.contents(image, store, progress=SilentProgress()))


@pytest.fixture(scope="module", params=["docker", "podman"])
def environment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Mapping[str, str]]]:
    if request.param == "docker":
        with engines.docker() as started:
            yield request.param, {"DOCKER_HOST": started.program[-1]}
        return
    with (
        pytest.MonkeyPatch.context() as patch,
        engines.podman_home(tmp_path_factory.mktemp("podman")) as variables,
    ):
        for variable, value in variables.items():
            patch.setenv(variable, value)
        yield request.param, variables


def spec(*packages: str) -> BundleSpec:
    return spec_reader.read(f"{SPEC}system_packages: {list(packages)}\n", "bundle.yaml")


def job(base: UnpackedBase, folder: Path) -> BuildJob:
    """An image of nothing but the base, a system package and a repo."""
    repo = folder / "repo"
    repo.mkdir(exist_ok=True)
    (repo / "feature_store.yaml").write_text("project: demo\nprovider: local\nregistry: r.db\n")
    digest = str(base.image.descriptor.digest)
    row = LockedPlatform(
        platform=str(HERE), python="3.11.2", glibc="2.36", base_digest=digest, base_packages={}, wheels=()
    )
    read = feature_repo.read(repo, spec().repo)
    identity = ImageIdentity(
        title="demo-feature-server",
        version="1.0.0",
        source=None,
        revision=read.fingerprint,
        feast_version="0.61.0",
        base_name="registry.example/base:1",
        base_digest=base.image.descriptor.digest,
        lock_digest=read.fingerprint,
    )
    return BuildJob(None, HERE, base, row, read, identity, 1_700_000_000)


def _paths(layers: Sequence[Layer], store: BlobStore) -> set[str]:
    found = set()
    for layer in layers:
        with store.open(layer.descriptor.digest) as stream:
            unpacked = layer_format.unpacked(stream, layer.descriptor.media_type)
            found |= {member.path for member, _ in tar_reader.members(unpacked)}
    return found


def test_the_bases_package_manager_installs_them_in_a_step_that_is_marked(
    environment: tuple[str, Mapping[str, str]], apt_base: UnpackedBase, store: BlobStore, tmp_path: Path
) -> None:
    engine, variables = environment
    with engine_bake.builder(spec("greeting"), engine, variables, store, SilentProgress()) as builder:
        image = builder.bake(job(apt_base, tmp_path))
        (finding,) = builder.findings()
        written = builder.work.files
        held = builder.work.contents[HERE].debian_packages
    assert held["greeting"] == "1.0-1"
    assert held.keys() - {"greeting"} == apt_base.contents.debian_packages.keys()
    assert "WITH A NETWORK, by build/Dockerfile.system, not locked: greeting" in finding.evidence
    assert [name for name, text in written.items() if "WITH A NETWORK" in text] == ["Dockerfile.system"]
    assert image.config.user == apt_base.image.config.user != ""
    paths = _paths(image.layers[len(apt_base.image.layers) :], store)
    assert "usr/lib/greeting" in paths
    assert "opt/feast/feature_repo/feature_store.yaml" in paths
    assert not [path for path in paths if path.startswith(("var/lib/apt/lists/", "var/cache/apt/", "var/log/"))]


def test_a_package_that_the_sources_do_not_have_is_one_error(
    environment: tuple[str, Mapping[str, str]], apt_base: UnpackedBase, store: BlobStore, tmp_path: Path
) -> None:
    engine, variables = environment
    with (
        pytest.raises(ToolFailedError, match="apt-get install") as caught,
        engine_bake.builder(spec("nowhere"), engine, variables, store, SilentProgress()) as builder,
    ):
        builder.bake(job(apt_base, tmp_path))
    assert "'system_packages'" in caught.value.remedy
    assert any("Unable to locate package nowhere" in line for line in caught.value.details)

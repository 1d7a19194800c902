"""A container engine bakes the same image: what it says, its repo, its packages, down to the last file."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bundler.effects.archive.reader import Bundle
from bundler.effects.blobs import BlobStore
from bundler.model import layout, media_types
from bundler.model.digest import Digest
from bundler.oci import layer_format, tar_reader
from bundler.oci.image import Image
from bundler.oci.tar import EntryKind
from tests.e2e.conftest import bundler, copy_example, run
from tests.integration.package_index import PackageIndex
from tests.support import engines
from tests.unit.sample_wheels import wheel

# Two bakes in engines and a rehearsal: seven minutes where three workers share two processors.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

# What installers do each in their own way: bookkeeping beside the packages, byte code, the texts of scripts, and the
# folder of C headers, for which pip asks the image's Python.
_OWN_WAY = re.compile(
    r".*\.dist-info/(INSTALLER|RECORD|REQUESTED|direct_url\.json)|.*\.pyc|usr/local/bin/.*|usr/(local/)?include/.*"
)
_PASSWORD = "hunter2-of-the-index"
FileFacts = tuple[int, int, int, str]


@contextmanager
def running(name: str, folder: Path) -> Iterator[Mapping[str, str]]:
    """Start an engine with a storage of its own; yield the variables by which it is found."""
    if name == "docker":
        with engines.docker() as started:
            yield {"DOCKER_HOST": started.program[-1]}
            assert _left(engines.call([*started.program, "images", "--all", "--quiet"])) == []
            assert _left(engines.call([*started.program, "ps", "--all", "--quiet"])) == []
    else:
        with engines.podman_home(folder) as environment:
            yield environment
            assert _left(engines.call(["podman", "images", "--all", "--quiet"], environment)) == []
            assert _left(engines.call(["podman", "ps", "--all", "--external", "--quiet"], environment)) == []


def _left(ran: engines.Ran) -> list[str]:
    assert ran.status == 0, ran.output
    return ran.output.split()


def server(bundle: Path) -> tuple[Image, Mapping[str, FileFacts]]:
    """Return the feature server of a bundle, and mode, owner, group and content of every file in its own layers.

    Folders are left out but for those of the feature repo: layers name only those that the base does not have.
    """
    with Bundle.open(bundle) as opened:
        (found,) = [one for one in opened.manifest.images if one.role == "feature-server"]
        image = Image.from_blobs(found.root, lambda digest: opened.read(layout.blob(digest)))
        files: dict[str, FileFacts] = {}
        for layer in image.layers[1:]:
            with opened.open_member(layout.blob(layer.descriptor.digest)) as stream:
                for member, content in tar_reader.members(layer_format.unpacked(stream, media_types.OCI_LAYER_GZIP)):
                    state = hashlib.sha256(member.kind.value)
                    while member.kind is EntryKind.FILE and (piece := content.read(1 << 20)):
                        state.update(piece)
                    if member.kind is EntryKind.DIRECTORY and "feature_repo" not in member.path:
                        continue
                    files[member.path] = (member.mode, member.uid, member.gid, state.hexdigest())
    return image, files


def document(bundle: Path, path: str) -> str:
    with Bundle.open(bundle) as opened:
        return opened.read(path).decode()


def findings(bundle: Path, check: str) -> list[dict[str, Any]]:
    """Return what the bundle's checklist says of a kind of check, the rehearsal's sections included."""
    checklist = json.loads(document(bundle, "checklist.json"))
    rows = [one for section in checklist["report"]["sections"] for one in section["findings"]]
    return [one for one in rows if one["check"] == check]


def baked(
    project: Path, cache: Path, folder: Path, engine: str, *options: str, variables: Mapping[str, str] | None = None
) -> Path:
    """Build a bundle whose image an engine bakes; return its path."""
    command: list[str | Path] = ["build", "-f", project / "bundle.yaml", "-o", folder, "--cache-dir", cache]
    with running(engine, folder) as found:
        environment = {**found, **(variables or {})}
        ran = bundler(*command, "--engine", engine, "--output", "json", *options, environment=environment)
    assert ran.status == 0, ran.stderr
    return Path(json.loads(ran.stdout)["bundle"])


def assert_same(one: Path, other: Path, *, but_labels: frozenset[str] = frozenset()) -> None:
    """Compare the feature servers of two bundles: what they say of themselves, and every file that matters."""
    (image, files), (expected, expected_files) = server(one), server(other)
    runtimes = []
    for config in (image.config, expected.config):
        runtime = dict(config.runtime)  # user, environment, entry point, working folder, labels
        labels = runtime.pop("Labels")
        assert isinstance(labels, dict)
        runtimes.append((runtime, {key: value for key, value in labels.items() if key not in but_labels}))
    assert runtimes[0] == runtimes[1]
    assert image.layers[0] == expected.layers[0]
    compared = {path for path in files.keys() | expected_files.keys() if not _OWN_WAY.fullmatch(path)}
    assert {path: files.get(path) for path in compared} == {path: expected_files.get(path) for path in compared}
    assert len(compared) > 10_000
    for own in (re.compile(r"usr/local/bin/.*"), re.compile(r".*\.pyc")):
        named = {path for path in files if own.fullmatch(path)}
        assert named == {path for path in expected_files if own.fullmatch(path)} != set()


@pytest.fixture(scope="module")
def needy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example with a system package and a source distribution, and a package of a private index."""
    project = copy_example(tmp_path_factory.mktemp("needy"), "native-deps")
    spec = project / "bundle.yaml"
    spec.write_text(f"{spec.read_text()}\npackages: [private-thing]\n")
    return project


@pytest.fixture(scope="module")
def rehearsed(needy: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its bundle, baked and rehearsed in Podman."""
    folder = tmp_path_factory.mktemp("rehearsed")
    content = wheel({"private_thing.py": ""}, name="private_thing", version="1.0").getvalue()
    private = PackageIndex({"private_thing-1.0-py3-none-any.whl": content}, login=("someone", _PASSWORD))
    with private.running() as index:
        variables = {"UV_INDEX": index.url_with_login}
        return baked(needy, cache, folder, "podman", "--rehearse", "--rehearse-engine", "podman", variables=variables)


def test_what_a_source_and_a_system_package_bring_is_served(rehearsed: Path) -> None:
    (built,) = findings(rehearsed, "engine-build")
    assert "built from source, without a network, by tools of the lock: metaphone" in built["evidence"]
    (online,) = findings(rehearsed, "online")
    assert online["status"] == "pass"
    stores = [row["title"] for row in findings(rehearsed, "uncovered.stores")]
    assert any("no image for postgres, no image for redis" in title for title in stores)
    assert "Alexanderplatz" in str(online["evidence"])
    bill = json.loads(document(rehearsed, "sbom/native-deps-feature-server-linux-amd64.cdx.json"))
    assert {"metaphone", "libgeos-c1v5"} <= {one["name"].lower() for one in bill["components"]}


def test_the_bundle_keeps_what_the_image_was_built_from(rehearsed: Path, needy: Path) -> None:
    assert "No step needs a network" in document(rehearsed, "build/Dockerfile")
    lock = json.loads((needy / "bundle.lock").read_text())["platforms"][0]
    wheels = [f"{row['name']}=={row['version']} --hash=sha256:{row['sha256']}\n" for row in lock["wheels"]]
    assert wheels
    assert set(wheels) <= set(document(rehearsed, "build/requirements.txt").splitlines(keepends=True))
    (found,) = findings(rehearsed, "engine-build")
    assert found["status"] == "pass"
    assert "build/Dockerfile" in found["evidence"][0]


def test_the_login_of_a_private_index_is_nowhere_in_the_bundle(rehearsed: Path) -> None:
    with Bundle.open(rehearsed) as opened:
        names = [name for name in opened.members if not name.startswith("blobs/")]
        for name in names:
            assert _PASSWORD.encode() not in opened.read(name), name
        (found,) = [one for one in opened.manifest.images if one.role == "feature-server"]
        image = Image.from_blobs(found.root, lambda digest: opened.read(layout.blob(digest)))
        assert _PASSWORD.encode() not in image.config_bytes() + image.manifest_bytes()
        installed = False
        for layer in image.layers[1:]:
            with opened.open_member(layout.blob(layer.descriptor.digest)) as stream:
                for member, content in tar_reader.members(layer_format.unpacked(stream, media_types.OCI_LAYER_GZIP)):
                    installed |= "private_thing-1.0.dist-info" in member.path
                    last = b""
                    while member.kind is EntryKind.FILE and (piece := content.read(1 << 20)):
                        assert _PASSWORD.encode() not in last + piece, member.path
                        last = piece[-len(_PASSWORD) :]
        assert installed


def test_docker_makes_the_same_image_to_the_byte(rehearsed: Path, needy: Path, cache: Path, tmp_path: Path) -> None:
    made = baked(needy, cache, tmp_path, "docker", "--locked")
    assert server(made)[0].descriptor == server(rehearsed)[0].descriptor


def test_an_image_with_a_source_is_the_one_with_a_wheel_of_it(
    rehearsed: Path, needy: Path, cache: Path, tmp_path: Path
) -> None:
    row = json.loads((needy / "bundle.lock").read_text())["platforms"][0]
    store = BlobStore(cache)
    for one in (*row["sources"], *row["tools"]):
        (tmp_path / one["filename"]).write_bytes(store.path(Digest(one["sha256"])).read_bytes())
    project = copy_example(tmp_path, "native-deps")
    wanted = [tmp_path / row["sources"][0]["filename"], "--wheel-dir", project / "wheels"]
    run([sys.executable, "-m", "pip", "wheel", "--no-index", "--find-links", tmp_path, "--no-deps", *wanted])
    spec = project / "bundle.yaml"
    spec.write_text(spec.read_text().replace("sdists:", "packages:").replace("engine: docker", "engine: none"))
    spec.write_text(spec.read_text().replace("- Metaphone==0.6", "- Metaphone==0.6\n  - private-thing"))
    private = next(one for one in row["wheels"] if one["name"] == "private-thing")
    (project / "wheels" / private["filename"]).write_bytes(store.path(Digest(private["sha256"])).read_bytes())
    native = bundler("build", "-f", spec, "-o", tmp_path, "--cache-dir", cache, "--output", "json")
    assert native.status == 0, native.stderr
    labels = {"dev.feast.bundler.lock.digest"}
    assert_same(rehearsed, Path(json.loads(native.stdout)["bundle"]), but_labels=frozenset(labels))

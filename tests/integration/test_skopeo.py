"""Images come out of a real registry, and out of files, byte for byte."""

import io
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import pytest

from bundler.effects import base_image
from bundler.effects.blobs import BlobStore
from bundler.effects.skopeo import pull as skopeo
from bundler.errors import RegistryError, SpecError, VerificationError
from bundler.model import layout, media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.model.progress import SilentProgress
from bundler.model.spec import Mirror
from bundler.oci import image, index, mutate
from bundler.oci.filetree import File, FileTree
from bundler.oci.image import Image
from bundler.oci.layer import write_layer
from tests.support import validate

pytestmark = pytest.mark.integration

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def _needed(program: str) -> str:
    found = shutil.which(program)
    if not found:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed")
    return found


@dataclass(frozen=True)
class Registry:
    address: str
    data: Path
    layout: Path  # an image layout with the images "multi" and "single"

    @property
    def mirrors(self) -> list[Mirror]:
        return [Mirror(source="registry.example", location=self.address, insecure=True)]


def _copy(*arguments: str) -> None:
    subprocess.run(["skopeo", "copy", "--quiet", *arguments], check=True, capture_output=True, timeout=60)


def _image(store: BlobStore, platform: Platform) -> Image:
    layers = []
    for content in (b"shared by all" * 1000, f"for {platform}".encode() * 1000):
        tree = FileTree.of([File("a", len(content), lambda content=content: io.BytesIO(content))])  # type: ignore[misc]
        with store.writing() as sink:
            layers.append(write_layer(tree, sink, epoch=0, created_by="test"))
    made = mutate.configure(mutate.append_layers(image.empty(platform), layers), user="1001")
    store.put(made.config_bytes())
    store.put(made.manifest_bytes())
    return made


def _named(descriptor: Descriptor, name: str) -> dict[str, object]:
    return {**descriptor.to_json(), "annotations": {"org.opencontainers.image.ref.name": name}}


def _make_layout(folder: Path) -> None:
    store = BlobStore(folder)
    images = [_image(store, platform) for platform in (AMD64, ARM64)]
    both = index.Index(tuple(made.descriptor for made in images))
    store.put(both.to_bytes())
    entries = [_named(both.descriptor, "multi"), _named(images[0].descriptor, "single")]
    (folder / layout.OCI_LAYOUT).write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / layout.INDEX).write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(f"http://{address}/v2/", timeout=1).close()
    except (URLError, ConnectionError):
        return False
    return True


def _wait_for(address: str, registry: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while not _answers(address):
        if registry.poll() is not None or time.monotonic() > deadline:
            pytest.fail("docker-registry does not answer")
        time.sleep(0.05)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    program = _needed("docker-registry")
    _needed("skopeo")
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": address},
    }
    (folder / "config.yml").write_text(json.dumps(config))
    _make_layout(folder / "layout")
    with subprocess.Popen(
        [program, "serve", str(folder / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        try:
            _wait_for(address, running)
            for name, options in (("oci", []), ("docker", ["--format=v2s2"])):
                for kind, every in (("multi", ["--all"]), ("single", [])):
                    _copy(
                        *(*options, *every, "--dest-tls-verify=false"),
                        f"oci:{folder}/layout:{kind}",
                        f"docker://{address}/{name}/{kind}:1",
                    )
            yield Registry(address, folder / "data", folder / "layout")
        finally:
            running.terminate()


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "cache")


def _pull(registry: Registry, source: str, store: BlobStore, *platforms: Platform) -> skopeo.PulledImage:
    return skopeo.pull(source, platforms, store, progress=SilentProgress(), mirrors=registry.mirrors)


def _is_whole(pulled: skopeo.PulledImage, store: BlobStore) -> bool:
    left = [path.name for path in store.root.iterdir() if path.name not in {"blobs", "records"}]
    return not left and validate.validate(pulled.root, store.open) == ()


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_a_single_image_keeps_its_digest_whatever_its_format(form: str, registry: Registry, store: BlobStore) -> None:
    pulled = _pull(registry, f"registry.example/{form}/single:1", store, AMD64)
    assert pulled.root.digest == pulled.source_digest
    assert pulled.root.platform == AMD64
    assert (pulled.root.media_type == media_types.DOCKER_MANIFEST) is (form == "docker")
    assert _is_whole(pulled, store)


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_an_index_of_all_that_was_asked_for_keeps_its_digest(form: str, registry: Registry, store: BlobStore) -> None:
    pulled = _pull(registry, f"registry.example/{form}/multi:1", store, AMD64, ARM64)
    assert pulled.root.digest == pulled.source_digest
    assert _is_whole(pulled, store)


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_an_index_shrinks_to_the_platforms_and_both_digests_are_known(
    form: str, registry: Registry, store: BlobStore
) -> None:
    pulled = _pull(registry, f"registry.example/{form}/multi:1", store, ARM64)
    assert pulled.root.digest != pulled.source_digest
    entries = index.parse(store.read(pulled.root.digest), pulled.root.media_type).manifests
    assert [entry.platform for entry in entries] == [ARM64]
    assert _is_whole(pulled, store)
    assert skopeo.resolve(f"registry.example/{form}/multi:1", mirrors=registry.mirrors) == pulled.source_digest


@pytest.mark.parametrize("transport", ["oci", "oci-archive", "dir"])
def test_files_of_several_platforms_are_read_too(
    transport: str, registry: Registry, store: BlobStore, tmp_path: Path
) -> None:
    source = f"{transport}:{tmp_path}/image" + ("" if transport == "dir" else ":name")
    _copy("--all", f"oci:{registry.layout}:multi", source)
    pulled = _pull(registry, source, store, ARM64)
    (entry,) = index.parse(store.read(pulled.root.digest), pulled.root.media_type).manifests
    assert Image.from_blobs(entry, store.read).platform == ARM64
    assert _is_whole(pulled, store)


def test_an_archive_of_docker_is_read_and_its_layers_packed(
    registry: Registry, store: BlobStore, tmp_path: Path
) -> None:
    archive = f"docker-archive:{tmp_path}/image.tar"
    _copy(f"oci:{registry.layout}:single", f"{archive}:app:1")
    pulled = _pull(registry, archive, store, AMD64)
    made = Image.from_blobs(pulled.root, store.read)
    assert {layer.descriptor.media_type for layer in made.layers} == {media_types.OCI_LAYER_GZIP}
    assert made.config.user == "1001"
    assert _is_whole(pulled, store)


def test_what_is_pinned_and_here_already_needs_no_registry(registry: Registry, store: BlobStore) -> None:
    first = _pull(registry, "registry.example/oci/multi:1", store, AMD64)
    pinned = f"unreachable.invalid/oci/multi@{first.source_digest}"
    assert skopeo.pull(pinned, [AMD64], store, progress=SilentProgress()).root == first.root


def test_a_damaged_blob_of_the_cache_is_read_again(registry: Registry, store: BlobStore) -> None:
    single = "registry.example/oci/single:1"
    pulled = _pull(registry, single, store, AMD64)
    damaged = Image.from_blobs(pulled.root, store.read).layers[1].descriptor
    shutil.rmtree(store.root / "records")
    store.path(damaged.digest).write_bytes(b"x" * damaged.size)
    assert _is_whole(_pull(registry, single, store, AMD64), store)


def test_a_registry_that_answers_with_other_bytes_is_caught(registry: Registry, store: BlobStore) -> None:
    address = f"{registry.address}/damaged/single:1"
    _copy("--dest-tls-verify=false", f"oci:{registry.layout}:single", f"docker://{address}")
    entries = index.parse((registry.layout / layout.INDEX).read_bytes()).manifests
    made = Image.from_blobs(entries[1], BlobStore(registry.layout).read)
    digest = made.layers[1].descriptor.digest
    link = registry.data / f"docker/registry/v2/blobs/sha256/{digest.hex[:2]}/{digest.hex}/data"
    content = link.read_bytes()
    link.write_bytes(b"x" * len(content))
    try:
        with pytest.raises(VerificationError) as caught:
            _pull(registry, "registry.example/damaged/single:1", store, AMD64)
    finally:
        link.write_bytes(content)
    assert digest.hex in "".join(caught.value.details)
    assert not store.has(digest)


def test_a_tag_that_is_not_there_is_named_with_how_to_list_those_that_are(registry: Registry, store: BlobStore) -> None:
    with pytest.raises(RegistryError, match=r"image registry\.example/oci/single:2 does not exist") as caught:
        _pull(registry, "registry.example/oci/single:2", store, AMD64)
    assert f"skopeo list-tags docker://{registry.address}/oci/single" in caught.value.remedy


def test_a_platform_that_the_image_lacks_is_named(registry: Registry, store: BlobStore) -> None:
    for name in ("single", "multi"):
        with pytest.raises(SpecError, match="linux/s390x"):
            _pull(registry, f"registry.example/oci/{name}:1", store, Platform("linux", "s390x"))


def test_a_registry_without_tls_is_told_apart_from_one_that_is_away(registry: Registry, store: BlobStore) -> None:
    with pytest.raises(RegistryError, match="plain HTTP"):
        _pull(registry, f"{registry.address}/oci/single:1", store, AMD64)
    with pytest.raises(RegistryError, match="cannot be reached"):
        _pull(registry, "unreachable.invalid/oci/single:1", store, AMD64)


def test_a_base_is_an_image_for_each_platform(registry: Registry, store: BlobStore) -> None:
    name = "registry.example/docker/multi:1"
    pulled = skopeo.pull(name, [AMD64, ARM64], store, progress=SilentProgress(), mirrors=registry.mirrors)
    images = base_image.of_platforms(pulled.root, name, [AMD64, ARM64], store)
    assert {platform: made.platform for platform, made in images.items()} == {AMD64: AMD64, ARM64: ARM64}
    assert images[AMD64].config.user == "1001"
    contents = base_image.contents(images[ARM64], store, progress=SilentProgress())
    assert contents.python is None
    for layer in images[ARM64].layers:
        store.path(layer.descriptor.digest).unlink()
    assert base_image.contents(images[ARM64], store, progress=SilentProgress()) == contents  # remembered


def test_the_digest_of_a_reference_that_is_pinned_needs_no_question() -> None:
    digest = Digest.of(b"x")
    assert skopeo.resolve(f"unreachable.invalid/a@{digest}") == digest

import ast
import dataclasses
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

import bundler
from bundler.model import media_types
from bundler.model.descriptor import Descriptor, Json
from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.oci import graph, image, layer_format, mutate
from bundler.oci.filetree import File, FileTree
from bundler.oci.image import Image
from bundler.oci.index import Index
from bundler.oci.layer import Layer, write_layer
from tests.support import validate

AMD64 = Platform("linux", "amd64")
_TAR = bytes(10240)


class Store(dict[Digest, bytes]):
    def put(self, content: bytes, media_type: str) -> Descriptor:
        self[Digest.of(content)] = content
        return Descriptor(media_type, Digest.of(content), len(content))

    def open(self, digest: Digest) -> BinaryIO:
        return io.BytesIO(self[digest])

    def layer(self, content: bytes) -> Layer:
        sink = io.BytesIO()
        tree = FileTree.of([File("a", len(content), lambda: io.BytesIO(content))])
        made = write_layer(tree, sink, epoch=0, created_by="test")
        self[made.descriptor.digest] = sink.getvalue()
        return made

    def add(self, made: Image) -> Descriptor:
        self[Digest.of(made.config_bytes())] = made.config_bytes()
        self[made.descriptor.digest] = made.manifest_bytes()
        return made.descriptor


def _good(platform: Platform = AMD64) -> tuple[Store, Image]:
    store = Store()
    made = mutate.append_layers(image.empty(platform), [store.layer(b"1"), store.layer(b"2" * 100_000)])
    store.add(made)
    return store, made


def _with_layer(packed: bytes, media_type: str, diff_id: Digest) -> tuple[Store, Descriptor]:
    store = Store()
    made = mutate.append_layers(image.empty(AMD64), [Layer(store.put(packed, media_type), diff_id)])
    return store, store.add(made)


def _problem(store: Store, root: Descriptor) -> str:
    """Return the one problem that there is."""
    (problem,) = validate.validate(root, store.open)
    return problem


def test_a_good_image_and_an_index_of_it_have_no_problem() -> None:
    store, made = _good()
    assert validate.validate(made.descriptor, store.open) == ()
    index = Index((made.descriptor,))
    assert validate.validate(store.put(index.to_bytes(), media_types.OCI_INDEX), store.open) == ()


def test_a_flipped_bit_in_a_layer_is_found() -> None:
    store, made = _good()
    digest = made.layers[1].descriptor.digest
    packed = bytearray(store[digest])
    packed[4] ^= 1  # the time in the gzip header: unpacks to the same
    store[digest] = bytes(packed)
    assert _problem(store, made.descriptor) == f"blob {digest} has the digest {Digest.of(bytes(packed))}"


def test_a_layer_that_was_cut_is_found() -> None:
    store, made = _good()
    digest = made.layers[1].descriptor.digest
    store[digest] = store[digest][:-9]
    problems = "\n".join(validate.validate(made.descriptor, store.open))
    assert "gzip stream ends early" in problems
    assert f"blob {digest} has {len(store[digest])} bytes" in problems


@pytest.mark.parametrize("part", ["manifest", "config", "layer"])
def test_a_missing_blob_is_named(part: str) -> None:
    store, made = _good()
    digests = {
        "manifest": made.descriptor.digest,
        "config": Digest.of(made.config_bytes()),
        "layer": made.layers[0].descriptor.digest,
    }
    del store[digests[part]]
    assert str(digests[part]) in _problem(store, made.descriptor)


def test_every_problem_is_reported_not_only_the_first() -> None:
    store, made = _good()
    for item in made.layers:
        del store[item.descriptor.digest]
    assert len(validate.validate(made.descriptor, store.open)) == 2


def test_a_diff_id_that_is_not_that_of_the_layer_is_found() -> None:
    store, root = _with_layer(gzip.compress(_TAR, mtime=0), media_types.OCI_LAYER_GZIP, Digest.of(b"other"))
    assert f"unpacks to {Digest.of(_TAR)} instead of {Digest.of(b'other')}" in _problem(store, root)


def test_layers_without_compression_and_of_several_gzip_members_are_computed() -> None:
    members = gzip.compress(_TAR[:4000], mtime=0) + gzip.compress(_TAR[4000:], mtime=0)
    for packed, media_type in ((_TAR, media_types.OCI_LAYER), (members, media_types.OCI_LAYER_GZIP)):
        store, root = _with_layer(packed, media_type, Digest.of(_TAR))
        assert validate.examine(root, store.open) == validate.Examination((), ())


def test_bytes_after_the_gzip_stream_are_found() -> None:
    store, root = _with_layer(gzip.compress(_TAR) + b"hidden", media_types.OCI_LAYER_GZIP, Digest.of(_TAR))
    assert "gzip stream" in _problem(store, root)


def test_a_zstd_layer_is_hashed_and_its_diff_id_said_to_be_not_computed_where_python_cannot() -> None:
    store, root = _with_layer(
        b"\x28\xb5\x2f\xfd\x04\x00\x01\x00\x00\x99\xe9\xd8\x51", media_types.OCI_LAYER_ZSTD, Digest.of(b"")
    )
    found = validate.examine(root, store.open)
    assert found.problems == ()
    if sys.version_info < (3, 14):
        assert "zstd, which Python can unpack from 3.14 on" in found.not_recomputed[0]
    else:
        assert found.not_recomputed == ()


def test_a_layer_that_unpacks_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "_MOST_UNPACKED", 1 << 20)
    bomb = gzip.compress(bytes(2 << 20))
    store, root = _with_layer(bomb, media_types.OCI_LAYER_GZIP, Digest.of(bytes(2 << 20)))
    assert "unpacks to more than" in _problem(store, root)


def test_unpacking_yields_bounded_pieces_and_all_of_the_end() -> None:
    content = bytes(50 << 20)
    sizes = [len(piece) for piece in layer_format.unpacked(io.BytesIO(_gzipped(content)), media_types.OCI_LAYER_GZIP)]
    assert sum(sizes) == len(content)
    assert max(sizes) <= 1 << 20


def _gzipped(content: bytes) -> bytes:
    state = zlib.compressobj(9, wbits=31)
    return state.compress(content) + state.flush()


def _mixed(store: Store, **changed: Json) -> Descriptor:
    _, made = _good()
    value = json.loads(made.manifest_bytes())
    value.update(changed)
    media_type = value["mediaType"]
    assert isinstance(media_type, str)
    return store.put(json.dumps(value).encode(), media_type)


def test_a_manifest_that_mixes_docker_and_oci_types_is_found() -> None:
    store, _ = _good()
    root = _mixed(store, mediaType=media_types.DOCKER_MANIFEST)
    problems = validate.validate(root, store.open)
    assert len(problems) == 2  # the config, and both layers, which are of one type
    assert all("but has a part of type" in problem for problem in problems)


def test_another_number_of_layers_than_diff_ids_is_found() -> None:
    store, made = _good()
    root = _mixed(store, layers=[made.layers[0].descriptor.to_json()])
    assert "has 1 layers, its config 2" in _problem(store, root)


def test_a_config_for_another_platform_than_the_index_says_is_found() -> None:
    store, made = _good()
    index = Index((dataclasses.replace(made.descriptor, platform=Platform("linux", "arm64")),))
    root = store.put(index.to_bytes(), media_types.OCI_INDEX)
    assert "is announced for linux/arm64, its config says linux/amd64" in _problem(store, root)


def test_an_index_without_images_is_found() -> None:
    store = Store()
    root = store.put(Index(()).to_bytes(), media_types.OCI_INDEX)
    assert "without images" in _problem(store, root)


def test_indexes_nested_without_need_are_found() -> None:
    store, made = _good()
    root = made.descriptor
    for _ in range(4):
        root = store.put(Index((root,)).to_bytes(), media_types.OCI_INDEX)
    assert "nested too deep" in _problem(store, root)


@pytest.mark.parametrize(
    "content", [b"{}", b"[", b'{"schemaVersion":2,"config":1}', b'{"schemaVersion":2,"layers":[]}']
)
def test_a_manifest_that_is_none_is_a_problem_not_a_crash(content: bytes) -> None:
    store = Store()
    root = store.put(content, media_types.OCI_MANIFEST)
    assert "cannot be used" in _problem(store, root)


def test_a_root_of_an_unknown_type_is_a_problem() -> None:
    store, made = _good()
    root = dataclasses.replace(made.descriptor, media_type="application/octet-stream")
    assert "not that of an image manifest" in _problem(store, root)


def test_validation_needs_nothing_but_the_standard_library() -> None:
    package = Path(bundler.__file__).parent
    seen: set[str] = set()

    def visit(module: str) -> None:
        path = package.parent.joinpath(*module.split(".")).with_suffix(".py")
        if module in seen or not path.exists():
            return
        seen.add(module)
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
            for name in names:
                if name.startswith("bundler"):
                    visit(name)
                else:
                    root = name.split(".")[0]
                    assert root in sys.stdlib_module_names | {"compression"}, f"{module} imports {name}"

    visit("tests.support.validate")
    assert "bundler.oci.config" in seen


@pytest.mark.parametrize("walk", [validate.examine, graph.below])
def test_indexes_that_list_one_another_many_times_are_walked_once(walk: Callable[..., object]) -> None:
    store, made = _good()
    node = made.descriptor
    for _ in range(3):
        listed = json.dumps({"schemaVersion": 2, "manifests": [node.to_json()] * 500}).encode()
        node = store.put(listed, media_types.OCI_INDEX)
    reads: list[Digest] = []

    def opened(digest: Digest) -> BinaryIO:
        reads.append(digest)
        return store.open(digest)

    def read(descriptor: Descriptor) -> bytes:
        return opened(descriptor.digest).read()

    walk(node, read if walk is graph.below else opened)
    assert len(reads) <= 10

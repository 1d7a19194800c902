"""What is reached from a root, and what is refused on the way."""

from __future__ import annotations

import json

import pytest

from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.oci import graph
from tests.support import sample_bundles
from tests.support.sample_bundles import SampleLayer

IMAGES = [sample_bundles.image([SampleLayer.of(seed, 100)]) for seed in (1, 2)]
INDEX = sample_bundles.index(IMAGES)


def document(**value: object) -> bytes:
    return json.dumps({"schemaVersion": 2, **value}).encode()


def descriptor(content: bytes, media_type: str = media_types.OCI_INDEX) -> Descriptor:
    return Descriptor(media_type, Digest.of(content), len(content))


def problems(root: Descriptor, blobs: dict[Digest, bytes]) -> tuple[str, ...]:
    return graph.below(root, lambda blob: blobs[blob.digest], configs=False).problems


def test_children_come_before_their_index_and_contents_are_the_rest() -> None:
    found = graph.below(INDEX.root, lambda blob: INDEX.blobs[blob.digest])
    assert not found.problems
    digests = [manifest.descriptor.digest for manifest in found.manifests]
    assert digests == [*(image.root.digest for image in IMAGES), INDEX.root.digest]
    assert all(INDEX.blobs[manifest.descriptor.digest] == manifest.content for manifest in found.manifests)
    assert {blob.digest for blob in found.contents} == INDEX.blobs.keys() - set(digests)


def test_without_configs_only_manifests_are_read() -> None:
    read: list[str] = []

    def opened(blob: Descriptor) -> bytes:
        read.append(blob.media_type)
        return INDEX.blobs[blob.digest]

    partly = graph.below(INDEX.root, opened, configs=False)
    whole = graph.below(INDEX.root, lambda blob: INDEX.blobs[blob.digest])
    assert set(read) <= media_types.MANIFESTS_AND_INDEXES
    assert (partly.blobs, partly.manifests, partly.layers) == (whole.blobs, whole.manifests, whole.layers)
    assert not partly.platforms


@pytest.mark.parametrize("media_type", [media_types.OCI_INDEX, media_types.OCI_MANIFEST])
@pytest.mark.parametrize(
    "content", [b"[]", b"{}", b'{"manifests": [{}]}', b'{"config": 1, "layers": []}', b"nonsense", b"[" * 100_000]
)
def test_what_is_not_a_manifest_is_refused(content: bytes, media_type: str) -> None:
    assert problems(descriptor(content, media_type), {Digest.of(content): content})


def test_indexes_are_not_followed_for_ever() -> None:
    inner = document(manifests=[])
    blobs = {Digest.of(inner): inner}
    for _ in range(9):
        inner = document(manifests=[descriptor(inner).to_json()])
        blobs[Digest.of(inner)] = inner
    (problem,) = problems(descriptor(inner), blobs)
    assert "nested" in problem


def test_one_blob_of_two_sizes_is_refused() -> None:
    blob = {"mediaType": "x", "digest": f"sha256:{'0' * 64}", "size": 1}
    content = document(config=blob, layers=[{**blob, "size": 2}])
    (problem,) = problems(descriptor(content, media_types.OCI_MANIFEST), {Digest.of(content): content})
    assert "announced with 1 and with 2 bytes" in problem

"""The archive that engines load."""

from __future__ import annotations

import io
import json
import tarfile

from bundler.model.digest import Digest
from bundler.oci import docker_archive
from bundler.oci.image import Image
from tests.support import sample_bundles
from tests.support.sample_bundles import SampleImage, SampleLayer

NAME = "localhost/sample:1"


def loaded(sample: SampleImage) -> tuple[Image, dict[str, bytes]]:
    """Return the image, and the members of its archive."""
    image = Image.from_blobs(sample.root, lambda digest: sample.blobs[digest])
    content = b"".join(docker_archive.stream(image, [NAME], lambda digest: io.BytesIO(sample.blobs[digest])))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = {}
        for member in archive:
            stream = archive.extractfile(member)
            assert stream
            assert member.name not in members
            members[member.name] = stream.read()
    return image, members


def test_the_archive_holds_config_and_layers_byte_for_byte() -> None:
    sample = sample_bundles.image([SampleLayer.of(1, 1000), SampleLayer.of(2, 70_000)])
    image, members = loaded(sample)
    (entry,) = json.loads(members["manifest.json"])
    assert entry["RepoTags"] == [NAME]
    assert members[entry["Config"]] == image.config_bytes()
    assert entry["Config"] == f"{Digest.of(image.config_bytes()).hex}.json"
    assert [Digest.of(members[path]) for path in entry["Layers"]] == [layer.descriptor.digest for layer in image.layers]


def test_a_layer_that_is_used_twice_is_in_the_archive_once() -> None:
    layer = SampleLayer.of(1, 1000)
    _, members = loaded(sample_bundles.image([layer, layer]))
    (entry,) = json.loads(members["manifest.json"])
    assert len(entry["Layers"]) == 2
    assert len(members) == 3

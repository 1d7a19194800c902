"""Bundles of small made-up images, written as real ones are."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bundler.effects.archive import writer as archive_writer
from bundler.effects.archive.digests import Hashed
from bundler.effects.archive.reader import Bundle
from bundler.effects.archive.writer import NewFile
from bundler.model import bundle_texts, layout, media_types
from bundler.model.descriptor import Descriptor, Json
from bundler.model.digest import Digest
from bundler.model.manifest import BundledImage, BundleManifest, FileEntry
from bundler.model.platform import Platform
from bundler.model.progress import SilentProgress
from bundler.oci import bundle_index

REGISTRY = "registry.internal:5000/feast"
STORE = b"apiVersion: feast.dev/v1\nkind: FeatureStore\nmetadata: {name: sample, namespace: feast}\n"
AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")


@dataclass(frozen=True)
class SampleLayer:
    """A real layer: a gzipped tar with one file of random bytes."""

    content: bytes = field(repr=False)
    diff_id: Digest

    @classmethod
    def of(cls, seed: int, size: int) -> SampleLayer:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            member = tarfile.TarInfo(f"file-{seed}")
            member.size = size
            tar.addfile(member, io.BytesIO(random.Random(seed).randbytes(size)))  # noqa: S311  (content, not a secret)
        unpacked = buffer.getvalue()
        return cls(gzip.compress(unpacked, 1, mtime=0), Digest.of(unpacked))


@dataclass(frozen=True)
class SampleImage:
    """An image with all its blobs by digest."""

    root: Descriptor
    blobs: Mapping[Digest, bytes] = field(repr=False)
    platforms: tuple[Platform, ...] = (AMD64,)


def image(layers: Iterable[SampleLayer], platform: Platform = AMD64, *, docker: bool = False) -> SampleImage:
    """Make an image of one platform, of OCI's or of Docker's media types."""
    layers = tuple(layers)
    layer_type = media_types.DOCKER_LAYER_GZIP if docker else media_types.OCI_LAYER_GZIP
    config_type = media_types.DOCKER_CONFIG if docker else media_types.OCI_CONFIG
    manifest_type = media_types.DOCKER_MANIFEST if docker else media_types.OCI_MANIFEST
    config = json.dumps(
        {
            "architecture": platform.architecture,
            "os": platform.os,
            "config": {"Cmd": ["/bin/true"]},
            "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in layers]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": _descriptor(config_type, config).to_json(),
            "layers": [_descriptor(layer_type, layer.content).to_json() for layer in layers],
        }
    ).encode()
    contents = [config, manifest, *(layer.content for layer in layers)]
    root = _descriptor(manifest_type, manifest, platform)
    return SampleImage(root, {Digest.of(content): content for content in contents}, (platform,))


def index(images: Iterable[SampleImage], *, docker: bool = False) -> SampleImage:
    """Make an image of several platforms."""
    images = tuple(images)
    media_type = media_types.DOCKER_INDEX if docker else media_types.OCI_INDEX
    rows: list[Json] = [image.root.to_json() for image in images]
    content = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": rows}).encode()
    blobs = {digest: blob for image in images for digest, blob in image.blobs.items()}
    platforms = tuple(platform for image in images for platform in image.platforms)
    return SampleImage(_descriptor(media_type, content), {**blobs, Digest.of(content): content}, platforms)


def _descriptor(media_type: str, content: bytes, platform: Platform | None = None) -> Descriptor:
    return Descriptor(media_type, Digest.of(content), len(content), platform)


def write(path: Path, images: Mapping[str, SampleImage], volume_size: int | None = None) -> Path:
    """Write a bundle of images, each under the path below the registry that it will get, e.g. ``team/app:1.0``.

    Returns its file, or its first volume.
    """
    blobs: dict[Digest, bytes] = {}
    bundled = []
    for name, sample in images.items():
        blobs.update(sample.blobs)
        size = sum(map(len, sample.blobs.values()))
        row = BundledImage(
            f"quay.example/{name}", "mirrored", sample.root, sample.platforms, size, f"{REGISTRY}/{name}"
        )
        bundled.append(row)
    new = {digest: NewFile.of(layout.blob(digest), blob) for digest, blob in blobs.items()}
    return pack(path, bundled, new, volume_size)


def pack(
    path: Path,
    images: Iterable[BundledImage],
    blobs: Mapping[Digest, NewFile],
    volume_size: int | None = None,
    check: Callable[[Bundle, Mapping[str, Hashed]], None] | None = None,
) -> Path:
    """Write a bundle of images whose blobs are given."""
    written = archive_writer.write(
        path,
        members(images, blobs),
        created=0,
        check=check,
        progress=SilentProgress(),
        volume_size=volume_size,
    )
    return written.paths[0]


def members(images: Iterable[BundledImage], blobs: Mapping[Digest, NewFile]) -> list[NewFile]:
    """Return every file of a bundle of images whose blobs are given."""
    images = tuple(images)
    listed = [
        NewFile.of(layout.OCI_LAYOUT, layout.LAYOUT_VERSION),
        NewFile.of(layout.INDEX, bundle_index.of(images).to_bytes()),
        NewFile.of(layout.IMAGES, bundle_texts.image_list(images, REGISTRY).encode()),
        NewFile.of(layout.manifest("featurestore.yaml"), STORE),
        NewFile.of(layout.manifest("kustomization.yaml"), b"kind: Kustomization\nresources: [featurestore.yaml]\n"),
        *blobs.values(),
    ]
    named = {new.path: digest for digest, new in blobs.items()}
    entries = tuple(
        FileEntry(new.path, "file", new.size, named.get(new.path) or _digest(new))
        for new in sorted(listed, key=lambda new: layout.order(new.path))
    )
    manifest = BundleManifest("sample", "1.0", "test", 0, images, entries, REGISTRY)
    sums = bundle_texts.checksums(manifest)
    return [*listed, NewFile.of(layout.MANIFEST, manifest.to_bytes()), NewFile.of(layout.CHECKSUMS, sums)]


def _digest(new: NewFile) -> Digest:
    if isinstance(new.content, bytes):
        return Digest.of(new.content)
    with new.content.open("rb") as stream:
        return Digest.of_stream(stream)

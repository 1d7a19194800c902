"""The blobs that hang below a root: index, manifests, configs, layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.oci import index, manifest
from bundler.oci.config import ImageConfig
from bundler.oci.manifest import RawManifest

_DEPTH: Final = 3

Read = Callable[[Descriptor], bytes]
"""Returns a small blob whole; raises ``ValueError`` or ``FileNotFoundError`` with a sentence where it cannot."""


@dataclass(frozen=True)
class Graph:
    """What a root reaches: every blob once, the root first; the platforms of its images; what is wrong with it.

    An artifact (a signature, an attestation, a bill of materials) has no platform.

    ``manifests`` are its manifests and indexes, children before parents, the root last. ``layers`` are the digests of
    the blobs that are neither manifest nor config.
    """

    blobs: tuple[Descriptor, ...]
    manifests: tuple[RawManifest, ...]
    platforms: tuple[Platform, ...]
    problems: tuple[str, ...]
    layers: frozenset[Digest]

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return sum(blob.size for blob in self.blobs)

    @property
    def contents(self) -> tuple[Descriptor, ...]:
        """The blobs that are not manifests: configs and layers."""
        manifests = {manifest.descriptor.digest for manifest in self.manifests}
        return tuple(blob for blob in self.blobs if blob.digest not in manifests)


def below(root: Descriptor, read: Read, *, configs: bool = True) -> Graph:
    """Follow every pointer from a root. Documents are read and cross-checked, layers only counted.

    Without ``configs`` only manifests are read, because a registry's configs are not here yet; platforms are unknown.
    """
    walk = _Walk(read, configs=configs)
    walk.node(root, _DEPTH)
    return Graph(
        tuple(walk.blobs.values()),
        tuple(walk.manifests.values()),
        tuple(walk.platforms),
        tuple(dict.fromkeys(walk.problems)),
        frozenset(walk.blobs.keys() - walk.documents),
    )


class _Walk:
    def __init__(self, read: Read, *, configs: bool) -> None:
        self._read = read
        self._configs = configs
        self._seen: set[tuple[object, ...]] = set()
        self.blobs: dict[Digest, Descriptor] = {}
        self.manifests: dict[Digest, RawManifest] = {}
        self.documents: set[Digest] = set()
        self.platforms: list[Platform] = []
        self.problems: list[str] = []

    def node(self, descriptor: Descriptor, depth: int) -> None:
        # Indexes that list one another many times would take forever.
        key = (descriptor.digest, descriptor.media_type, descriptor.size, descriptor.platform, depth)
        if key in self._seen:
            return
        self._seen.add(key)
        content = self._document(descriptor)
        if content is None:
            return
        try:
            if descriptor.media_type in media_types.INDEXES:
                self._index(index.parse(content, descriptor.media_type), depth)
            else:
                self._image(descriptor, manifest.parse(content, descriptor.media_type))
        except ValueError as error:
            self.problems.append(f"{descriptor.digest}: {error}")
        self.manifests.setdefault(descriptor.digest, RawManifest(descriptor, content))

    def _index(self, image_index: index.Index, depth: int) -> None:
        if not image_index.manifests or not depth:
            raise ValueError("is an index without images, or nested too deep")
        for entry in image_index.manifests:
            self.node(entry, depth - 1)

    def _image(self, descriptor: Descriptor, image: manifest.ImageManifest) -> None:
        self._add(image.config)
        self.documents.add(image.config.digest)
        for layer in image.layers:
            self._add(layer)
        content = self._document(image.config) if self._configs else None
        if content is None or image.is_artifact:
            return
        config = ImageConfig.parse(content)
        if descriptor.platform and not index.same_platform(descriptor.platform, config.platform):
            raise ValueError(f"announced for {descriptor.platform}, its config says {config.platform}")
        if len(config.diff_ids) != len(image.layers):
            raise ValueError(f"{len(image.layers)} layers, its config knows {len(config.diff_ids)}")
        self.platforms.append(config.platform)

    def _document(self, descriptor: Descriptor) -> bytes | None:
        self._add(descriptor)
        self.documents.add(descriptor.digest)
        try:
            content = self._read(descriptor)
        except (FileNotFoundError, ValueError) as error:
            self.problems.append(str(error))
            return None
        if len(content) != descriptor.size or Digest.of(content) != descriptor.digest:
            self.problems.append(f"{descriptor.digest}: {len(content)} bytes of another digest or size")
            return None
        return content

    def _add(self, descriptor: Descriptor) -> None:
        plain = replace(descriptor, platform=None, annotations={})
        known = self.blobs.setdefault(descriptor.digest, plain)
        if known.size != descriptor.size:
            self.problems.append(f"{descriptor.digest}: announced with {known.size} and with {descriptor.size} bytes")

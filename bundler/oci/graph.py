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

_DEPTH: Final = 3

Read = Callable[[Descriptor], bytes]
"""Returns a small blob whole; raises ``ValueError`` or ``FileNotFoundError`` with a sentence where it cannot."""


@dataclass(frozen=True)
class Graph:
    """What a root reaches: every blob once, the root first; the platforms of its images; what is wrong with it.

    An artifact (a signature, an attestation, a bill of materials) has no platform.

    ``layers`` are the digests of those that are not read to go on.
    """

    blobs: tuple[Descriptor, ...]
    platforms: tuple[Platform, ...]
    problems: tuple[str, ...]
    layers: frozenset[Digest]

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return sum(blob.size for blob in self.blobs)


def below(root: Descriptor, read: Read) -> Graph:
    """Follow every pointer from a root. Documents are read and cross-checked, layers only counted."""
    walk = _Walk(read)
    walk.node(root, _DEPTH)
    layers = frozenset(walk.blobs.keys() - walk.documents)
    return Graph(tuple(walk.blobs.values()), tuple(walk.platforms), tuple(dict.fromkeys(walk.problems)), layers)


class _Walk:
    def __init__(self, read: Read) -> None:
        self._read = read
        self._seen: set[tuple[object, ...]] = set()
        self.blobs: dict[Digest, Descriptor] = {}
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
            if descriptor.media_type not in media_types.INDEXES:
                self._image(descriptor, manifest.parse(content, descriptor.media_type))
                return
            found = index.parse(content, descriptor.media_type)
            if not found.manifests or not depth:
                raise ValueError("is an index without images, or nested too deep")  # noqa: TRY301
            for entry in found.manifests:
                self.node(entry, depth - 1)
        except ValueError as error:
            self.problems.append(f"{descriptor.digest}: {error}")

    def _image(self, descriptor: Descriptor, found: manifest.ImageManifest) -> None:
        for layer in found.layers:
            self._add(layer)
        content = self._document(found.config)
        if content is None or found.is_artifact:
            return
        config = ImageConfig.parse(content)
        if descriptor.platform and not index.same_platform(descriptor.platform, config.platform):
            raise ValueError(f"announced for {descriptor.platform}, its config says {config.platform}")
        if len(config.diff_ids) != len(found.layers):
            raise ValueError(f"{len(found.layers)} layers, its config knows {len(config.diff_ids)}")
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

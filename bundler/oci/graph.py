"""The blobs that hang below a root: index, manifests, configs, layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from bundler.model import limits, media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest, OtherDigestError
from bundler.model.platform import Platform
from bundler.oci import index, manifest
from bundler.oci.config import ImageConfig
from bundler.oci.manifest import RawManifest

Read = Callable[[Descriptor], bytes]
"""Returns a small blob whole; raises ``ValueError`` or ``FileNotFoundError`` with a sentence where it cannot."""


@dataclass(frozen=True)
class Graph:
    """What a root reaches: every blob once, the root first; the platforms of its images; what is wrong with it.

    An artifact (a signature, an attestation, a bill of materials) has no platform.

    ``manifests`` are its manifests and indexes, children before parents, the root last. ``layers`` are the digests of
    the blobs that are neither manifest nor config. ``other_digests``: a problem is a digest other than SHA-256.
    """

    blobs: tuple[Descriptor, ...]
    manifests: tuple[RawManifest, ...]
    platforms: tuple[Platform, ...]
    problems: tuple[str, ...]
    layers: frozenset[Digest]
    other_digests: bool = False

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
    walk.node(root, limits.INDEX_DEPTH)
    return Graph(
        tuple(walk.blobs.values()),
        tuple(walk.manifests.values()),
        tuple(walk.platforms),
        tuple(dict.fromkeys(walk.problems)),
        frozenset(walk.blobs.keys() - walk.documents),
        walk.other_digests,
    )


class _Walk:
    def __init__(self, read: Read, *, configs: bool) -> None:
        self._read = read
        self._reads_configs = configs
        self._seen: set[tuple[object, ...]] = set()
        # Several entries of an index may share a manifest, each for another platform: it is read once.
        self._parsed: dict[tuple[Digest, str, int], index.Index | manifest.ImageManifest | None] = {}
        self._contents: dict[Digest, bytes] = {}
        self._configs: dict[tuple[Digest, int, bool], ImageConfig | None] = {}
        self.blobs: dict[Digest, Descriptor] = {}
        self.manifests: dict[Digest, RawManifest] = {}
        self.documents: set[Digest] = set()
        self.platforms: list[Platform] = []
        self.problems: list[str] = []
        self.other_digests = False

    def node(self, descriptor: Descriptor, depth: int) -> None:
        # Indexes that list one another many times would take forever. An index is for no platform.
        platform = None if descriptor.media_type in media_types.INDEXES else descriptor.platform
        key = (descriptor.digest, descriptor.media_type, descriptor.size, platform, depth)
        if key in self._seen:
            return
        self._seen.add(key)
        if len(self._seen) > limits.IMAGE_NODES:
            self.problems.append(f"its indexes have more than {limits.IMAGE_NODES} entries")
            return
        try:
            image_or_index = self._parse(descriptor)
            if isinstance(image_or_index, manifest.ImageManifest):
                self._image(descriptor, image_or_index)
            elif image_or_index is not None:
                self._index(image_or_index, depth)
        except ValueError as error:
            self.problems.append(f"{descriptor.digest}: {error}")
            self.other_digests |= isinstance(error, OtherDigestError)
        if (content := self._contents.get(descriptor.digest)) is not None:
            self.manifests.setdefault(descriptor.digest, RawManifest(descriptor, content))

    def _parse(self, descriptor: Descriptor) -> index.Index | manifest.ImageManifest | None:
        key = (descriptor.digest, descriptor.media_type, descriptor.size)
        if key not in self._parsed:
            self._parsed[key] = None
            content = self._document(descriptor)
            if content is not None:
                self._contents[descriptor.digest] = content
                parse = index.parse if descriptor.media_type in media_types.INDEXES else manifest.parse
                self._parsed[key] = parse(content, descriptor.media_type)
        return self._parsed[key]

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
        if not self._reads_configs:
            return
        config = self._config(image.config, artifact=image.is_artifact)
        if config is None:
            return
        if descriptor.platform and not index.same_platform(descriptor.platform, config.platform):
            raise ValueError(f"announced for {descriptor.platform}, its config says {config.platform}")
        if len(config.diff_ids) != len(image.layers):
            raise ValueError(f"{len(image.layers)} layers, its config knows {len(config.diff_ids)}")
        self.platforms.append(config.platform)

    def _config(self, descriptor: Descriptor, *, artifact: bool) -> ImageConfig | None:
        """Read a config; of an artifact, whose config says nothing of what runs, only its bytes are checked."""
        key = (descriptor.digest, descriptor.size, artifact)
        if key not in self._configs:
            self._configs[key] = None
            content = self._document(descriptor)
            if content is not None and not artifact:
                self._configs[key] = ImageConfig.parse(content)
        return self._configs[key]

    def _document(self, descriptor: Descriptor) -> bytes | None:
        self._add(descriptor)
        self.documents.add(descriptor.digest)
        try:
            content = self._read(descriptor)
        except (FileNotFoundError, ValueError) as error:
            self.problems.append(str(error))
            return None
        if len(content) != descriptor.size or Digest.of(content) != descriptor.digest:
            expected = f"{descriptor.digest}, {descriptor.size} bytes"
            self.problems.append(f"expected {expected}; found {Digest.of(content)}, {len(content)} bytes")
            return None
        return content

    def _add(self, descriptor: Descriptor) -> None:
        plain = replace(descriptor, platform=None, annotations={})
        known = self.blobs.setdefault(descriptor.digest, plain)
        if known.size != descriptor.size:
            self.problems.append(f"{descriptor.digest}: announced with {known.size} and with {descriptor.size} bytes")

"""Validation that computes every digest, size and diff id again, with the standard library alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from bundler.model import limits, media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest, Hasher
from bundler.oci import document, index, layer_format, manifest
from bundler.oci.config import ImageConfig
from bundler.oci.hashing import HashingReader

_CHUNK: Final = 1 << 20
# A gigabyte of gzip can unpack to a terabyte; layers of a feature server are far below this limit.
_MOST_UNPACKED: Final = 64 << 30

OpenBlob = Callable[[Digest], BinaryIO]


@dataclass(frozen=True)
class Examination:
    """The problems, and the layers whose diff ids this Python cannot compute (their blobs were hashed)."""

    problems: tuple[str, ...]
    not_recomputed: tuple[str, ...]


def validate(root: Descriptor, open_blob: OpenBlob) -> tuple[str, ...]:
    """Return every problem of an image or index and of all below it; empty means that all of it is as it says.

    ``open_blob`` raises ``FileNotFoundError`` (or ``KeyError``) for a blob that is not there. Layers packed with zstd
    are hashed as blobs, but their diff ids only on Python 3.14 and newer; ``examine`` also says which were left out.
    """
    return examine(root, open_blob).problems


def examine(root: Descriptor, open_blob: OpenBlob) -> Examination:
    """Validate, and report what could not be computed."""
    examiner = _Examiner(open_blob)
    examiner.node(root, limits.INDEX_DEPTH)
    return Examination(tuple(dict.fromkeys(examiner.problems)), tuple(dict.fromkeys(examiner.not_recomputed)))


class _Examiner:
    """Walks from a root, gathers problems, examines each layer once."""

    def __init__(self, open_blob: OpenBlob) -> None:
        self._open = open_blob
        self._seen: set[tuple[Digest, str, int, Digest | None]] = set()
        self._visited: set[tuple[object, ...]] = set()
        self._parsed: dict[tuple[Digest, str, int], index.Index | manifest.ImageManifest | None] = {}
        self._configs: dict[tuple[Digest, int], ImageConfig | None] = {}
        self.problems: list[str] = []
        self.not_recomputed: list[str] = []

    def node(self, descriptor: Descriptor, depth: int) -> None:
        """Examine a manifest or an index and what it points to, once even where several indexes list it."""
        platform = None if descriptor.media_type in media_types.INDEXES else descriptor.platform  # as graph.below does
        key = (descriptor.digest, descriptor.media_type, descriptor.size, platform, depth)
        if key in self._visited:
            return
        self._visited.add(key)
        if len(self._visited) > limits.IMAGE_NODES:
            self._report(descriptor, f"is one of more than {limits.IMAGE_NODES} entries of indexes")
            return
        try:
            node = self._parse(descriptor)
        except ValueError as error:
            self._report(descriptor, f"cannot be used: {error}")
            return
        if isinstance(node, manifest.ImageManifest):
            self._image(descriptor, node)
        elif node is not None:
            self._index(descriptor, node, depth)

    def _parse(self, descriptor: Descriptor) -> index.Index | manifest.ImageManifest | None:
        """Read a manifest or an index, once even where several entries of indexes share it."""
        key = (descriptor.digest, descriptor.media_type, descriptor.size)
        if key not in self._parsed:
            self._parsed[key] = None
            content = self._document(descriptor)
            if content is not None:
                parse = index.parse if descriptor.media_type in media_types.INDEXES else manifest.parse
                self._parsed[key] = parse(content, descriptor.media_type)
        return self._parsed[key]

    def _index(self, descriptor: Descriptor, image_index: index.Index, depth: int) -> None:
        if not image_index.manifests:
            self._report(descriptor, "is an index without images")
        if not depth:
            self._report(descriptor, "is an index nested too deep")
            return
        for entry in image_index.manifests:
            self.node(entry, depth - 1)

    def _artifact(self, descriptor: Descriptor, artifact: manifest.ImageManifest) -> None:
        """Examine an artifact: its blobs are what their descriptors say; nothing in it is unpacked or run."""
        self._document(artifact.config)
        for layer in artifact.layers:
            key = (layer.digest, layer.media_type, layer.size, None)
            if key not in self._seen:
                self._seen.add(key)
                self._blob(descriptor, layer)

    def _blob(self, descriptor: Descriptor, blob: Descriptor) -> None:
        try:
            with self._open(blob.digest) as stream:
                hashing = HashingReader(stream)
                hashing.drain()
        except (FileNotFoundError, KeyError):
            self._report(descriptor, f"lacks its blob {blob.digest}")
            return
        self._matches(blob, hashing.digest, hashing.size)

    def _image(self, descriptor: Descriptor, image: manifest.ImageManifest) -> None:
        if image.is_artifact:
            self._artifact(descriptor, image)
            return
        docker = layer_format.is_docker(image.media_type)
        for blob in (image.config, *image.layers):
            if layer_format.is_docker(blob.media_type) is not docker:
                self._report(descriptor, f"is of type {image.media_type}, but has a part of type {blob.media_type}")
        diff_ids = self._diff_ids(descriptor, image)
        for number, layer in enumerate(image.layers):
            self._layer(descriptor, layer, diff_ids[number] if diff_ids else None)

    def _diff_ids(self, descriptor: Descriptor, image: manifest.ImageManifest) -> tuple[Digest, ...]:
        """Return the diff id of each layer; empty where the config does not have them."""
        try:
            config = self._config(image.config)
        except ValueError as error:
            self._report(descriptor, f"has a config that cannot be used: {error}")
            return ()
        if config is None:
            return ()
        if descriptor.platform and not index.same_platform(descriptor.platform, config.platform):
            self._report(descriptor, f"is announced for {descriptor.platform}, its config says {config.platform}")
        if len(config.diff_ids) != len(image.layers):
            self._report(descriptor, f"has {len(image.layers)} layers, its config {len(config.diff_ids)}")
            return ()
        return config.diff_ids

    def _config(self, descriptor: Descriptor) -> ImageConfig | None:
        key = (descriptor.digest, descriptor.size)
        if key not in self._configs:
            self._configs[key] = None
            content = self._document(descriptor)
            self._configs[key] = None if content is None else ImageConfig.parse(content)
        return self._configs[key]

    def _layer(self, image: Descriptor, layer: Descriptor, diff_id: Digest | None) -> None:
        key = (layer.digest, layer.media_type, layer.size, diff_id)
        if key in self._seen:
            return
        self._seen.add(key)
        try:
            with self._open(layer.digest) as stream:
                hashing = HashingReader(stream)
                self._unpack(image, layer, diff_id, hashing)
                hashing.drain()
        except (FileNotFoundError, KeyError):
            self._report(image, f"lacks its layer {layer.digest}")
            return
        self._matches(layer, hashing.digest, hashing.size)

    def _unpack(self, image: Descriptor, layer: Descriptor, diff_id: Digest | None, stream: HashingReader) -> None:
        try:
            unpacked = _hash_unpacked(layer_format.unpacked(stream, layer.media_type))
        except layer_format.UnsupportedCompressionError as error:
            self.not_recomputed.append(f"diff id of layer {layer.digest}: {error}")
        except ValueError as error:
            self._report(image, f"has the layer {layer.digest}: {error}")
        else:
            if diff_id and unpacked != diff_id:
                self._report(image, f"has the layer {layer.digest}, which unpacks to {unpacked} instead of {diff_id}")

    def _document(self, descriptor: Descriptor) -> bytes | None:
        """Return a small blob whole, if it is what its descriptor says."""
        try:
            with self._open(descriptor.digest) as stream:
                content = stream.read(document.LIMIT + 1)
        except (FileNotFoundError, KeyError):
            self.problems.append(f"blob {descriptor.digest} ({descriptor.media_type}) is missing")
            return None
        if len(content) > document.LIMIT:
            self.problems.append(f"blob {descriptor.digest} ({descriptor.media_type}) is too large for a document")
            return None
        return content if self._matches(descriptor, Digest.of(content), len(content)) else None

    def _matches(self, descriptor: Descriptor, digest: Digest, size: int) -> bool:
        if size != descriptor.size:
            self.problems.append(f"blob {descriptor.digest} has {size} bytes, its descriptor says {descriptor.size}")
        if digest != descriptor.digest:
            self.problems.append(f"blob {descriptor.digest} has the digest {digest}")
        return size == descriptor.size and digest == descriptor.digest

    def _report(self, image: Descriptor, problem: str) -> None:
        self.problems.append(f"image {image.digest} {problem}")


def _hash_unpacked(pieces: Iterator[bytes]) -> Digest:
    hasher = Hasher()
    for piece in pieces:
        hasher.update(piece)
        if hasher.size > _MOST_UNPACKED:
            raise ValueError(f"it unpacks to more than {_MOST_UNPACKED >> 30} GiB")
    return hasher.digest

"""The compression of layers: media types, and decompressing as a stream with the standard library alone."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from enum import Enum
from typing import Final, Protocol, runtime_checkable

from bundler.model import media_types

_CHUNK: Final = 1 << 18
_GZIP: Final = 31  # zlib's value for "a gzip header and trailer, window of 32 KiB"
_DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"


class Compression(Enum):
    """How the tar of a layer is compressed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


_OF: Final = {
    media_types.OCI_LAYER: Compression.NONE,
    media_types.OCI_LAYER_GZIP: Compression.GZIP,
    media_types.OCI_LAYER_ZSTD: Compression.ZSTD,
    _DOCKER_LAYER: Compression.NONE,
    media_types.DOCKER_LAYER_GZIP: Compression.GZIP,
    f"{_DOCKER_LAYER}.zstd": Compression.ZSTD,
}
_OCI: Final = {
    Compression.NONE: media_types.OCI_LAYER,
    Compression.GZIP: media_types.OCI_LAYER_GZIP,
    Compression.ZSTD: media_types.OCI_LAYER_ZSTD,
}


class UnsupportedCompressionError(ValueError):
    """This Python cannot unpack the layer."""


@runtime_checkable
class Readable(Protocol):
    """The methods of a binary stream that are used."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end."""


def compression(media_type: str) -> Compression:
    """Return how layers of this media type are compressed.

    Raises:
        ValueError: a layer of this media type cannot be in a bundle.
    """
    known = _OF.get(media_type)
    if known is None:
        raise ValueError(f"media type {media_type!r:.120} is not that of a layer that can be bundled")
    return known


def is_docker(media_type: str) -> bool:
    """Tell whether the media type is one of Docker's schema 2, rather than OCI's."""
    return media_type.startswith("application/vnd.docker.")


def as_oci(media_type: str) -> str:
    """Return OCI's media type for the same bytes."""
    return _OCI[compression(media_type)]


def unpacked(stream: Readable, media_type: str) -> Iterator[bytes]:
    """Yield the tar of a layer piece by piece, at most a mebibyte at a time.

    Raises:
        UnsupportedCompressionError: zstd, on a Python before 3.14, whose standard library cannot unpack it.
        ValueError: the bytes are damaged or end early.
    """
    match compression(media_type):
        case Compression.NONE:
            return iter(lambda: stream.read(_CHUNK), b"")
        case Compression.GZIP:
            return _gunzipped(stream)
        case Compression.ZSTD:
            return _zstd(stream)


def _gunzipped(stream: Readable) -> Iterator[bytes]:
    # Output is bounded: a small chunk can unpack to a thousand times its size. The rest stays in the decompressor.
    state = zlib.decompressobj(_GZIP)
    try:
        while chunk := stream.read(_CHUNK):
            while chunk:
                if state.eof:  # a gzip file may consist of several members
                    state = zlib.decompressobj(_GZIP)
                if piece := state.decompress(chunk, 4 * _CHUNK):
                    yield piece
                chunk = state.unused_data if state.eof else state.unconsumed_tail
        while not state.eof and (piece := state.decompress(b"", 4 * _CHUNK)):
            yield piece
    except zlib.error as error:
        raise ValueError(f"its gzip stream is damaged: {error}") from error
    if not state.eof:
        raise ValueError("its gzip stream ends early")


def _zstd(stream: Readable) -> Iterator[bytes]:
    try:
        from compression import zstd  # type: ignore[import-not-found]  # noqa: PLC0415  (new in Python 3.14)
    except ImportError:
        raise UnsupportedCompressionError(
            "it is compressed with zstd, which Python can unpack from 3.14 on; use that, or an image with gzip layers"
        ) from None
    try:
        with zstd.ZstdFile(stream) as unpacking:
            yield from iter(lambda: unpacking.read(_CHUNK), b"")
    except (zstd.ZstdError, EOFError) as error:
        raise ValueError(f"its zstd stream is damaged: {error}") from error

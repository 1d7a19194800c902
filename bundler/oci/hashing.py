"""Streams that are hashed while they are read or written."""

from __future__ import annotations

from typing import Final, Protocol

from bundler.model.digest import Hasher
from bundler.oci.layer_format import Readable

_CHUNK: Final = 1 << 20


class Sink(Protocol):
    """Where bytes go."""

    def write(self, chunk: bytes | memoryview, /) -> object:
        """Take the next bytes, all of them."""


class HashingReader(Hasher):
    """Hashes and counts what is read of a stream."""

    def __init__(self, stream: Readable) -> None:
        super().__init__()
        self._stream = stream

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes."""
        chunk = self._stream.read(size)
        self.update(chunk)
        return chunk

    def drain(self) -> None:
        """Read the rest."""
        while self.read(_CHUNK):
            pass


class HashingWriter(Hasher):
    """Hashes and counts what passes through to a sink."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink

    def write(self, chunk: bytes | memoryview) -> int:
        """Pass the next bytes on."""
        self._sink.write(chunk)
        self.update(chunk)
        return len(chunk)

    def flush(self) -> None:
        """Do nothing; the owner of the sink flushes it."""

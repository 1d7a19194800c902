"""A stream that is hashed while somebody reads it."""

from __future__ import annotations

import hashlib
from typing import Final

from bundler.model.digest import Digest
from bundler.oci.layer_format import Readable

_CHUNK: Final = 1 << 20


class HashingReader:
    """Hashes and counts what is read of a stream."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._state = hashlib.sha256()
        self.size = 0

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes."""
        chunk = self._stream.read(size)
        self._state.update(chunk)
        self.size += len(chunk)
        return chunk

    def drain(self) -> None:
        """Read the rest."""
        while self.read(_CHUNK):
            pass

    @property
    def digest(self) -> Digest:
        """The digest of what was read so far."""
        return Digest(self._state.hexdigest())

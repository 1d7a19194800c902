"""Content digests: what every blob and file is named by."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import BinaryIO

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_OTHER = re.compile(r"(?!sha256:)[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_CHUNK = 1 << 20


class OtherDigestError(ValueError):
    """A digest is of another algorithm, which OCI allows and this program does not read."""


@dataclass(frozen=True, order=True)
class Digest:
    """A SHA-256 content digest (OCI image specification, ``descriptor.md``, section Digests)."""

    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read ``sha256:HEX``; raise ``ValueError`` on anything else."""
        if not _DIGEST.fullmatch(text):
            msg = f"not a sha256 digest: {text!r:.120}"
            if _OTHER.fullmatch(text):
                raise OtherDigestError(msg)
            raise ValueError(msg)
        return cls(text.removeprefix("sha256:"))

    @classmethod
    def of(cls, content: bytes) -> Digest:
        """Hash bytes already in memory."""
        return cls(hashlib.sha256(content).hexdigest())

    @classmethod
    def of_stream(cls, stream: BinaryIO) -> Digest:
        """Hash the rest of a stream, a mebibyte at a time."""
        hasher = Hasher()
        while chunk := stream.read(_CHUNK):
            hasher.update(chunk)
        return hasher.digest

    def __str__(self) -> str:
        return f"sha256:{self.hex}"

    @property
    def short(self) -> str:
        """The first twelve hexadecimal digits, for people."""
        return self.hex[:12]


class Hasher:
    """Hashes and counts bytes that come piece by piece."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all bytes."""
        self._state = hashlib.sha256()
        self.size = 0

    def update(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes."""
        self._state.update(chunk)
        self.size += len(chunk)

    @property
    def digest(self) -> Digest:
        """The digest of all bytes so far."""
        return Digest(self._state.hexdigest())

"""What is read of a blob while it is uploaded: hashed once, in order, however often its bytes are sent."""

from __future__ import annotations

from bundler.effects.archive.blob_content import BlobContent
from bundler.errors import VerificationError
from bundler.model.digest import Digest, Hasher

CHUNK = 1 << 20  # bytes read, hashed and handed to the socket at a time


class UploadHasher:
    """Hashes a content once, in order, however often and in whatever pieces it is sent."""

    def __init__(self, content: BlobContent) -> None:
        self._content = content
        self._hasher = Hasher()

    def take(self, offset: int, chunk: memoryview) -> None:
        """Hash what is new in ``chunk``; raise ``VerificationError`` when the end is reached with another digest."""
        if offset > self._hasher.size:
            self._catch_up(offset)
        fresh = chunk[self._hasher.size - offset :]
        if not fresh:
            return
        self._hasher.update(fresh)
        if self._hasher.size == self._content.size and self._hasher.digest != self._content.digest:
            raise _damaged(self._content, self._hasher.digest)

    def _catch_up(self, offset: int) -> None:
        """Hash what the registry has already, without sending it."""
        buffer = memoryview(bytearray(CHUNK))
        while self._hasher.size < offset:
            position = self._hasher.size
            self._hasher.update(read_chunk(self._content, position, buffer[: offset - position]))


def _damaged(content: BlobContent, seen: Digest) -> VerificationError:
    """Make the error for bytes that are not what their name says."""
    return VerificationError(
        f"{content.name} is damaged: its digest should be {content.digest}, and is {seen}.",
        remedy="Nothing was tagged. Copy the bundle again and compare it with its SHA256SUMS: bundler verify.",
    )


def read_chunk(content: BlobContent, offset: int, view: memoryview) -> memoryview:
    """Return the next bytes, in ``view``; raise ``VerificationError`` where the file ends too early."""
    try:
        count = content.read_into(offset, view)
    except OSError as error:  # a failing disk or stick: no fault of the registry's
        raise VerificationError(
            f"{content.name} cannot be read: {error.strerror}.", remedy="Copy the bundle again, to another medium."
        ) from error
    if count <= 0:
        raise VerificationError(
            f"{content.name} is damaged: it ends after {offset} of {content.size} bytes.",
            remedy="Nothing was tagged. Copy the bundle again and compare it with its SHA256SUMS.",
        )
    return view[:count]

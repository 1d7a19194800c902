"""Blob contents that lie inside bigger files: read in place, by offset, from many threads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol

from bundler.effects.archive.reader import Bundle
from bundler.effects.archive.volumes import Extent
from bundler.model.digest import Digest


class BlobContent(Protocol):
    """A blob's bytes; ``name`` says where they come from, for people."""

    @property
    def digest(self) -> Digest:
        """What the bytes should hash to."""

    @property
    def size(self) -> int:
        """How many bytes there are."""

    @property
    def name(self) -> str:
        """File (and path inside it)."""

    def read_into(self, offset: int, view: memoryview) -> int:
        """Fill ``view`` from ``offset`` on; return how many bytes that were, fewer only at a cut or the end."""


@dataclass(frozen=True)
class MemoryBlob:
    """A small blob that was made here."""

    content: bytes

    @property
    def digest(self) -> Digest:
        """The digest that it has."""
        return Digest.of(self.content)

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return len(self.content)

    @property
    def name(self) -> str:
        """For people."""
        return f"a document of {self.size} bytes that was made here"

    def read_into(self, offset: int, view: memoryview) -> int:
        """Fill ``view`` from ``offset`` on."""
        piece = self.content[offset : offset + len(view)]
        view[: len(piece)] = piece
        return len(piece)


@dataclass(frozen=True)
class BundledBlob:
    """A blob of a bundle: in one run of bytes, or in several where it was cut between volumes."""

    digest: Digest
    size: int
    name: str
    extents: tuple[Extent, ...]

    @classmethod
    def of(cls, bundle: Bundle, digest: Digest) -> BundledBlob:
        """Find a blob; raise ``VerificationError`` where the bundle lacks it."""
        member = bundle.blob(digest)
        place = f" ({bundle.place(member)})" if len(bundle.volumes.files) > 1 else ""
        return cls(digest, member.size, f"{member.path} in the bundle {bundle.path}{place}", member.extents)

    def read_into(self, offset: int, view: memoryview) -> int:
        """Fill ``view`` from ``offset`` on, up to the end of a run."""
        for extent in self.extents:
            if offset < extent.size:
                return os.preadv(extent.descriptor, [view[: extent.size - offset]], extent.offset + offset)
            offset -= extent.size
        return 0

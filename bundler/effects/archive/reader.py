"""Read a bundle in place, by offset, from one file or several volumes: nothing is unpacked, at any size."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from bundler.effects.archive import header as archive_header
from bundler.effects.archive.header import Header
from bundler.effects.archive.volumes import BundleVolumes, Extent
from bundler.errors import VerificationError
from bundler.model import approval, layout, limits
from bundler.model.digest import Digest
from bundler.model.manifest import BundleManifest
from bundler.model.trust import FOLDER, MOST_KEYS, UNCHECKED, PublicKey, Trust
from bundler.oci import tar

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from typing_extensions import Self

_AGAIN: Final = "The file was cut off or altered: copy it again, and compare its size with the original."
_BUFFER: Final = 1 << 16
_MAGIC: Final = slice(257, 262)
_OTHERS: Final = {
    b"\x1f\x8b": "it is compressed by gzip; unpack it with gunzip",
    b"\x28\xb5\x2f\xfd": "it is compressed by zstd; unpack it with unzstd",
    b"\xfd7zXZ": "it is compressed by xz; unpack it with unxz",
    b"PK\x03\x04": "it is a ZIP archive",
}
_MOST_MEMBERS: Final = limits.BUNDLE_FILES + len(layout.UNLISTED) + MOST_KEYS + 2 * approval.MOST


@dataclass(frozen=True)
class BundleFile:
    """A file of a bundle, and where its bytes lie, in order; ``mtime`` in seconds since 1970.

    ``offset`` counts bytes of the tar from its beginning, over all volumes.
    """

    path: str
    mode: int
    mtime: int
    size: int
    offset: int
    extents: tuple[Extent, ...]


class Bundle:
    """An open bundle; threads may share it. Headers are read when they are first needed, contents never by itself.

    Every method raises ``VerificationError``, naming the bundle and the byte, where the tar is not as bundles are:
    damaged or cut off, a file twice or out of order, links, devices, unsafe paths, anything after the end.
    """

    def __init__(self, volumes: BundleVolumes) -> None:
        self.path = volumes.path
        self.volumes = volumes
        self.size = volumes.size
        self._members: dict[str, BundleFile] = {}
        self._last = (-1, "")
        self._next = 0
        self._ended = False
        self._lock = threading.Lock()
        self._manifest: BundleManifest | None = None
        self.signers: tuple[PublicKey, ...] = ()

    @classmethod
    def open(cls, path: Path, trust: Trust = UNCHECKED) -> Bundle:
        """Open a bundle by its file, by any of its volumes, by its name without their numbers, or by its folder.

        Raises:
            UsageError: there is none to read.
            VerificationError: it is not a tar at all, a volume is missing or too short, or ``trust`` demands signatures
                or approvals that it does not have.
        """
        bundle = cls(BundleVolumes.open(path))
        try:
            bundle._require_tar()
            bundle._require(trust, path.name)
        except BaseException:
            bundle.close()
            raise
        return bundle

    def _require_tar(self) -> None:
        """Refuse what is something else altogether in one sentence; what its headers say is checked later."""
        begin = self._read_at(0, min(self.size, tar.BLOCK))
        if begin[_MAGIC] == b"ustar" or begin == bytes(tar.BLOCK):  # the latter is the end of a tar without files
            return
        unknown = "it does not begin as a tar does" if begin else "it is empty"
        what = next((what for mark, what in _OTHERS.items() if begin.startswith(mark)), unknown)
        raise VerificationError(
            f"{self.path} is not a bundle: {what}.",
            remedy="Name a bundle. If this was one, it was cut off or altered: copy it again.",
        )

    def _require(self, trust: Trust, name: str) -> None:
        if trust.keys:
            from bundler.effects.archive import trusted  # noqa: PLC0415  (it starts openssl, which few need)

            self.signers = trusted.require(self, trust)
            trust.tell(f"{name} is signed by {', '.join(map(str, self.signers))}.")
        else:
            lacking = "no trust file names a signer" if trust.files else f"no --trust, BUNDLER_TRUST or {FOLDER}"
            trust.tell(f"Signature of {name} not checked: {lacking}.")
        if trust.demand:
            from bundler.effects.archive import approvals  # noqa: PLC0415  (it starts openssl, which few need)

            for given in approvals.require(self, trust, trust.demand):
                trust.tell(f"{name} is {given}.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; members that are open cannot be read any more."""
        self.volumes.close()

    @property
    def manifest(self) -> BundleManifest:
        """The content of ``bundle.json``; without a check of its signature it is not to be trusted."""
        if self._manifest is None:
            self._manifest = BundleManifest.parse(self.read(layout.MANIFEST, limit=limits.BUNDLE_MANIFEST_SIZE))
        return self._manifest

    @property
    def members(self) -> Mapping[str, BundleFile]:
        """Every member by path, in the order in which they lie: reads every header up to the end of the file."""
        with self._lock:
            while not self._ended:
                self._advance()
        return self._members

    @property
    def known(self) -> Mapping[str, BundleFile]:
        """The members whose headers were read so far."""
        return self._members

    def __contains__(self, path: str) -> bool:
        order = layout.order(path)
        with self._lock:
            # Members are in order, so the first that comes later tells that the path is not here.
            while path not in self._members and not self._ended and self._last < order:
                self._advance()
        return path in self._members

    def member(self, path: str) -> BundleFile:
        """Return where a file lies."""
        if path not in self:
            raise VerificationError(f"The bundle {self.path} has no {path}.", remedy=self._remedy)
        return self._members[path]

    def blob(self, digest: Digest) -> BundleFile:
        """Return where a blob lies."""
        return self.member(layout.blob(digest))

    def read(self, path: str, limit: int = limits.DOCUMENT_SIZE) -> bytes:
        """Return a small file whole; raise ``VerificationError`` where it has more than ``limit`` bytes."""
        member = self.member(path)
        if member.size > limit:
            raise VerificationError(
                f"{path} in the bundle {self.path} has {member.size} bytes, more than {limit}.", remedy=self._remedy
            )
        with self.open_member(path) as stream:
            return stream.read()

    def manifests(self) -> Mapping[str, str]:
        """Return every Kubernetes manifest: path below ``manifests/`` -> text; ``VerificationError`` for no UTF-8."""
        paths = [entry.path for entry in self.manifest.files if entry.path.startswith(layout.MANIFESTS)]
        return {path.removeprefix(layout.MANIFESTS): self._text(path) for path in paths}

    def _text(self, path: str) -> str:
        try:
            return self.read(path).decode()
        except UnicodeDecodeError as error:
            problem = f"{path} in the bundle {self.path} is not a text in UTF-8: byte {error.start} is wrong."
            raise VerificationError(problem, remedy=self._remedy) from error

    def open_member(self, path: str) -> io.BufferedReader:
        """Open a file for reading; it has a position of its own and can be read while others are."""
        return io.BufferedReader(_Window(self.member(path), self.path), _BUFFER)

    def place(self, member: BundleFile) -> str:
        """Return where a file lies, for messages."""
        return self.volumes.place(member.offset, member.size)

    def padding(self, member: BundleFile) -> bytes:
        """Return the bytes that fill a file's last block: zeros, unless the bundle was altered."""
        return self._read_at(member.offset + member.size, len(tar.padding(member.size)))

    @property
    def _remedy(self) -> str:
        return _AGAIN + self.volumes.advice

    def skip_damaged(self, path: str, size: int, mtime: int) -> bool:
        """Assume a file of this path and size where a header could not be read, to find more faults behind it.

        Returns False, and does nothing, where it is not followed by a header either.
        """
        header = Header(path, layout.mode(path), mtime, size, len(archive_header.encode(path, size, mtime)))
        try:
            archive_header.read(self._read_at, _end(self._next, header))
        except (ValueError, OSError):
            return False
        self._add(header)
        return True

    def _advance(self) -> None:
        try:
            header = archive_header.read(self._read_at, self._next)
            if header is None:
                self._check_end()
            elif layout.order(header.path) <= self._last:
                raise ValueError(f"{header.path} occurs twice or out of order")  # noqa: TRY301
            elif len(self._members) == _MOST_MEMBERS:
                raise ValueError(f"it has more than {limits.BUNDLE_FILES} files")  # noqa: TRY301
            elif self._next + header.length + header.size > self.size:
                raise ValueError(f"{header.path} has {header.size} bytes, more than the file: it was cut off")  # noqa: TRY301
            else:
                self._add(header)
        except (ValueError, OSError) as error:
            place = self.volumes.place(self._next)
            fault = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
            remedy = self._remedy if self._next else f"Is this a bundle? If it is: {self._remedy}"
            raise VerificationError(f"{self.path}, {place}: {fault}.", remedy=remedy) from error

    def _add(self, header: Header) -> None:
        offset = self._next + header.length
        extents = self.volumes.extents(offset, header.size)
        self._members[header.path] = BundleFile(header.path, header.mode, header.mtime, header.size, offset, extents)
        self._last = layout.order(header.path)
        self._next = _end(self._next, header)

    def _check_end(self) -> None:
        rest = self.size - self._next - len(tar.END)
        if rest:
            raise ValueError(f"{rest} bytes after the end of the tar")
        self._ended = True

    def _read_at(self, offset: int, size: int) -> bytes:
        return self.volumes.read_at(offset, size)


def _end(offset: int, header: Header) -> int:
    return offset + header.length + header.size + len(tar.padding(header.size))


class _Window(io.RawIOBase):
    """A member as a stream of its own."""

    def __init__(self, member: BundleFile, bundle: Path) -> None:
        self._member, self._bundle = member, bundle
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._member.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        before = 0
        for extent in self._member.extents:
            inside = self._position - before
            if inside < extent.size:
                view = memoryview(buffer).cast("B")[: extent.size - inside]
                try:
                    count = os.preadv(extent.descriptor, [view], extent.offset + inside)
                except OSError as error:  # a failing disk or stick
                    problem = f"{self._member.path} in the bundle {self._bundle} cannot be read: {error.strerror}."
                    raise VerificationError(problem, remedy=_AGAIN) from error
                if view and not count:
                    raise VerificationError(f"{self._bundle} became shorter while it was read.", remedy=_AGAIN)
                self._position += count
                return count
            before += extent.size
        return 0

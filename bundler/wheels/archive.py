"""A wheel's zip file, read strictly: every entry is plain, within bounds, and what RECORD says it is."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import HeaderParser
from typing import BinaryIO, Final, cast

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from bundler.errors import VerificationError

_MOST_ENTRIES: Final = 200_000
# A wheel holds code; one that claims to unpack to more than this is not one. Deflate itself reaches 1 : 1032.
_MOST_RATIO: Final = 200
_UNPACKED_FREE: Final = 256 << 20
_METADATA_LIMIT: Final = 4 << 20  # bytes; of parsed headers, each takes a hundred times as much memory
_RECORD_LIMIT: Final = 64 << 20  # bytes
_LONGEST_NAME: Final = 255  # bytes of one path component, on every file system that images are unpacked to
_SYMLINK: Final = 0o120000
_KINDS: Final = 0o170000
_LOCAL_HEADER: Final = 30  # bytes, without the name (APPNOTE.TXT 4.3.7)
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})  # "sha256 or better" (PEP 427)

# pip and uv install such a wheel, although the format forbids it: nothing says what its files must be.
_NOT_RECORDED: Final = (
    "Ask for another release. Or look at the wheel, write its RECORD again (unzip {filename} -d unpacked; "
    "pip install wheel; python -m wheel pack unpacked -d wheels), and keep it in the folder 'wheels' beside the spec."
)


@dataclass(frozen=True)
class Recorded:
    """What RECORD says of an entry: an algorithm of ``hashlib`` and the digest it gives."""

    algorithm: str
    digest: bytes

    @classmethod
    def parse(cls, text: str) -> Recorded:
        """Read ``sha256=URLSAFE_BASE64_WITHOUT_PADDING``; raise ``ValueError`` on anything else."""
        algorithm, _, encoded = text.partition("=")
        if algorithm not in _HASHES:
            raise ValueError(f"not a hash: {text!r:.100}")
        size = hashlib.new(algorithm).digest_size
        try:
            # Hexadecimal is against the specification, but wheels have it.
            is_hex = len(encoded) == 2 * size
            digest = bytes.fromhex(encoded) if is_hex else base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        except ValueError as error:
            raise ValueError(f"not a hash: {text!r:.100}") from error
        if len(digest) != size:
            raise ValueError(f"not a hash: {text!r:.100}")
        return cls(algorithm, digest)

    def __str__(self) -> str:
        return f"{self.algorithm}={base64.urlsafe_b64encode(self.digest).rstrip(b'=').decode()}"


class WheelArchive:
    """A wheel that is open for reading.

    Raises:
        VerificationError: the zip is damaged, or holds an entry that a wheel must not: an absolute path, one that
            leaves its folder, a link, a duplicate, one that RECORD does not list, an absurd size.
    """

    def __init__(self, stream: BinaryIO, filename: str) -> None:
        self.filename = filename
        try:
            self._zip = zipfile.ZipFile(stream)
        # zipfile lets out the last two for versions that it does not know, and for fields that are cut off.
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
            raise VerificationError(
                f"{filename} is not a zip file: {error}.", remedy="Do not use this wheel."
            ) from error
        self._check_bounds(stream)
        self.entries: Mapping[str, zipfile.ZipInfo] = {info.filename: info for info in self._checked()}
        self._check_folders()
        self.dist_info = self._dist_info()
        self.data = self.dist_info.removesuffix(".dist-info") + ".data"
        self._check_version()
        self.recorded: Mapping[str, Recorded] = dict(self._recorded())

    def refuse(self, entry: str, reason: str, remedy: str = "Do not use this wheel.") -> VerificationError:
        """Return the error about an entry."""
        return VerificationError(f"{self.filename}: the entry {entry!r:.300} {reason}.", remedy=remedy)

    def open(self, entry: str) -> BinaryIO:
        """Open an entry for reading; the stream refuses to end where size or hash are not as announced."""
        return self._stream(entry, self.recorded.get(entry))

    def read(self, entry: str) -> bytes:
        """Return an entry of metadata whole, verified."""
        if self.entries[entry].file_size > _METADATA_LIMIT:
            raise self.refuse(entry, "is absurdly large")
        with self.open(entry) as stream:
            return stream.read()

    def _check_bounds(self, stream: BinaryIO) -> None:
        infos = self._zip.infolist()
        unpacked = sum(info.file_size for info in infos)
        size = stream.seek(0, io.SEEK_END)
        if len(infos) > _MOST_ENTRIES or unpacked > size * _MOST_RATIO + _UNPACKED_FREE:
            raise VerificationError(
                f"{self.filename} unpacks to {len(infos)} files of {unpacked} bytes, which no wheel does.",
                remedy="Do not use this wheel.",
            )
        # Entries that share their bytes make a small file unpack to a huge one.
        end = 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            if info.header_offset < end:
                raise self.refuse(info.filename, "overlaps another")
            end = info.header_offset + _LOCAL_HEADER + info.compress_size

    def _checked(self) -> Iterator[zipfile.ZipInfo]:
        seen: set[str] = set()
        for info in self._zip.infolist():
            name = info.filename
            if not _is_plain(name):
                raise self.refuse(name, "has a path that leaves the wheel or is not plain")
            if (info.external_attr >> 16) & _KINDS == _SYMLINK:
                raise self.refuse(name, "is a symbolic link, which wheels cannot hold")
            if name in seen:
                raise self.refuse(name, "occurs twice")
            if info.flag_bits & 1:
                raise self.refuse(name, "is encrypted")
            if info.compress_type not in _METHODS:
                raise self.refuse(name, "is compressed in a way that wheels do not use")
            seen.add(name)
            if not name.endswith("/"):  # a folder
                yield info

    def _check_folders(self) -> None:
        folders = {name[:at] for name in self.entries for at, letter in enumerate(name) if letter == "/"}
        for name in sorted(folders & self.entries.keys()):
            raise self.refuse(name, "is a file and a folder")

    def _dist_info(self) -> str:
        folders = {name.partition("/")[0] for name in self.entries}
        named = sorted(folder for folder in folders if folder.endswith(".dist-info"))
        if len(named) != 1 or f"{named[0]}/RECORD" not in self.entries or f"{named[0]}/WHEEL" not in self.entries:
            raise VerificationError(
                f"{self.filename} is not a wheel: it has {len(named)} folders NAME-VERSION.dist-info that hold WHEEL "
                "and RECORD instead of one.",
                remedy="Do not use this file.",
            )
        name, _, version = named[0].removesuffix(".dist-info").partition("-")
        if not self._is_mine(name, version):
            raise self.refuse(named[0], "is the metadata of another distribution or version")
        return named[0]

    def _is_mine(self, name: str, version: str) -> bool:
        try:
            own_name, own_version, *_ = parse_wheel_filename(self.filename)
            return canonicalize_name(name) == own_name and Version(version) == own_version
        except (InvalidWheelFilename, InvalidVersion):
            return False

    def _check_version(self) -> None:
        entry = f"{self.dist_info}/WHEEL"
        headers = HeaderParser().parsestr(self._text(self._raw(entry), entry))
        version = str(headers.get("Wheel-Version", ""))
        if version.partition(".")[0].strip() != "1":
            raise self.refuse(entry, f"names the wheel format {version!r}; this program knows 1.x")

    def _recorded(self) -> Iterator[tuple[str, Recorded]]:
        entry = f"{self.dist_info}/RECORD"
        lines = io.StringIO(self._text(self._raw(entry, _RECORD_LIMIT), entry))
        try:
            rows = {row[0]: row for row in csv.reader(lines) if row}
        except csv.Error as error:
            raise self.refuse(entry, f"is not a table: {error}") from error
        for name in self.entries:
            if name == entry or name in (f"{entry}.jws", f"{entry}.p7s"):
                continue
            try:
                yield name, Recorded.parse(rows[name][1])
            except (KeyError, IndexError, ValueError) as error:
                reason = "has no SHA-256 hash, or a better one, in RECORD"
                raise self.refuse(name, reason, _NOT_RECORDED.format(filename=self.filename)) from error

    def _raw(self, entry: str, most: int = _METADATA_LIMIT) -> bytes:
        """Read what RECORD does not list (itself), or what is read before it."""
        if self.entries[entry].file_size > most:
            raise self.refuse(entry, "is absurdly large")
        with self._stream(entry, None) as stream:
            return stream.read()

    def _stream(self, entry: str, recorded: Recorded | None) -> BinaryIO:
        info = self.entries[entry]
        return cast("BinaryIO", _EntryStream(self._zip, info, recorded, lambda reason: self.refuse(entry, reason)))

    def _text(self, content: bytes, entry: str) -> str:
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise self.refuse(entry, "is not UTF-8") from error


def _is_plain(name: str) -> bool:
    segments = name.removesuffix("/").split("/")
    return (
        "\\" not in name
        and name.isprintable()
        and all(segment not in ("", ".", "..") and len(segment.encode()) <= _LONGEST_NAME for segment in segments)
    )


class _EntryStream(io.RawIOBase):
    """The content of an entry; raises before it ends where that is not what was announced."""

    def __init__(
        self,
        archive: zipfile.ZipFile,
        info: zipfile.ZipInfo,
        recorded: Recorded | None,
        refuse: Callable[[str], VerificationError],
    ) -> None:
        self._recorded, self._refuse = recorded, refuse
        self._left = info.file_size
        self._state = hashlib.new(recorded.algorithm) if recorded else None
        with self._explained():
            self._content = archive.open(info)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        with self._explained():
            chunk = self._content.read(size)
        self._left -= len(chunk)
        if self._state is not None and self._recorded is not None:
            self._state.update(chunk)
            if self._left == 0 and self._state.digest() != self._recorded.digest:
                raise self._refuse(f"is not what RECORD says ({self._recorded})")
        if self._left and (size < 0 or (size and not chunk)):
            raise self._refuse(f"ends {self._left} bytes early")
        return chunk

    def close(self) -> None:
        self._content.close()
        super().close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, struct.error) as error:
            raise self._refuse(f"is damaged: {error}") from error

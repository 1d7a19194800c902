"""Write tar headers whose bytes depend on the member alone (POSIX.1-2001, ``ustar`` and pax)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
_NAME: Final = 100
_PREFIX: Final = 155
_MAX_ID: Final = 0o7777777
_MAX_SIZE: Final = 0o77777777777


class EntryKind(Enum):
    """What a member is; the values are the type flags of ``ustar``."""

    FILE = b"0"
    HARD_LINK = b"1"
    SYMLINK = b"2"
    CHARACTER_DEVICE = b"3"
    BLOCK_DEVICE = b"4"
    DIRECTORY = b"5"
    FIFO = b"6"


@dataclass(frozen=True)
class TarEntry:
    """One entry of a tar file: ``size`` bytes of content follow it, ``mtime`` is in seconds, ``target`` is a link's."""

    path: str
    kind: EntryKind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    target: str = ""


def padding(size: int) -> bytes:
    """Return the zeros that fill content of ``size`` bytes up to the next block."""
    return bytes(-size % BLOCK)


def header(member: TarEntry) -> bytes:
    """Return the header blocks of a member.

    The same member gives the same bytes everywhere: numeric owners without names, no device numbers, and a pax
    extended header only for what ``ustar`` has no room for (long or non-ASCII paths and targets, huge sizes and ids).
    """
    records: dict[str, str] = {}
    path = member.path + "/" if member.kind is EntryKind.DIRECTORY else member.path
    fields = _split(path)
    if fields is None:
        records["path"] = path
        fields = b"", _shortened(path)
    target = _shortened(member.target)
    if len(member.target) > _NAME or not member.target.isascii():
        records["linkpath"] = member.target
    uid = _number(records, "uid", member.uid, _MAX_ID)
    gid = _number(records, "gid", member.gid, _MAX_ID)
    size = _number(records, "size", member.size, _MAX_SIZE)
    numbers = (member.mode & 0o7777, uid, gid, size, member.mtime)
    block = _ustar(fields, numbers, member.kind.value, target)
    return _extended(records) + block if records else block


def _shortened(text: str) -> bytes:
    """Return the form of a text for readers that do not know pax headers."""
    return text.encode("ascii", "replace")[:_NAME]


def _number(records: dict[str, str], key: str, number: int, limit: int) -> int:
    if number <= limit:
        return number
    records[key] = str(number)
    return 0


def _split(path: str) -> tuple[bytes, bytes] | None:
    """Split a path over the fields prefix and name, or return None where it does not fit."""
    if not path.isascii():
        return None
    encoded = path.encode()
    if len(encoded) <= _NAME:
        return b"", encoded
    # The name must not be empty, so the path of a directory is not split at its last slash.
    cut = encoded.find(b"/", len(encoded) - _NAME - 1, len(encoded) - 1)
    return (encoded[:cut], encoded[cut + 1 :]) if 0 < cut <= _PREFIX else None


def _ustar(fields: tuple[bytes, bytes], numbers: tuple[int, int, int, int, int], flag: bytes, target: bytes) -> bytes:
    prefix, name = fields
    head = name.ljust(_NAME, b"\0") + b"%07o\0%07o\0%07o\0%011o\0%011o\0" % numbers
    # User, group and device numbers stay empty: 32 + 32 + 8 + 8 bytes; 12 bytes end the block.
    tail = flag + target.ljust(_NAME, b"\0") + b"ustar\x0000" + bytes(80) + prefix.ljust(_PREFIX, b"\0") + bytes(12)
    # The checksum is the sum of all bytes, its own field counted as eight spaces.
    return head + b"%06o\0 " % (sum(head) + 8 * 0x20 + sum(tail)) + tail


def _extended(records: dict[str, str]) -> bytes:
    body = b"".join(_record(key, value) for key, value in sorted(records.items()))
    block = _ustar((b"", b"././@PaxHeader"), (0o644, 0, 0, len(body), 0), b"x", b"")
    return block + body + padding(len(body))


def _record(key: str, value: str) -> bytes:
    """Return one line of a pax header, ``LENGTH KEY=VALUE``, where the length counts its own digits."""
    text = f" {key}={value}\n".encode()
    length = len(text)
    while len(text) + len(str(length)) != length:
        length = len(text) + len(str(length))
    return str(length).encode() + text

"""Headers of a bundle's tar, in the one form in which bundles are written; anything else is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bundler.model import layout
from bundler.oci import tar

_EXTENDED: Final = b"x"
# A path and a size; a real one has two hundred bytes.
_EXTENDED_LIMIT: Final = 4096
_KINDS: Final = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a folder",
    b"6": "a pipe",
    b"S": "a sparse file",
    b"g": "a global extended header",
    b"L": "a GNU long name",
    b"K": "a GNU long link",
    b"V": "a volume label",
    b"M": "a continuation of another volume",
}
_NUMBER = re.compile(rb"([0-7]+)[ \0]*")
_RECORD = re.compile(rb"(\d{1,4}) (path|size)=([^\n]*)\n")

Read = Callable[[int, int], bytes]
"""Reads at most (second) bytes from an offset (first) of the tar."""


@dataclass(frozen=True)
class Header:
    """What a header says; its member's content begins ``length`` bytes after the header's own offset."""

    path: str
    mode: int
    mtime: int
    size: int
    length: int


def encode(path: str, size: int, mtime: int) -> bytes:
    """Return the header of a file of a bundle."""
    return tar.header(tar.TarEntry(path, tar.EntryKind.FILE, mode=layout.mode(path), size=size, mtime=mtime))


def read(read_at: Read, offset: int) -> Header | None:
    """Read the header at an offset; return None at the two blocks of zeros that end a tar.

    The header is made again from what it says and must be the same bytes, so nothing (owner, device, hidden
    extension) is overlooked or understood differently by another program.

    Raises:
        ValueError: damaged, cut off, not a plain file, an unsafe path, or not as bundles are written.
    """
    block = _block(read_at, offset)
    if not any(block):
        if any(_block(read_at, offset + tar.BLOCK)):
            raise ValueError("one block of zeros, where the end of a tar has two")
        return None
    _check_sum(block)
    raw, records = block, dict[str, bytes]()
    if _flag(block) == _EXTENDED:
        length = _number(block, 124, 136)
        if length > _EXTENDED_LIMIT:
            raise ValueError(f"an extended header of {length} bytes; at most {_EXTENDED_LIMIT} are allowed")
        body = read_at(offset + tar.BLOCK, length + -length % tar.BLOCK)
        records = _records(body[:length])
        block = _block(read_at, offset + tar.BLOCK + len(body))
        _check_sum(block)
        raw += body + block
    if _flag(block) != tar.EntryKind.FILE.value:
        raise ValueError(f"{_KINDS.get(_flag(block), 'an unknown kind of entry')}, where a bundle has only plain files")
    header = _header(block, records, len(raw))
    layout.check_path(header.path)
    if encode(header.path, header.size, header.mtime) != raw:
        raise ValueError(f"the header of {header.path} is not as a bundle has it (owner, mode, extension or spelling)")
    return header


def _header(block: bytes, records: dict[str, bytes], length: int) -> Header:
    prefix, name = block[345:500].rstrip(b"\0"), block[:100].rstrip(b"\0")
    path = records.get("path", prefix + b"/" + name if prefix else name)
    size = int(records["size"]) if "size" in records else _number(block, 124, 136)
    mode, mtime = _number(block, 100, 108), _number(block, 136, 148)
    return Header(path.decode("ascii", "backslashreplace"), mode, mtime, size, length)


def _block(read_at: Read, offset: int) -> bytes:
    block = read_at(offset, tar.BLOCK)
    if len(block) < tar.BLOCK:
        raise ValueError("the file ends where a header or the end of the tar should be: it was cut off")
    return block


def _flag(block: bytes) -> bytes:
    return block[156:157]


def _check_sum(block: bytes) -> None:
    if sum(block) - sum(block[148:156]) + 8 * 0x20 != _number(block, 148, 156):
        raise ValueError("a damaged header: its checksum is wrong")


def _number(block: bytes, start: int, end: int) -> int:
    match = _NUMBER.fullmatch(block[start:end])
    if not match:
        raise ValueError(f"a damaged header: {block[start:end]!r} is not a number")
    return int(match[1], 8)


def _records(body: bytes) -> dict[str, bytes]:
    records: dict[str, bytes] = {}
    while body:
        match = _RECORD.match(body)
        if not match or int(match[1]) != match.end():
            raise ValueError(f"an extended header that bundles do not have: {body[:60]!r}")
        records[match[2].decode()] = match[3]
        body = body[match.end() :]
    if not re.fullmatch(rb"\d{1,18}", records.get("size", b"0")):
        raise ValueError(f"a damaged header: {records['size']!r:.40} is not a size")
    return records

"""Read tar streams of unknown origin: every dialect that images use, bounded memory, paths that stay inside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bundler.oci.layer_format import Readable
from bundler.oci.tar import BLOCK, EntryKind, TarEntry

_CHUNK: Final = 1 << 18
# An extended header holds a path or two and extended attributes.
_MOST_METADATA: Final = 1 << 20
_REGULAR: Final = frozenset({b"0", b"\0", b"7", b"S"})
_BINARY: Final = 0x80
_NEGATIVE: Final = 0x40
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK, _SPARSE = b"x", b"g", b"L", b"K", b"S"


class EntryContent:
    """The content of one member; the unread rest is skipped when the next member is read."""

    def __init__(self, source: _Source, size: int) -> None:
        self._source = source
        self._left = size
        self._padding = -size % BLOCK

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end; raise ``ValueError`` where the tar ends before."""
        chunk = self._source.some(min(size, self._left))
        self._left -= len(chunk)
        return chunk

    def skip(self) -> None:
        """Skip the rest and the padding."""
        self._source.skip(self._left + self._padding)
        self._left = self._padding = 0


def members(stream: Readable | Iterator[bytes]) -> Iterator[tuple[TarEntry, EntryContent]]:
    """Yield the members of a tar with their contents, in order.

    Paths are relative to the root, in their simplest form; the root itself is ``""``.

    Raises:
        ValueError: a header is damaged, a path contains ``..``, an extended header is too large, or the tar ends
            within a member.
    """
    source = _Source(_pieces(stream) if isinstance(stream, Readable) else stream)
    overrides: dict[str, str] = {}
    while (block := source.block()) is not None:
        flag = block[156:157]
        size = _number(block[124:136])
        if flag in {_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK}:
            data = source.metadata(size)
            if flag == _PAX:
                overrides.update(_records(data))
            elif flag != _PAX_GLOBAL:  # global headers do not matter for layers
                overrides["path" if flag == _LONG_NAME else "linkpath"] = _text(data.split(b"\0", 1)[0])
            continue
        if flag == _SPARSE:
            source.skip_sparse_map(block)
        member = _member(block, flag, size, overrides)
        overrides = {}
        content = EntryContent(source, member.size)
        yield member, content
        content.skip()


def _pieces(stream: Readable) -> Iterator[bytes]:
    return iter(lambda: stream.read(_CHUNK), b"")


class _Source:
    """Chunks of any length, read in the amounts that are needed."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")

    def _refill(self) -> bool:
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._piece = memoryview(piece)
        return True

    def some(self, most: int) -> bytes:
        if not most:
            return b""
        if not self._refill():
            raise ValueError("the tar ends within a member")
        chunk, self._piece = bytes(self._piece[:most]), self._piece[most:]
        return chunk

    def exactly(self, size: int) -> bytes:
        chunks = []
        while size:
            chunks.append(self.some(size))
            size -= len(chunks[-1])
        return b"".join(chunks)

    def skip(self, size: int) -> None:
        while size:
            if not self._refill():
                raise ValueError("the tar ends within a member")
            passed = min(size, len(self._piece))
            self._piece = self._piece[passed:]
            size -= passed

    def block(self) -> bytes | None:
        """Return the next header, or None at the end: two blocks of zeros, or the end of the stream."""
        if not self._refill():
            return None
        block = self.exactly(BLOCK)
        if not any(block):
            return None
        checksum = sum(block) - sum(block[148:156]) + 8 * 0x20
        if checksum != _number(block[148:156]):
            raise ValueError("the tar has a damaged header")
        return block

    def metadata(self, size: int) -> bytes:
        if size > _MOST_METADATA:
            raise ValueError(f"the tar has an extended header of {size} bytes")
        data = self.exactly(size)
        self.skip(-size % BLOCK)
        return data

    def skip_sparse_map(self, block: bytes) -> None:
        # The old GNU dialect puts further maps after the header, each saying whether another one follows.
        more = block[482]
        while more:
            more = self.exactly(BLOCK)[504]


def _member(block: bytes, flag: bytes, size: int, overrides: dict[str, str]) -> TarEntry:
    name = _text(block[:100].split(b"\0", 1)[0])
    if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500].split(b"\0", 1)[0])):
        name = f"{prefix}/{name}"
    path = overrides.get("path", name)
    if flag in _REGULAR:
        # Before POSIX, a directory was a file whose name ends with a slash.
        kind = EntryKind.DIRECTORY if flag == b"\0" and path.endswith("/") else EntryKind.FILE
    else:
        try:
            kind = EntryKind(flag)
        except ValueError:
            raise ValueError(f"the tar has a member of unknown type {flag!r}: {path!r:.200}") from None
    target = overrides.get("linkpath", _text(block[157:257].split(b"\0", 1)[0]))
    return TarEntry(
        path=_inside(path),
        kind=kind,
        mode=_number(block[100:108]) & 0o7777,
        uid=_decimal(overrides, "uid", _number(block[108:116])),
        gid=_decimal(overrides, "gid", _number(block[116:124])),
        size=_decimal(overrides, "size", size) if kind is EntryKind.FILE else 0,
        mtime=_number(block[136:148]),
        target=_inside(target) if kind is EntryKind.HARD_LINK else target,
    )


def _inside(path: str) -> str:
    if ".." not in path and "//" not in path and "/./" not in path:
        return path.removeprefix("./").strip("/") if path != "." else ""
    segments = [segment for segment in path.split("/") if segment not in {"", "."}]
    if ".." in segments:
        raise ValueError(f"the tar has a path that leaves its root: {path!r:.200}")
    return "/".join(segments)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _number(field: bytes) -> int:
    """Read an octal number, or the binary form in which GNU tar writes numbers that are too large for octal digits."""
    if field[0] & _BINARY:
        # Negative numbers, with all bits set, occur only as times, which are not used here.
        return 0 if field[0] & _NEGATIVE else int.from_bytes(bytes([field[0] ^ _BINARY]) + field[1:], "big")
    digits = field.strip(b" \0") or b"0"
    # int() would also read signs and underscores.
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise ValueError(f"the tar has a damaged number: {field!r}")
    return int(digits, 8)


def _decimal(overrides: dict[str, str], key: str, otherwise: int) -> int:
    text = overrides.get(key)
    if text is None:
        return otherwise
    if not text.isascii() or not text.isdigit() or len(text) > 19:  # noqa: PLR2004  (digits of 2**63)
        raise ValueError(f"the tar has a damaged number: {key}={text!r:.40}")
    return int(text)


def _records(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield the records of a pax header: lines of ``LENGTH KEY=VALUE``, where the length counts all of the line."""
    while data:
        digits, _, _ = data.partition(b" ")
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0  # noqa: PLR2004  (above a mebibyte)
        record = data[len(digits) + 1 : length]
        if length <= len(digits) + 1 or length > len(data) or not record.endswith(b"\n") or b"=" not in record:
            raise ValueError("the tar has a damaged extended header")
        key, _, value = record[:-1].partition(b"=")
        yield _text(key), _text(value)
        data = data[length:]

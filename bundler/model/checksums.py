"""Digests of files as ``sha256sum`` writes and reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from bundler.model.digest import Digest

_LINE: Final = re.compile(r"([0-9a-f]{64})  ([^\n]+)")


def line(path: str, digest: Digest) -> str:
    """Return the line of a file, without its end."""
    return f"{digest.hex}  {path}"


def text(sums: Mapping[str, Digest]) -> bytes:
    """Write path -> digest, in its order."""
    return "".join(f"{line(path, digest)}\n" for path, digest in sums.items()).encode()


def parse(content: bytes, *, folders: bool = True) -> dict[str, Digest]:
    """Read path -> digest; without ``folders`` each path is the name of a file beside this one.

    Raises:
        ValueError: a line is malformed, repeats a path, or does not end. The sentence begins with the line's number.
    """
    sums: dict[str, Digest] = {}
    lines = content.decode("ascii", "backslashreplace").split("\n")
    for number, row in enumerate(lines[:-1], start=1):
        match = _LINE.fullmatch(row)
        if not match or not row.isascii() or not (folders or "/" not in match[2]):
            raise ValueError(f"line {number}: not as sha256sum writes it: {row[:120]!r}")
        if match[2] in sums:
            raise ValueError(f"line {number}: the path {match[2][:120]!r} is listed twice")
        sums[match[2]] = Digest(match[1])
    if lines[-1]:
        raise ValueError(f"line {len(lines)}: it does not end")
    return sums

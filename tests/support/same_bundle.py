"""Compare two bundles byte for byte, and name what differs: a difference of tars is too long to read."""

from __future__ import annotations

import difflib
import tarfile
from pathlib import Path

_LONGEST = 1 << 20  # bytes of a text whose lines are shown


def assert_same(one: Path, other: Path) -> None:
    """Fail, naming every file that differs and the first lines, unless both tars have the same bytes."""
    first, second = _members(one), _members(other)
    differing = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    lines = [line for name in differing for line in _difference(first.get(name, b""), second.get(name, b""))]
    assert not differing, "\n".join((*differing, *lines[:60]))
    assert one.read_bytes() == other.read_bytes()


def _members(bundle: Path) -> dict[str, bytes]:
    with tarfile.open(bundle) as archive:
        files = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        return {name: file.read() for name, file in files.items() if file}


def _difference(one: bytes, other: bytes) -> list[str]:
    if max(len(one), len(other)) > _LONGEST:
        return []
    before, after = (content.decode(errors="replace").splitlines() for content in (one, other))
    return list(difflib.unified_diff(before, after, lineterm="", n=0))

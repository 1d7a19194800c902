"""The order of Debian's versions (Debian policy, section 5.6.12; deb-version(7))."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import Final

_PARTS: Final = re.compile(r"([^0-9]*)([0-9]*)")


def compare(first: str, second: str) -> int:
    """Return a number below, of or above zero where the first version is older, the same or newer."""
    left, right = _split(first), _split(second)
    if left[0] != right[0]:
        return left[0] - right[0]
    return _part(left[1], right[1]) or _part(left[2], right[2])


def _split(version: str) -> tuple[int, str, str]:
    """Return epoch, upstream version and revision."""
    epoch, colon, rest = version.strip().partition(":")
    if not colon or not epoch.isdecimal():
        epoch, rest = "0", version.strip()
    upstream, dash, revision = rest.rpartition("-")
    return int(epoch), upstream if dash else rest, revision if dash else ""


def _part(first: str, second: str) -> int:
    pairs = zip_longest(_PARTS.findall(first), _PARTS.findall(second), fillvalue=("", ""))
    for (text, number), (other_text, other_number) in pairs:
        if order := _text(text, other_text):
            return order
        if difference := int(number or 0) - int(other_number or 0):
            return difference
    return 0


def _text(first: str, second: str) -> int:
    """Compare parts without digits: ~ is before the end, the end before letters, letters before anything else."""
    for index in range(max(len(first), len(second))):
        left, right = (_rank(text[index : index + 1]) for text in (first, second))
        if left != right:
            return left - right
    return 0


def _rank(character: str) -> int:
    if character == "~":
        return -1
    if not character:
        return 0
    return ord(character) if character.isalpha() else ord(character) + 256

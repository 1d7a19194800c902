"""Cron schedules as Kubernetes reads them: a wrong one must be found before it is in a bundle at a site."""

from __future__ import annotations

import re
from typing import Final

_DESCRIPTORS: Final = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Field -> its least and greatest number, and the names of its numbers from the least on. Sunday is 0 only, not 7.
_FIELDS: Final[tuple[tuple[str, int, int, tuple[str, ...]], ...]] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_ITEM: Final = re.compile(r"(?:[*?]|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>[0-9]+))?", re.ASCII)


def checked(text: str) -> str:
    """Return the schedule unchanged; raise ``ValueError`` naming the field that a CronJob cannot have."""
    if text.startswith("@"):
        if text not in _DESCRIPTORS:
            msg = f"{text!r} is not one of {', '.join(_DESCRIPTORS)}"
            raise ValueError(msg)
        return text
    for value, (name, least, greatest, names) in zip(text.split(" "), _FIELDS, strict=True):
        for item in value.split(","):
            if not _fits(item.lower(), least, greatest, names):
                also = f" or {names[0]}-{names[-1]}" if names else ""
                msg = f"{text!r}: the {name} {item!r} is not a number, range or step of {least}-{greatest}{also}"
                raise ValueError(msg)
    return text


def _fits(item: str, least: int, greatest: int, names: tuple[str, ...]) -> bool:
    match = _ITEM.fullmatch(item)
    if match is None or (match["step"] and not match["step"].strip("0")):
        return False
    if match["first"] is None:
        return True
    first, last = (_number(match[end] or match["first"], least, names) for end in ("first", "last"))
    return least <= first <= last <= greatest


def _number(text: str, least: int, names: tuple[str, ...]) -> int:
    if text in names:
        return least + names.index(text)
    return int(text) if text.isdigit() and len(text) < 3 else -1  # noqa: PLR2004  (two digits are the most there are)

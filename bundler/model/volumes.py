"""Volumes: the names and sizes of the files that a bundle's tar is cut into for media that are too small for it."""

from __future__ import annotations

import re
from typing import Final

from bundler.errors import UsageError
from bundler.model import limits

MOST: Final = limits.VOLUMES

FAT32_LIMIT: Final = (1 << 32) - 1
"""Bytes of the longest file on FAT32, as most USB sticks come."""

_NAME: Final = re.compile(r"(?P<whole>.+\.tar)\.(?P<number>[0-9]{3})", re.DOTALL)
_SIZE: Final = re.compile(r"(?P<amount>[0-9]{1,12}(\.[0-9]{1,3})?) ?(?P<unit>[A-Za-z]{0,3})")
# Without an i a unit is decimal, as media are sold: 4GB fits a file system of FAT32, 4GiB is one byte more than fits.
_UNITS: Final = {"": 1, "b": 1} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("kmgt", start=1)
    for suffix, base in (("", 1000), ("b", 1000), ("ib", 1024))
}


def name(whole: str, number: int) -> str:
    """Return the name of a volume, counted from 1, of the tar of that name."""
    return f"{whole}.{number:03}"


def checksums(whole: str) -> str:
    """Return the name of the file beside the volumes that says their digests, as ``sha256sum`` writes it."""
    return f"{whole}.SHA256SUMS"


def parse_name(text: str) -> tuple[str, int] | None:
    """Return the tar's name and the volume's number, or None where the name is not that of a volume."""
    match = _NAME.fullmatch(text)
    return (match["whole"], int(match["number"])) if match else None


def whole(text: str) -> str | None:
    """Return the tar's name where the name is that of a volume or of the file of their digests, else None."""
    named = parse_name(text)
    beside = text.removesuffix(checksums(""))
    return named[0] if named else (beside if beside != text else None)


def parse_size(text: str) -> int:
    """Read the size of a volume, e.g. ``4GB`` (decimal), ``4.7GB``, ``650MiB`` or a number of bytes.

    Raises:
        UsageError: the text is not a size, or the size is zero or too large for a file.
    """
    match = _SIZE.fullmatch(text.strip())
    factor = _UNITS.get(match["unit"].lower()) if match else None
    size = int(float(match["amount"]) * factor) if match and factor else 0
    if size < 1:
        raise UsageError(
            f"{text!r} is not the size of a bundle volume.",
            remedy="Write e.g. 4GB (FAT32, DVD), 650MB (CD), 2GiB, or a number of bytes.",
        )
    return size


def count(total: int, size: int) -> int:
    """Return how many volumes of ``size`` bytes hold ``total`` bytes; raise ``UsageError`` where they are too many."""
    wanted = -(-total // size)
    if wanted > MOST:
        raise UsageError(
            f"{total} bytes in volumes of {size} bytes would be {wanted} files; {MOST} is the most.",
            remedy=f"Make them larger: --volume-size {-(-total // MOST)} or more.",
        )
    return wanted

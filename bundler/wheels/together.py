"""Wheels beside each other: which cannot be installed, and which have the same file with other bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import BinaryIO

from bundler.errors import VerificationError
from bundler.wheels.archive import WheelArchive


@dataclass(frozen=True)
class Overlap:
    """Two wheels that hold the same paths with other bytes; the second's are those in an image."""

    first: str
    second: str
    paths: tuple[str, ...]

    def __str__(self) -> str:
        more = f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else ""
        return (
            f"{self.first} and {self.second} both have {self.paths[0]}{more}, with other bytes: the image gets those "
            "of one of them. If they are two builds of the same code, leave one out of the requirements."
        )


def check(filenames: Sequence[str], opened: Callable[[str], BinaryIO]) -> tuple[Overlap, ...]:
    """Open each wheel, and return which overlap.

    Raises:
        VerificationError: some cannot be installed; each is a line of its details.
    """
    contents: dict[str, Mapping[str, str]] = {}
    faults: list[VerificationError] = []
    for filename in filenames:
        with opened(filename) as stream:
            try:
                contents[filename] = _hashes(WheelArchive(stream, filename))
            except VerificationError as error:
                faults.append(error)
    if faults:
        raise _all(faults)
    return tuple(_overlaps(contents))


def _hashes(archive: WheelArchive) -> Mapping[str, str]:
    """Return what lands in site-packages, by path; scripts and data are small, and meant to be shared."""
    hashes = {}
    for entry, recorded in archive.recorded.items():
        path = entry
        for scheme in ("purelib", "platlib"):
            path = path.removeprefix(f"{archive.data}/{scheme}/")
        if not path.startswith(f"{archive.data}/"):
            hashes[path] = str(recorded)
    return hashes


def _overlaps(contents: Mapping[str, Mapping[str, str]]) -> Iterator[Overlap]:
    holders: dict[str, list[str]] = {}
    for filename, hashes in contents.items():
        for path in hashes:
            holders.setdefault(path, []).append(filename)
    shared: dict[tuple[str, str], list[str]] = {}
    for path, filenames in holders.items():
        for first, second in combinations(filenames, 2):
            if contents[first][path] != contents[second][path]:
                shared.setdefault((first, second), []).append(path)
    yield from (Overlap(first, second, tuple(sorted(paths))) for (first, second), paths in shared.items())


def _all(faults: Sequence[VerificationError]) -> VerificationError:
    if len(faults) == 1:
        return faults[0]
    return VerificationError(
        f"{len(faults)} wheels cannot be installed.",
        remedy="Do this for each, then lock again.",
        details=tuple(f"{fault.problem} {fault.remedy}" for fault in faults),
    )

"""The files that a bundle lies in, one or several volumes, as one run of bytes that is read in place."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from bundler.errors import UsageError, VerificationError
from bundler.model import checksums, layout, limits, volumes
from bundler.model.digest import Digest

_SUMS_LIMIT: Final = limits.VOLUME_SUMS_SIZE
_APPLE_DOUBLE: Final = "._"
"""The prefix of files in which macOS keeps attributes on foreign file systems; they are not part of a bundle."""
_REMEDY: Final = "Give the path of the bundle's file, NAME.bundle.tar."
_TOGETHER: Final = "Put all volumes, or links to them, into one folder."


@dataclass(frozen=True)
class Extent:
    """A run of bytes of one open file: ``size`` bytes from ``offset`` of the file that ``descriptor`` is open on."""

    descriptor: int
    offset: int
    size: int


@dataclass(frozen=True)
class BundleVolume:
    """An open file of a bundle; its first byte is byte ``begin`` of the bundle."""

    path: Path
    descriptor: int
    begin: int
    size: int

    @property
    def end(self) -> int:
        """The byte of the bundle that comes after it."""
        return self.begin + self.size


class BundleVolumes:
    """The open files of one bundle, in order; threads may share them. ``path`` is the name of the whole bundle."""

    def __init__(self, path: Path, streams: Sequence[tuple[Path, BinaryIO]]) -> None:
        self.path = path
        self._streams = tuple(stream for _, stream in streams)
        opened: list[BundleVolume] = []
        for place, stream in streams:
            size = os.fstat(stream.fileno()).st_size
            opened.append(BundleVolume(place, stream.fileno(), opened[-1].end if opened else 0, size))
        self.files = tuple(opened)
        self.size = opened[-1].end

    @classmethod
    def open(cls, path: Path) -> BundleVolumes:
        """Open a bundle by its file, by any of its volumes, by its name without their numbers, or by its folder.

        Raises:
            UsageError: there is no bundle, or a folder has several.
            VerificationError: a volume is missing or too short.
        """
        whole, places = _find(path)
        with ExitStack() as stack:
            streams = [(place, stack.enter_context(_opened(place))) for place in places]
            opened = cls(whole, streams)
            if len(places) > 1:
                _check_sizes(opened)
            stack.pop_all()
        return opened

    def close(self) -> None:
        """Close the files."""
        for stream in self._streams:
            stream.close()

    def extents(self, offset: int, size: int) -> tuple[Extent, ...]:
        """Return where a run of bytes lies; at least one extent, also where it is empty or behind the end."""
        runs = [
            Extent(
                file.descriptor,
                max(offset, file.begin) - file.begin,
                min(offset + size, file.end) - max(offset, file.begin),
            )
            for file in self.files
            if file.begin < offset + size and offset < file.end
        ]
        last = self.files[-1]
        return tuple(runs) or (Extent(last.descriptor, max(0, offset - last.begin), 0),)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return at most ``size`` bytes; fewer only at the end."""
        return b"".join(os.pread(run.descriptor, run.size, run.offset) for run in self.extents(offset, size))

    def place(self, offset: int, size: int = 0) -> str:
        """Return where a run of bytes is, for messages, e.g. ``at byte 17 of x.tar.002 to x.tar.003``."""
        touched = [file for file in self.files if file.begin < offset + max(1, size) and offset < file.end]
        first = touched[0] if touched else self.files[-1]
        if len(self.files) == 1:
            return f"at byte {offset}"
        until = f" to {touched[-1].path.name}" if len(touched) > 1 else ""
        return f"at byte {offset - first.begin} of {first.path.name}{until}"

    @property
    def advice(self) -> str:
        """What to do about a fault, besides copying the bundle again; empty for a bundle in one file."""
        last = self.files[-1].path.name
        return f" Is {last} the last volume? {_compare(self.path)}" if volumes.parse_name(last) else ""

    def listed(self) -> Mapping[str, Digest]:
        """Return the digest of each volume by its name, as the file of checksums beside them says; empty without."""
        return _checksums(self.path.parent / volumes.checksums(self.path.name)) or {}


def _opened(path: Path) -> BinaryIO:
    try:
        # Without O_NONBLOCK, opening a pipe would wait for a writer.
        stream = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0)
    except OSError as error:
        raise UsageError(f"Cannot read the bundle {path}: {os.strerror(error.errno or 0)}.", remedy=_REMEDY) from error
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise UsageError(f"Cannot read the bundle {path}: it is not a file.", remedy=_REMEDY)
    return stream


def _find(path: Path) -> tuple[Path, tuple[Path, ...]]:
    """Return the name of a bundle, and its files in order."""
    if path.is_dir():
        return _find(_only(path))
    if path.name.startswith(_APPLE_DOUBLE):
        raise UsageError(
            f"{path} has attributes that macOS wrote, not a bundle.",
            remedy=f"Name {path.with_name(path.name.removeprefix(_APPLE_DOUBLE))}.",
        )
    if named := volumes.parse_name(path.name):
        whole = path.with_name(named[0])
        return whole, _complete(whole)
    if not path.exists() and path.with_name(volumes.name(path.name, 1)).exists():
        return path, _complete(path)
    return path, (path,)


def _only(folder: Path) -> Path:
    """Return the one bundle of a folder, or raise ``UsageError``."""
    names: set[str] = set()
    for entry in _entries(folder):
        named = volumes.parse_name(entry)
        if named or entry.endswith(layout.SUFFIX):
            names.add(volumes.name(named[0], 1) if named else entry)
    if len(names) != 1:
        problem = (
            f"has several bundles: {', '.join(sorted(names))}"
            if names
            else f"has no file *{layout.SUFFIX} and no volumes"
        )
        raise UsageError(f"Cannot read the bundle {folder}: the folder {problem}.", remedy=_REMEDY)
    return folder / names.pop()


def _entries(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir() if not entry.name.startswith(_APPLE_DOUBLE)]
    except OSError as error:
        raise UsageError(
            f"Cannot read the folder {folder}: {os.strerror(error.errno or 0)}.",
            remedy="Give it the right to be read, or name the file of the bundle.",
        ) from error


def _complete(whole: Path) -> tuple[Path, ...]:
    """Return the volumes of a tar; raise ``VerificationError`` naming those that are missing or do not belong to it."""
    entries = _entries(whole.parent)
    numbers = {named[1] for entry in entries if (named := _of(whole, entry))}
    sums = whole.parent / volumes.checksums(whole.name)
    names = _checksums(sums)
    listed = {named[1] for entry in names or () if (named := _of(whole, entry))}
    last = max([*numbers, *listed], default=0)
    if last > volumes.MOST:
        raise VerificationError(
            f"The bundle {whole} has a volume {last}; {volumes.MOST} is the most.", remedy=_TOGETHER
        )
    missing = [volumes.name(whole.name, number) for number in range(1, last + 1) if number not in numbers]
    if missing or not last:
        raise VerificationError(f"The bundle {whole} lacks {', '.join(missing) or 'its volumes'}.", remedy=_TOGETHER)
    foreign = [volumes.name(whole.name, number) for number in sorted(numbers - listed)] if listed else []
    foreign += [entry for entry in entries if _is_taken(whole, entry) and not _of(whole, entry)]
    if foreign:
        raise VerificationError(
            f"Beside the volumes of {whole} lie files that have their names and are not volumes of this bundle.",
            remedy="Move them to another folder, or get the bundle again.",
            details=tuple(sorted(foreign)),
        )
    if names is not None and (len(listed) != len(names) or not names):
        others = tuple(sorted(repr(name)[:120] for name in names if not _of(whole, name)))
        raise VerificationError(
            f"{sums} lists something else than the volumes beside it.", remedy="Copy it again.", details=others
        )
    return tuple(whole.with_name(volumes.name(whole.name, number)) for number in range(1, last + 1))


def _is_taken(whole: Path, entry: str) -> bool:
    """Tell whether ``cat NAME.???`` takes a file and joins it with the volumes."""
    return entry.startswith(f"{whole.name}.") and len(entry) == len(volumes.name(whole.name, 1))


def _of(whole: Path, entry: str) -> tuple[str, int] | None:
    named = volumes.parse_name(entry)
    return named if named and named[0] == whole.name and named[1] else None


def _check_sizes(opened: BundleVolumes) -> None:
    """Check that all volumes but the last are as long as the longest."""
    longest = max(file.size for file in opened.files)
    short = [file for file in opened.files[:-1] if file.size < longest]
    if short or not opened.files[-1].size:
        details = tuple(f"{file.path.name}: {file.size} bytes, others have {longest}" for file in short)
        names = ", ".join(file.path.name for file in short) or f"{opened.files[-1].path.name}, which is empty"
        remedy = f"Copy it again. {_compare(opened.path)}"
        raise VerificationError(f"Volumes of the bundle were cut off: {names}.", remedy=remedy, details=details)


def _compare(whole: Path) -> str:
    return f"Does each volume have its own name? Compare them: sha256sum -c {volumes.checksums(whole.name)}"


def _checksums(path: Path) -> Mapping[str, Digest] | None:
    """Return what a file of checksums says, None where there is none."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise VerificationError(f"{path} is not a file.", remedy="Copy it again.")
            content = stream.read(_SUMS_LIMIT + 1)
        if len(content) > _SUMS_LIMIT:
            raise VerificationError(f"{path} has more than {_SUMS_LIMIT} bytes.", remedy="Copy it again.")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(
            f"Cannot read {path}: {os.strerror(error.errno or 0)}.",
            remedy="Give it the right to be read, or copy it again.",
        ) from error
    try:
        return checksums.parse(content, folders=False)
    except ValueError as error:
        raise VerificationError(f"{path}, {error}.", remedy="Copy it again.") from error

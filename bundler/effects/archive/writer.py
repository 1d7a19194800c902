"""Write a bundle: headers made here, contents copied by the kernel, renamed to its final name when all is checked.

In one file, or cut at any byte into volumes: their concatenation is the same tar, byte for byte.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from bundler.effects import files
from bundler.effects.archive import digests as archive_digests
from bundler.effects.archive import follower as archive_follower
from bundler.effects.archive import header as archive_header
from bundler.effects.archive.digests import Hashed
from bundler.effects.archive.follower import Follower
from bundler.effects.archive.reader import Bundle
from bundler.effects.archive.volumes import BundleVolumes
from bundler.errors import ToolFailedError, VerificationError
from bundler.model import checksums, layout, volumes
from bundler.model.progress import Progress, Task
from bundler.model.size import size as readable
from bundler.oci import tar

_STEP: Final = 8 << 20  # bytes between two reports of progress
_CHUNK: Final = 1 << 20
_TOO_LONG: Final = frozenset({errno.EFBIG, errno.ENOSPC, errno.EINVAL, errno.EOVERFLOW})
"""Errors of file systems that cannot hold a file of such a length (drivers outside of the kernel differ)."""


@dataclass(frozen=True)
class NewFile:
    """A file to put into a bundle: small ones as bytes, blobs as the file to copy; ``size`` in bytes."""

    path: str
    size: int
    content: bytes | Path

    @classmethod
    def of(cls, path: str, content: bytes) -> NewFile:
        """Make a file of bytes in memory."""
        return cls(path, len(content), content)


def size(members: Iterable[NewFile]) -> int:
    """Return the number of bytes of a bundle of these files."""
    return len(tar.END) + sum(
        len(archive_header.encode(member.path, member.size, 0)) + member.size + len(tar.padding(member.size))
        for member in members
    )


@dataclass(frozen=True)
class Written:
    """A written bundle: its files in order (one, or the volumes), and their bytes in all."""

    paths: tuple[Path, ...]
    size: int


def write(
    path: Path,
    members: Iterable[NewFile],
    *,
    created: int,
    check: Callable[[Bundle, Mapping[str, Hashed]], None] | None,
    progress: Progress,
    volume_size: int | None = None,
) -> Written:
    """Write a bundle under a temporary name, let ``check`` read it, and rename it when that succeeds.

    The written file is checked, not the plan; ``check`` also gets the digest of each of its files,
    which are read back while the next ones are written. Without ``check`` nothing is read back.
    ``created`` is the time of every file, in seconds. With ``volume_size`` (bytes) it goes into volumes, ``path`` and a
    number each, the first of which gets its name last; a file of their digests lies beside them. Leftovers of killed
    runs beside ``path`` are removed, and so is an earlier bundle of that name in the other form.

    Raises:
        UsageError: volumes of that size would be too many.
        ToolFailedError: no space, no permission, ...; nothing is left behind.
        VerificationError: a blob of the cache is gone or has another size; whatever ``check`` raises.
    """
    ordered = sorted(members, key=lambda member: layout.order(member.path))
    for member in ordered:
        layout.check_path(member.path)
    total = size(ordered)
    paths = _paths(path, total, volume_size)
    with files.explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        _check_space(path.parent, total)
    with ExitStack() as stack:
        named = stack.enter_context(_removed_on_failure())
        # The stack unwinds in reverse: the first volume, without which the others are not a bundle, gets its name last.
        streams = [stack.enter_context(files.replacing(volume)) for volume in paths[:1]]
        sums = stack.enter_context(files.replacing(_sums(path))) if volume_size else None
        streams += [stack.enter_context(files.replacing(volume)) for volume in paths[1:]]
        for stream in streams:
            _lock(stream)
        bundle = _sized(path, tuple(zip(paths, streams, strict=True)), total, volume_size or total)
        with archive_follower.following(bundle, reads_back=check is not None) as follower:
            with progress.task(f"Pack {path.name}", total=total, unit="bytes") as task:
                _write(_Output(bundle.volumes, follower), ordered, created, task)
                hashed = follower.hashed()
            if check:
                check(bundle, hashed)
            follower.settle()
        if sums:
            rows = zip(archive_digests.of_volumes(bundle), paths, strict=True)
            sums.write(checksums.text({volume.name: digest for digest, volume in rows}))
        _forget_earlier(path, paths)
        named += [*paths[1:], *([_sums(path)] if sums else [])]
    return Written(paths, total)


def _sized(path: Path, streams: Sequence[tuple[Path, BinaryIO]], total: int, volume_size: int) -> Bundle:
    """Give empty files the size that they will have, so that what is written can be read before its end is there."""
    for (place, stream), begin in zip(streams, range(0, total, volume_size), strict=True):
        wanted = min(volume_size, total - begin)
        try:
            os.truncate(stream.fileno(), wanted)
        except OSError as error:
            if wanted <= volumes.FAT32_LIMIT or error.errno not in _TOO_LONG:
                raise
            raise ToolFailedError(
                f"Cannot write {place}: the file system there cannot hold a file of {wanted} bytes.",
                remedy="FAT32 takes at most 4 GB in a file: cut the bundle into volumes with --volume-size 4GB.",
            ) from error
    return Bundle(BundleVolumes(path, streams))


@contextmanager
def _removed_on_failure() -> Iterator[list[Path]]:
    """Remove the files that the block puts into the list where it fails: volumes without the first are useless."""
    named: list[Path] = []
    try:
        yield named
    except BaseException:
        for path in named:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise


def _paths(path: Path, total: int, volume_size: int | None) -> tuple[Path, ...]:
    if volume_size is None:
        return (path,)
    return tuple(
        path.with_name(volumes.name(path.name, number)) for number in range(1, volumes.count(total, volume_size) + 1)
    )


def _sums(path: Path) -> Path:
    return path.with_name(volumes.checksums(path.name))


def _forget_earlier(path: Path, paths: Sequence[Path]) -> None:
    """Remove files of an earlier build that this one does not replace atomically, so that the two never mix."""
    with files.explained(path):
        for leftover in list(path.parent.iterdir()):
            named = volumes.parse_name(leftover.name)
            ours = leftover in (path, _sums(path)) or (named is not None and named[0] == path.name)
            if ours and (leftover != paths[0] or len(paths) > 1):
                leftover.unlink(missing_ok=True)


class _Output:
    """Files written one after the other; positions are explicit, so that the kernel's copies and ours can alternate."""

    def __init__(self, place: BundleVolumes, follower: Follower) -> None:
        self._files = iter(place.files)
        self._file = next(self._files)
        self._position = 0
        self._follower = follower

    def append(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            descriptor, offset, room = self._next()
            written = os.pwrite(descriptor, view[:room], offset)
            self._advance(written)
            view = view[written:]

    def append_from(self, source: BinaryIO, offset: int, count: int) -> int:
        """Copy up to ``count`` bytes, inside the kernel where it can (some file systems then share the blocks)."""
        descriptor, position, room = self._next()
        with suppress(OSError, AttributeError):  # not on this system, or not between these file systems
            copied = os.copy_file_range(source.fileno(), descriptor, min(count, room), offset, position)
            if copied:
                self._advance(copied)
                return copied
        chunk = os.pread(source.fileno(), min(count, _CHUNK), offset)
        self.append(chunk)
        return len(chunk)

    def complete(self, path: str) -> None:
        """Report that a file is complete: it can be read back."""
        self._follower.completed(path)

    def _advance(self, count: int) -> None:
        self._position += count
        self._follower.reached(self._position)

    def _next(self) -> tuple[int, int, int]:
        """Return the file that is written to, where in it, and for how many bytes it has room."""
        if self._position == self._file.end:
            self._file = next(self._files)
        return self._file.descriptor, self._position - self._file.begin, self._file.end - self._position


def _write(output: _Output, members: Sequence[NewFile], created: int, task: Task) -> None:
    for member in members:
        task.note(member.path)
        output.append(archive_header.encode(member.path, member.size, created))
        if isinstance(member.content, bytes):
            output.append(member.content)
            task.advance(member.size)
        else:
            _copy(member, member.content, output, task)
        output.append(tar.padding(member.size))
        output.complete(member.path)
    output.append(tar.END)


def _copy(member: NewFile, source: Path, output: _Output, task: Task) -> None:
    done = 0
    try:
        with source.open("rb") as content:
            while done < member.size:
                step = output.append_from(content, done, min(member.size - done, _STEP))
                if not step:
                    break
                done += step
                task.advance(step)
            size = os.fstat(content.fileno()).st_size
    except FileNotFoundError as error:
        raise VerificationError(
            f"The cached blob {source} was lost while the bundle was packed.", remedy="Run the same command again."
        ) from error
    if size != member.size or done != member.size:
        raise VerificationError(
            f"The cached blob {source} has {size} bytes, not {member.size}.",
            remedy="Delete it, then run the same command again.",
        )


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ToolFailedError(
            f"The bundle has {readable(needed)}, {folder} has room for {readable(free)}.",
            remedy="Free some space there, or choose another folder (--output-dir).",
        )


def _lock(stream: BinaryIO) -> None:
    # Held until the file is closed, also by SIGKILL: a free lock tells that the writer has ended.
    with suppress(OSError):  # a network file system without locks
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove_leftovers(path: Path) -> None:
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with suppress(OSError), leftover.open("rb") as stream:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()

"""Write a bundle: headers made here, contents copied by the kernel, one name that appears when all is checked."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from bundler.effects import archive_header, files
from bundler.effects.archive import Bundle
from bundler.errors import ToolFailedError, VerificationError
from bundler.model import layout
from bundler.model.progress import Progress, Task
from bundler.oci import tar

_STEP: Final = 8 << 20  # bytes between two reports of progress
_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class NewFile:
    """A file that a bundle shall have: small ones as bytes, blobs as the file to copy; ``size`` in bytes."""

    path: str
    size: int
    content: bytes | Path

    @classmethod
    def of(cls, path: str, content: bytes) -> NewFile:
        """Make a file of bytes in memory."""
        return cls(path, len(content), content)


def size(members: Iterable[NewFile]) -> int:
    """Return how many bytes a bundle of these files has."""
    return len(tar.END) + sum(
        len(archive_header.encode(member.path, member.size, 0)) + member.size + len(tar.padding(member.size))
        for member in members
    )


def write(
    path: Path, members: Iterable[NewFile], *, created: int, check: Callable[[Bundle], None], progress: Progress
) -> None:
    """Write a bundle under a temporary name, let ``check`` read it, and give it its name when that raises nothing.

    What is checked is the written file, not what was meant to be written. ``created`` is the time of every file, in
    seconds. What killed runs left beside ``path`` is removed.

    Raises:
        ToolFailedError: no space, no right, ...; nothing is left behind.
        VerificationError: a blob of the cache is gone or has another size; whatever ``check`` raises.
    """
    ordered = sorted(members, key=lambda member: layout.order(member.path))
    for member in ordered:
        layout.check_path(member.path)
    total = size(ordered)
    with files.explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        _check_space(path.parent, total)
    with files.replacing(path) as stream:
        _lock(stream)
        with progress.task(f"Pack {path.name}", total=total, unit="bytes") as task:
            _write(stream, ordered, created, task)
        with Bundle(os.fdopen(os.dup(stream.fileno()), "rb", buffering=0), path) as bundle:
            check(bundle)


class _Output:
    """A file written from its beginning; positions are explicit, so that the kernel's copies and ours can alternate."""

    def __init__(self, stream: BinaryIO) -> None:
        self._descriptor = stream.fileno()
        self._position = 0

    def append(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            written = os.pwrite(self._descriptor, view, self._position)
            self._position += written
            view = view[written:]

    def append_from(self, source: BinaryIO, offset: int, count: int) -> int:
        """Copy up to ``count`` bytes, inside the kernel where it can (some file systems then share the blocks)."""
        with suppress(OSError, AttributeError):  # not on this system, or not between these file systems
            copied = os.copy_file_range(source.fileno(), self._descriptor, count, offset, self._position)
            if copied:
                self._position += copied
                return copied
        chunk = os.pread(source.fileno(), min(count, _CHUNK), offset)
        self.append(chunk)
        return len(chunk)


def _write(stream: BinaryIO, members: Sequence[NewFile], created: int, task: Task) -> None:
    output = _Output(stream)
    for member in members:
        task.note(member.path)
        output.append(archive_header.encode(member.path, member.size, created))
        if isinstance(member.content, bytes):
            output.append(member.content)
            task.advance(member.size)
        else:
            _copy(member, member.content, output, task)
        output.append(tar.padding(member.size))
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
            found = os.fstat(content.fileno()).st_size
    except FileNotFoundError as error:
        raise VerificationError(f"The cache lost {source} while the bundle was packed.", remedy="Repeat.") from error
    if found != member.size or done != member.size:
        raise VerificationError(
            f"The cached blob {source} has {found} bytes, not {member.size}.", remedy="Delete it and repeat."
        )


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ToolFailedError(
            f"The bundle has {needed / 1e6:.1f} MB, {folder} has room for {free / 1e6:.1f} MB.",
            remedy="Free some space there, or choose another folder (--output-dir).",
        )


def _lock(stream: BinaryIO) -> None:
    # Held until the file is closed, also by SIGKILL: who finds it free knows that nobody is writing any more.
    with suppress(OSError):  # a network file system without locks
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove_leftovers(path: Path) -> None:
    for leftover in path.parent.glob(f".{path.name}.*.part"):
        with suppress(OSError), leftover.open("rb") as stream:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()

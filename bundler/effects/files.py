"""Write files so that a name is either absent or complete."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from bundler.errors import ToolFailedError

_REMEDIES = {
    errno.ENOSPC: "Free some space there, or choose another folder (--output-dir, --cache-dir).",
    errno.EDQUOT: "Free some space there, or choose another folder (--output-dir, --cache-dir).",
    errno.EROFS: "Choose a folder that can be written (--output-dir, --cache-dir).",
    errno.EACCES: "Choose a folder that this user may write (--output-dir, --cache-dir).",
    errno.ENOTDIR: "Choose a folder: a part of this path is a file.",
}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an operating system error about writing ``path`` into one for people."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ToolFailedError(f"Cannot write {path}: {reason}.", remedy=_REMEDIES.get(error.errno or 0, "")) from error


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` that takes its name when the block ends well, and vanishes otherwise.

    The file is flushed to disk before it is renamed, and the folder after, so a crash leaves the old or the new file.
    """
    import tempfile  # noqa: PLC0415  (it brings half a dozen modules, and a push or a look at a bundle writes nothing)

    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "w+b") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        except BaseException:
            with suppress(FileNotFoundError):
                temporary.unlink()
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write(path: Path, content: bytes) -> None:
    """Write a small file whole."""
    with replacing(path) as stream:
        stream.write(content)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

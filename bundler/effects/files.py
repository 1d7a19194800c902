"""Write files atomically (a name is absent or complete), and read texts with errors that say what is wrong."""

from __future__ import annotations

import codecs
import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from bundler.errors import BundlerError, SpecError, ToolFailedError, UsageError

_REMEDIES = {
    errno.ENOSPC: "Free some space there, or choose another folder (--output-dir, --cache-dir).",
    errno.EDQUOT: "Free some space there, or choose another folder (--output-dir, --cache-dir).",
    errno.EROFS: "Choose a folder that can be written (--output-dir, --cache-dir).",
    errno.EACCES: "Choose a folder that this user may write (--output-dir, --cache-dir).",
    errno.ENOENT: "Choose a folder that can be made.",
    errno.EISDIR: "Name a file: there is a folder of that name.",
    errno.ENOTDIR: "Choose a folder: a part of this path is a file.",
    errno.EEXIST: "Choose a folder: a part of this path is a file.",
    errno.ELOOP: "Choose another path: a link in this one leads back to itself.",
    errno.ENAMETOOLONG: "Choose a shorter path.",
    errno.EFBIG: "A file there may not be that long (FAT32 takes 4 GB, and `ulimit -f` limits it, too): choose another "
    "folder, or cut the bundle into volumes: --volume-size 4GB.",
}


TEXT_LIMIT: Final = 16 << 20
"""Most bytes of a text that is read; the longest operator manifest has a tenth of it."""


def read_bytes(path: Path) -> bytes:
    """Return the content of a file; never waits for a pipe.

    Raises:
        OSError: the file does not exist, it is not a file, this user may not read it, or it is too large.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a file")
        content = stream.read(TEXT_LIMIT + 1)
    if len(content) > TEXT_LIMIT:
        raise OSError(errno.EFBIG, f"it is larger than {TEXT_LIMIT >> 20} MiB")
    return content


def read_content(
    path: Path, what: str, *, error: type[BundlerError] = UsageError, missing: str = "", remedy: str = ""
) -> bytes:
    """Return the content of a file that a user names; see ``read_text``.

    Raises:
        BundlerError: of the class ``error``. The file does not exist, it is not a file, this user may not read it, or
            it is too large.
    """
    try:
        return read_bytes(path)
    except FileNotFoundError as absent:
        remedy = missing or remedy or "Correct the path."
        raise error(f"Cannot read {what} {path}: the file does not exist.", remedy=remedy) from absent
    except OSError as refused:
        reason = "it is a folder" if refused.errno == errno.EISDIR else refused.strerror
        remedy = remedy or "Name a text file that you may read."
        raise error(f"Cannot read {what} {path}: {reason}.", remedy=remedy) from refused


def first_line(source: Path | int, limit: int) -> bytes:
    """Return the first line of a file or of an open descriptor, without its end; at most one byte more than ``limit``.

    Raises:
        OSError: there is no such file or descriptor, or this user may not read it.
    """
    descriptor = os.dup(source) if isinstance(source, int) else os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        return stream.readline(limit + 1).rstrip(b"\r\n")


def read_text(
    path: Path,
    what: str,
    *,
    error: type[BundlerError] = SpecError,
    missing: str = "",
    remedy: str = "",
    utf16: bool = False,
) -> str:
    """Return the text of a file in UTF-8; ``what`` it is stands in the error, such as "the spec".

    ``missing`` is the remedy where nothing is there, ``remedy`` the one for everything else. With ``utf16`` a text in
    UTF-16 is read, too, where its byte order mark says so. Never waits for a pipe.

    Raises:
        BundlerError: of the class ``error``. The file does not exist, it is not a file, this user may not read it, it
            is too large, or it is not a text in UTF-8.
    """
    content = read_content(path, what, error=error, missing=missing, remedy=remedy)
    in_utf16 = utf16 and content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if in_utf16 else "utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = content.count(b"\n", 0, wrong.start) + 1
        seen = f"byte {wrong.start}, in line {line}, is 0x{content[wrong.start]:02x}"
        name = "UTF-16" if in_utf16 else "UTF-8"
        what = f"Cannot read {what} {path}"
        raise error(f"{what}: it is not a text in {name} ({seen}).", remedy=remedy or "Save it as UTF-8.") from wrong


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an operating system error about writing ``path`` into an error with a remedy."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ToolFailedError(f"Cannot write {path}: {reason}.", remedy=_REMEDIES.get(error.errno or 0, "")) from error


@contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` that takes its name when the block ends well, and vanishes otherwise.

    The file is flushed to disk before it is renamed, and the folder after, so a crash leaves the old or the new file.
    ``private`` lets only this user read it.

    Raises:
        ToolFailedError: it cannot be written, or the name is that of a device or a pipe, which would be replaced.
    """
    import tempfile  # noqa: PLC0415  (it brings half a dozen modules, and a push or a look at a bundle writes nothing)

    with explained(path):
        _require_file_or_nothing(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "w+b") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(0o600 if private else 0o666 & ~_umask())
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


def require_writable(path: Path) -> None:
    """Check that a file can be written, by making another one beside it; for paths that a user gives.

    Raises:
        ToolFailedError: it is a folder, a device or a pipe, its folder is missing and cannot be made, or nothing can be
            written there.
    """
    with explained(path):
        _require_file_or_nothing(path)
        _try(path.parent)


def _require_file_or_nothing(path: Path) -> None:
    """Refuse what a file cannot take the name of: a folder, and a device or a pipe, which root would destroy."""
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, "")
    if not stat.S_ISREG(kind):
        raise ToolFailedError(
            f"Cannot write {path}: there is a device or a pipe of that name, and the file would replace it.",
            remedy="Name a file.",
        )


def require_folder(folder: Path) -> None:
    """Make a folder where there is none, and check that files can be written there; raise ``ToolFailedError``."""
    with explained(folder):
        _try(folder)


def _try(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    trial = folder / f".bundler-{os.getpid()}.part"
    os.close(os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    trial.unlink()


def make_own_folder(folder: Path) -> bool:
    """Make a folder that only this user can write to; tell whether it is one, also where it was there before."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return True  # nothing there could be mistaken for our folder; writing to it reports what is wrong
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022


def yaml_files(folder: Path) -> tuple[Path, ...]:
    """Return the YAML files of a folder at any depth; none where it is not a folder."""
    return tuple(sorted(path for pattern in ("*.yaml", "*.yml") for path in folder.rglob(pattern) if path.is_file()))


def is_folder(path: Path) -> bool:
    """Tell whether a path names a folder."""
    return path.is_dir()


def is_file(path: Path) -> bool:
    """Tell whether a path names a file."""
    return path.is_file()


def is_there(path: Path) -> bool:
    """Tell whether a name is taken, by whatever it is."""
    return os.path.lexists(path)


@contextmanager
def temporary_folder(prefix: str, contents: Mapping[str, bytes]) -> Iterator[Path]:
    """Make a folder with files of these names and contents, which goes when the block ends."""
    import tempfile  # noqa: PLC0415  (it brings half a dozen modules, and a push or a look at a bundle writes nothing)

    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        folder = Path(name)
        for file, content in contents.items():
            (folder / file).write_bytes(content)
        yield folder


def write(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a small file whole; ``private``: that only this user can read."""
    with replacing(path, private=private) as stream:
        stream.write(content)


def make_private_folder(folder: Path) -> None:
    """Make a folder into which only this user can look, also where it was there before with other rights.

    A folder of another user stays as it is.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.stat()
    if status.st_uid == os.geteuid() and status.st_mode & 0o077:
        folder.chmod(0o700)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

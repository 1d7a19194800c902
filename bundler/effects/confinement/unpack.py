"""Unpack the layers of an image into the current folder, confined to it; the child of ``image_root.unpack``."""

from __future__ import annotations

import importlib
import os
import shutil
import stat
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, cast

from bundler.effects.confinement import child, inside, limits, view
from bundler.oci import layer_format

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_BETWEEN_LOOKS: Final = 64 << 20  # bytes written between two looks at the disk


def unpack() -> None:
    """Unpack the layers of the request; the entry of the child."""
    root, argument = child.request()
    rows = cast("list[list[str]]", argument)
    blobs = [(digest, Path(path).open("rb"), media_type) for digest, path, media_type in rows]  # noqa: SIM115
    with suppress(ImportError):  # after the change of root this interpreter finds no module any more
        importlib.import_module("compression.zstd")
    os.chdir(root)
    # From within its folder a layer's names and links can lead nowhere else, whatever they are.
    inside.launch(lambda: _unpack_all(blobs), show=view.show_writable)


def _unpack_all(blobs: Sequence[tuple[str, BinaryIO, str]]) -> None:
    budget = _Budget()
    for digest, blob, media_type in blobs:
        with blob, _named(digest):
            stream = _Pieces(budget.counted(layer_format.unpacked(blob, media_type)))
            with tarfile.open(fileobj=stream, mode="r|") as layer:  # type: ignore[call-overload]  # (it only reads)
                _apply(layer, budget)
    for path in view.FOLDERS:
        _make_folder(path)


class _Budget:
    """What unpacking may still take: bytes, files, seconds, and of the disk all but a rest."""

    def __init__(self) -> None:
        self._bytes, self._files = limits.UNPACKED, limits.UNPACKED_FILES
        self._end = time.monotonic() + limits.UNPACKING_SECONDS
        self._unlooked = 0

    def counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield pieces of a tar as long as there is a budget for them; what a layer holds is never more than it."""
        for piece in pieces:
            self._bytes -= len(piece)
            self._unlooked += len(piece)
            if self._bytes < 0:
                raise ValueError(f"it has more than {limits.UNPACKED >> 30} GiB unpacked, together with those below it")
            if self._unlooked > _BETWEEN_LOOKS:
                self._unlooked = 0
                self._look()
            yield piece

    def file(self) -> None:
        """Count a file."""
        self._files -= 1
        if self._files < 0:
            raise ValueError(f"it has more than {limits.UNPACKED_FILES} files, together with those below it")

    def _look(self) -> None:
        disk = os.statvfs("/")
        if disk.f_bavail * disk.f_frsize < limits.FREE_DISK:
            raise ValueError(f"unpacking stopped: less than {limits.FREE_DISK >> 20} MiB of the disk are left")
        if time.monotonic() > self._end:
            raise ValueError(f"unpacking stopped: it took more than {limits.UNPACKING_SECONDS:g} s")


@contextmanager
def _named(digest: str) -> Iterator[None]:
    """End the child with one sentence where a layer cannot be unpacked."""
    try:
        yield
    except (OSError, ValueError, tarfile.TarError) as error:
        sys.exit(f"layer {digest}: {error}")


class _Pieces:
    """Pieces of bytes as a stream to read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._left = pieces, b""

    def read(self, size: int) -> bytes:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._left = piece
        piece, self._left = self._left[:size], self._left[size:]
        return piece


def _apply(layer: tarfile.TarFile, budget: _Budget) -> None:
    written: set[str] = set()
    for member in layer:
        budget.file()
        if member.sparse is not None:  # says that it has more bytes than the layer holds
            raise ValueError(f"{member.name!r} is a sparse file, which layers of images do not have")
        path = os.path.normpath("/" + member.name)
        folder, name = os.path.split(path)
        if name == _OPAQUE:
            for entry in os.listdir(folder):  # noqa: PTH208  (names, not paths)
                if f"{folder}/{entry}" not in written:
                    _remove(f"{folder}/{entry}")
        elif name.startswith(_WHITEOUT):
            _remove(f"{folder}/{name.removeprefix(_WHITEOUT)}")
        elif path != "/" and not member.isdev():
            written.add(path)
            _write(layer, member, path)


def _write(layer: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    folder = os.path.dirname(path)  # noqa: PTH120  (tens of thousands of files)
    if not os.path.isdir(folder):  # noqa: PTH112
        os.makedirs(os.path.realpath(folder))  # noqa: PTH103  (a link may lead to what is not there yet)
    if member.isdir():
        _make_folder(path)
        return
    try:
        _make(layer, member, path)
    except FileExistsError:
        _remove(path)
        _make(layer, member, path)


def _make(layer: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    """Make what a member is; raise ``FileExistsError`` before anything of it is read where the name is taken."""
    if member.issym():
        os.symlink(member.linkname, path)  # noqa: PTH211
    elif member.islnk():
        os.link(os.path.normpath("/" + member.linkname), path)
    elif member.isreg():
        mode = 0o700 if member.mode & stat.S_IXUSR else 0o600
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(target, "wb") as stream, cast("BinaryIO", layer.extractfile(member)) as content:
            shutil.copyfileobj(content, stream, 1 << 18)


def _make_folder(path: str) -> None:
    if os.path.islink(path) or not os.path.isdir(path):  # noqa: PTH112,PTH114
        _remove(path)
        os.makedirs(path)  # noqa: PTH103


def _remove(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        shutil.rmtree(path)

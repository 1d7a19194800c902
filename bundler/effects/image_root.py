"""Run a program of an image on this machine: unpacked into a folder, which is all that it sees, without a network."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import shutil
import stat
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from bundler.effects import files, process
from bundler.effects.blobs import BlobStore
from bundler.errors import ToolFailedError, ToolMissingError
from bundler.model.platform import Platform
from bundler.oci import layer_format
from bundler.oci.layer import Layer

# A user namespace gives rights over the other ones without being root, and none over this machine.
_ISOLATED: Final = (
    "unshare",
    "--user",
    "--map-root-user",
    "--mount",
    "--net",
    "--ipc",
    "--pid",
    "--fork",
    "--kill-child",
)
_TIMEOUT: Final = 20.0  # seconds
_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITIES: Final = 64  # more than there are


def unavailable(platform: Platform) -> str:
    """Return why programs of an image of this platform cannot run here, empty where they can."""
    if platform.machine != os.uname().machine:
        return f"this machine's processor is {os.uname().machine}"
    try:
        process.run([*_ISOLATED, "true"], purpose="making namespaces", timeout=_TIMEOUT)
    except ToolMissingError:
        return "the program unshare (util-linux) is not here"
    except ToolFailedError as error:
        return f"this machine allows no user namespaces: {' '.join(error.details) or error}"
    return ""


@contextmanager
def unpacked(layers: Sequence[Layer], store: BlobStore) -> Iterator[Path]:
    """Unpack layers, the lowest first, into a temporary folder beside the cache, without their owners.

    It needs as much disk as the image has unpacked, until the block ends.

    Raises:
        ToolFailedError: a layer cannot be unpacked, the disk is full.
    """
    with files.explained(store.folder), store.temporary_folder() as root:
        rows = [
            [str(layer.descriptor.digest), str(store.path(layer.descriptor.digest)), layer.descriptor.media_type]
            for layer in layers
        ]
        _inside("_unpack", root, rows)
        yield root


def run(root: Path, command: Sequence[str], environment: Mapping[str, str], *, purpose: str, timeout: float) -> str:
    """Run a program in an unpacked image and return its standard output; ``environment`` is all that it gets.

    Raises:
        ToolFailedError: it failed, or did not end in ``timeout`` seconds.
    """
    return _inside("_execute", root, [list(command), dict(environment)], purpose=purpose, timeout=timeout)


def _inside(
    function: str, root: Path, argument: object, *, purpose: str = "unpacking an image", timeout: float | None = None
) -> str:
    child = f"from bundler.effects import image_root; image_root.{function}()"
    command = [*_ISOLATED, sys.executable, "-I", "-c", child]
    content = json.dumps([str(root), argument]).encode()
    return process.run(command, purpose=purpose, stdin=content, timeout=timeout).stdout


# From here on: what runs in the namespaces.


def _execute() -> None:
    root, (command, environment) = json.load(sys.stdin)
    for device in _DEVICES:
        process.run(["mount", "--bind", device, f"{root}{device}"], purpose=f"lending {device}")
    # Some modules read /proc as they are imported, and some machines (containers) forbid to mount it.
    with suppress(ToolFailedError):
        process.run(["mount", "-t", "proc", "proc", f"{root}/proc"], purpose="mounting /proc")
    os.chroot(root)
    os.chdir("/")
    _give_up_rights()
    os.execve(command[0], command, environment)  # noqa: S606  (a program of the image, no shell)


def _give_up_rights() -> None:
    """Give up for good every right over the namespaces: with them a program could leave its folder."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(_CAPABILITIES):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs cannot be set")


def _unpack() -> None:
    root, rows = json.load(sys.stdin)
    blobs = [(digest, Path(path).open("rb"), media_type) for digest, path, media_type in rows]  # noqa: SIM115
    with suppress(ImportError):  # after the change of root this interpreter finds no module any more
        importlib.import_module("compression.zstd")
    # From within its folder a layer's names and links can lead nowhere else, whatever they are.
    os.chroot(root)
    os.chdir("/")
    for digest, blob, media_type in blobs:
        with blob, _named(digest):
            stream = _Pieces(layer_format.unpacked(blob, media_type))
            with tarfile.open(fileobj=stream, mode="r|") as layer:  # type: ignore[call-overload]  # (it only reads)
                _apply(layer)
    for path in ("/dev", "/proc", "/tmp"):  # noqa: S108  (the image's own)
        _make_folder(path)
    for device in _DEVICES:  # where this machine's are mounted
        _remove(device)
        Path(device).touch()


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


def _apply(layer: tarfile.TarFile) -> None:
    written: set[str] = set()
    for member in layer:
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
    _remove(path)
    if member.issym():
        os.symlink(member.linkname, path)  # noqa: PTH211
    elif member.islnk():
        os.link(os.path.normpath("/" + member.linkname), path)
    elif (content := layer.extractfile(member)) is not None:
        with content, open(path, "wb") as target:  # noqa: PTH123
            shutil.copyfileobj(content, target, 1 << 18)
        if member.mode & stat.S_IXUSR:
            os.chmod(path, 0o700)  # noqa: PTH101


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

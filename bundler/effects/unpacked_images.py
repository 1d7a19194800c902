"""Images unpacked beside the cache, and kept there: the next build needs the same layers, under another feature repo.

``unpacked/KEY`` of the cache holds one image, below ``root``; the key is that of its layers. Whoever uses one holds a
shared lock on it, whoever makes, moves or removes one an exclusive one, so builds can share a cache and see what killed
ones left. The folder is its user's alone: nobody else can change what a later build then runs.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from bundler.effects import files, image_root
from bundler.effects.blobs import BlobStore
from bundler.effects.confinement import inside
from bundler.effects.image_root import ImageRoot
from bundler.model.digest import Digest
from bundler.oci.layer import Layer

KEPT: Final = 2
"""Images that stay unpacked, the last used ones."""
FREE_DISK: Final = 4 << 30
"""Bytes that must be free for any to stay."""
_RECIPE: Final = "1"
_IMAGE: Final = "root"
_TRIES: Final = 3
_UNFINISHED: Final = ".part-"


@contextmanager
def unpacked(layers: Sequence[Layer], store: BlobStore, *, over: Layer | None = None) -> Iterator[ImageRoot]:
    """Unpack layers, the lowest first, without their owners; ``over`` lies on them for this block only.

    It needs as much disk as the image has unpacked.

    Raises:
        ToolFailedError: a layer cannot be unpacked, the disk is full.
    """
    with files.explained(store.folder), ExitStack() as stack:
        images = _images(store)
        if over is not None and not image_root.stacks(store.root):
            layers, over = (*layers, over), None
        folder = stack.enter_context(_kept(layers, store, images) if images else _temporary(layers, store))
        names: tuple[str, ...] = (_IMAGE,)
        if over is not None:
            top = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
            image_root.unpack([over], store, top)
            names = (top.name, _IMAGE)
        yield ImageRoot(folder, names)


@contextmanager
def _temporary(layers: Sequence[Layer], store: BlobStore) -> Iterator[Path]:
    with store.temporary_folder() as folder:
        (folder / _IMAGE).mkdir()
        image_root.unpack(layers, store, folder / _IMAGE)
        yield folder


@contextmanager
def _kept(layers: Sequence[Layer], store: BlobStore, images: Path) -> Iterator[Path]:
    with ExitStack() as stack:
        stack.callback(_tidy, images, KEPT)
        final = images / _key(layers)
        lock = _locked(final, fcntl.LOCK_SH) if _is_whole(final) else None
        if lock is not None:
            stack.callback(os.close, lock)
            os.utime(lock)
            yield final
            return
        begun = _begun(layers, images)
        if begun is None:
            yield stack.enter_context(_temporary(layers, store))
            return
        folder, lock, missing = begun
        stack.callback(os.close, lock)
        _tidy(images, KEPT - 1)
        image_root.unpack(missing, store, folder / _IMAGE)
        with suppress(OSError):  # another build was quicker: then this one is for this block only
            folder = folder.rename(final)
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield folder


def _images(store: BlobStore) -> Path | None:
    """Return the folder of the images; None where another user has made it."""
    folder = store.root / "unpacked"
    folder.mkdir(parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        return None
    folder.chmod(0o700)
    return folder


def _begun(layers: Sequence[Layer], images: Path) -> tuple[Path, int, Sequence[Layer]] | None:
    """Begin an image with a kept one that has its lowest layers, where there is one.

    Return its folder, an exclusive lock on it, and the layers that it lacks; None on a disk that has no locks.
    """
    for count in range(len(layers) - 1, 0, -1):
        lower = images / _key(layers[:count])
        lock = _locked(lower, fcntl.LOCK_EX) if _is_whole(lower) else None
        if lock is not None:
            return _moved(lower), lock, layers[count:]
    for _ in range(_TRIES):  # another build may take it for a leftover before it is locked
        folder = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=images))
        lock = _locked(folder, fcntl.LOCK_EX)
        if lock is not None:
            (folder / _IMAGE).mkdir()
            return folder, lock, layers
        with suppress(OSError):
            folder.rmdir()
    return None


def _is_whole(image: Path) -> bool:
    """Tell whether an image is as it was made; a copy of the cache (``cp -r`` by root) has lost its owner."""
    try:
        return (image / _IMAGE).lstat().st_uid == inside.outside_ids()[0]
    except OSError:
        return False


def _moved(image: Path) -> Path:
    """Take a complete image, which is locked, out of sight: from now on it is none that others may use."""
    return image.rename(image.with_name(f"{_UNFINISHED}{os.getpid()}-{image.name}"))


def _tidy(images: Path, count: int) -> None:
    """Remove leftovers, all but the last used images, and all where the disk is nearly full; those in use stay."""
    with suppress(OSError):
        folders = sorted(images.iterdir(), key=lambda path: path.lstat().st_mtime, reverse=True)
        leftovers = [path for path in folders if path.name.startswith(_UNFINISHED) or not _is_whole(path)]
        complete = [path for path in folders if path not in leftovers]
        disk = os.statvfs(images)
        count = count if disk.f_bavail * disk.f_frsize > FREE_DISK else 0
        for path in (*leftovers, *complete[count:]):
            lock = _locked(path, fcntl.LOCK_EX)
            if lock is not None:
                try:
                    shutil.rmtree(path if path in leftovers else _moved(path))
                finally:
                    os.close(lock)


def _locked(folder: Path, kind: int) -> int | None:
    """Lock a folder and return its descriptor; None where it is not there, or somebody moves or removes it."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), folder.stat()):
            return lock
    except OSError:
        pass
    os.close(lock)
    return None


def _key(layers: Sequence[Layer]) -> str:
    return Digest.of(" ".join((_RECIPE, *(str(layer.descriptor.digest) for layer in layers))).encode()).hex

"""Which uploads are under way: kept on disk, so that a client that was killed continues where the registry stopped."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bundler.model.digest import Digest

_KEPT = 7 * 24 * 3600.0  # seconds; registries forget unfinished uploads after about a week


def folder(cache: Path) -> Path:
    """Return where the notes of unfinished uploads lie in a user's cache: what is lost with it is only time."""
    return cache / "uploads"


@dataclass
class Entry:
    """One upload; ``location`` is where the registry expects more of it, None where nothing is known."""

    location: str | None
    _descriptor: int | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the note is on disk, where the next push finds it."""
        return self._descriptor is not None

    def note(self, location: str) -> None:
        """Remember where the upload continues."""
        self.location = location
        self._write(json.dumps({"location": location}).encode())

    def forget(self) -> None:
        """Forget the upload: it ended, or the registry forgot it."""
        self.location = None
        self._write(b"")

    def _write(self, content: bytes) -> None:
        # Not synced to disk: a lost note costs one blob, a sync for each would cost every push.
        if self._descriptor is not None:
            with suppress(OSError):  # a full disk must not stop a push, which needs none
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, content, 0)


class Journal:
    """Notes in ``folder``, one small file an upload, locked while in use; without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @contextmanager
    def entry(self, repository: str, digest: Digest) -> Iterator[Entry]:
        """Open the note for a blob on its way to a repository (``HOST/NAME``); it is removed when it ends empty."""
        path = self._path(repository, digest)
        descriptor = self._locked(path) if path else None
        if path is None or descriptor is None:
            yield Entry(None)
            return
        try:
            entry = Entry(_location(os.pread(descriptor, 1 << 16, 0)), descriptor)
            yield entry
            if entry.location is None:
                with suppress(OSError):
                    path.unlink()
        finally:
            os.close(descriptor)

    def _path(self, repository: str, digest: Digest) -> Path | None:
        return self._folder / Digest.of(f"{repository}@{digest}".encode()).hex if self._folder else None

    @staticmethod
    def _locked(path: Path) -> int | None:
        """Open a note that nobody else works with; None where that cannot be had."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another push is sending this very blob there
            os.close(descriptor)
            return None
        return descriptor

    def tidy(self) -> None:
        """Remove notes that no registry remembers."""
        if self._folder:
            with suppress(OSError):
                for path in self._folder.iterdir():
                    if path.stat().st_mtime < time.time() - _KEPT:
                        path.unlink()


def _location(content: bytes) -> str | None:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    location = value.get("location") if isinstance(value, dict) else None
    return location if isinstance(location, str) else None

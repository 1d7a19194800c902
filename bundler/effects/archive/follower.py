"""Read a bundle back while it is written: hash each complete file, and flush the written bytes to disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from bundler.effects.archive import digests as archive_digests
from bundler.effects.archive.digests import Hashed
from bundler.effects.archive.reader import Bundle
from bundler.effects.archive.volumes import BundleVolume
from bundler.errors import VerificationError

# Bytes between two flushes: often enough that little is left at the end, also on a slow stick.
_FLUSHED_AT_ONCE: Final = 128 << 20
_FLUSHERS: Final = 1


class Follower:
    """Reads and flushes what was written as far as it was written; made by ``following``.

    The bundle's files have their final size from the beginning, so that it can be read before its end is there.
    """

    def __init__(self, pool: ThreadPoolExecutor, bundle: Bundle, *, reads_back: bool) -> None:
        self._pool, self._bundle, self._reads_back = pool, bundle, reads_back
        self._grown = threading.Condition()
        self._abandoned = threading.Event()
        self._written = 0
        self._hashed: dict[str, Future[Hashed]] = {}
        self._flushed = pool.submit(self._flush, bundle.volumes.files)

    def reached(self, position: int) -> None:
        """Tell that everything before ``position`` (over all files) was written."""
        with self._grown:
            self._written = position
            self._grown.notify_all()

    def completed(self, path: str) -> None:
        """Tell that the file of this path was written, and everything before it."""
        if self._reads_back:
            self._hashed[path] = self._pool.submit(self._hash, path)

    def hashed(self) -> Mapping[str, Hashed]:
        """Wait until all completed files are hashed, and return their digests by path."""
        return {path: future.result() for path, future in self._hashed.items()}

    def settle(self) -> None:
        """Wait until all is on disk; raise ``OSError`` where the disk failed."""
        self._flushed.result()  # the kernel reports a failure once only, to this call

    def abandon(self) -> None:
        """End soon, also where the writer stopped early."""
        with self._grown:
            self._abandoned.set()
            self._grown.notify_all()

    def _hash(self, path: str) -> Hashed:
        return archive_digests.of_member(self._bundle, self._bundle.member(path), lambda _: None, self._abandoned)

    def _flush(self, files: tuple[BundleVolume, ...]) -> None:
        for file in files:
            flushed = 0
            while flushed < file.size:
                there = self._beyond(file.begin + min(flushed + _FLUSHED_AT_ONCE, file.size) - 1)
                flushed = min(there - file.begin, file.size)
                os.fsync(file.descriptor)

    def _beyond(self, position: int) -> int:
        """Wait until the byte at ``position`` was written, and return how many there are."""
        with self._grown:
            self._grown.wait_for(lambda: self._written > position or self._abandoned.is_set())
            if self._abandoned.is_set():
                raise VerificationError("The bundle was not written to its end.", remedy="Build it again.")
            return self._written


@contextmanager
def following(bundle: Bundle, *, reads_back: bool) -> Iterator[Follower]:
    """Flush and read back the files of a bundle, one after the other, while the block writes them."""
    with ThreadPoolExecutor(_FLUSHERS + archive_digests.THREADS) as pool:
        follower = Follower(pool, bundle, reads_back=reads_back)
        try:
            yield follower
        finally:
            follower.abandon()
            pool.shutdown(wait=False, cancel_futures=True)

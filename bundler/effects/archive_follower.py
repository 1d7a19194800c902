"""Hash a bundle behind the one who writes it, and bring it to disk meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from bundler.effects import archive_digests
from bundler.effects.archive_digests import WholeDigests
from bundler.errors import VerificationError

# Bytes between two flushes: often enough that little is left at the end, also on a slow stick.
_FLUSHED_AT_ONCE: Final = 128 << 20


class Follower:
    """Reads and flushes what was written as far as it was written; made by ``following``."""

    def __init__(self, pool: ThreadPoolExecutor, files: Sequence[tuple[int, int]]) -> None:
        self._grown = threading.Condition()
        self._written = 0
        self._abandoned = False
        self._flushed = pool.submit(self._flush, files)
        self._digests = pool.submit(archive_digests.of_files, files, self._beyond)

    def reached(self, position: int) -> None:
        """Tell that everything before ``position`` (over all files) was written."""
        with self._grown:
            self._written = position
            self._grown.notify_all()

    def settled(self) -> WholeDigests:
        """Wait until all is hashed and flushed, and return the digests; raise ``OSError`` where the disk failed."""
        self._flushed.result()  # the kernel tells a failure once, so it must be heard here
        return self._digests.result()

    def abandon(self) -> None:
        """End soon, wherever the writer stopped."""
        with self._grown:
            self._abandoned = True
            self._grown.notify_all()

    def _flush(self, files: Sequence[tuple[int, int]]) -> None:
        begin = 0
        for descriptor, size in files:
            flushed = 0
            while flushed < size:
                there = self._beyond(begin + min(flushed + _FLUSHED_AT_ONCE, size) - 1)
                flushed = min(there - begin, size)
                os.fsync(descriptor)
            begin += size

    def _beyond(self, position: int) -> int:
        """Wait until the byte at ``position`` was written, and return how many there are."""
        with self._grown:
            self._grown.wait_for(lambda: self._written > position or self._abandoned)
            if self._abandoned:
                raise VerificationError("The bundle was not written to its end.")
            return self._written


@contextmanager
def following(files: Sequence[tuple[int, int]]) -> Iterator[Follower]:
    """Follow who writes these files (descriptor, size in bytes), one after the other, while the block runs."""
    with ThreadPoolExecutor(2) as pool:
        follower = Follower(pool, files)
        try:
            yield follower
        finally:
            follower.abandon()

"""Hash every file of a bundle where it lies, and the bundle as a whole."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from bundler.effects.archive import Bundle, Member
from bundler.model.digest import Digest
from bundler.model.progress import Progress

# hashlib lets go of the interpreter's lock; two threads keep a disk and a processor busy, and leave others some.
_THREADS: Final = 2
_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class Hashed:
    """The digest of a member as it lies in the file, or why it could not be read."""

    digest: Digest | None
    fault: str = ""


@dataclass(frozen=True)
class WholeDigests:
    """What ``sha256sum`` says of a bundle's tar, and of each of its volumes: of the one file where it has none."""

    tar: Digest
    volumes: tuple[Digest, ...]


def of_whole(bundle: Bundle) -> WholeDigests:
    """Read all volumes once, in order; raise ``OSError`` where the disk fails."""
    return of_files([(volume.descriptor, volume.size) for volume in bundle.volumes.files])


def of_files(files: Sequence[tuple[int, int]], beyond: Callable[[int], int] | None = None) -> WholeDigests:
    """Hash files (descriptor, size in bytes), each and all.

    ``beyond`` waits until there is more than so many bytes, over all files, and returns how many there are.
    """
    whole, found = hashlib.sha256(), list[Digest]()
    buffer = memoryview(bytearray(_CHUNK))
    begin = there = 0
    for descriptor, size in files:
        state, offset = hashlib.sha256(), 0
        while offset < size:
            if begin + offset >= there:
                there = beyond(begin + offset) if beyond else begin + size
            count = os.preadv(descriptor, [buffer[: min(size - offset, there - begin - offset)]], offset)
            if not count:
                raise OSError(errno.EIO, "it became shorter while it was read")
            state.update(buffer[:count])
            if len(files) > 1:
                whole.update(buffer[:count])
            offset += count
        found.append(Digest(state.hexdigest()))
        begin += size
    return WholeDigests(Digest(whole.hexdigest()) if len(found) > 1 else found[0], tuple(found))


def compute(bundle: Bundle, members: Mapping[str, Member], progress: Progress) -> Mapping[str, Hashed]:
    """Return path -> what its bytes hash to; the largest begin first."""
    ordered = sorted(members.values(), key=lambda member: -member.size)
    total = sum(member.size for member in ordered)
    lock = threading.Lock()
    stop = threading.Event()
    with progress.task(f"Verify {bundle.path.name}", total=total, unit="bytes") as task:

        def advance(amount: int) -> None:
            with lock:
                task.advance(amount)

        with ThreadPoolExecutor(_THREADS) as pool:
            futures = {member.path: pool.submit(_hash, bundle, member, advance, stop) for member in ordered}
            try:
                return {path: future.result() for path, future in futures.items()}
            except BaseException:  # an interrupt: do not first read what is left
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _hash(bundle: Bundle, member: Member, advance: Callable[[int], None], stop: threading.Event) -> Hashed:
    state = hashlib.sha256()
    try:
        with bundle.open_member(member.path) as stream:
            while not stop.is_set() and (chunk := stream.read(_CHUNK)):
                state.update(chunk)
                advance(len(chunk))
        if any(bundle.padding(member)):
            return Hashed(Digest(state.hexdigest()), "the padding behind it is not empty")
    except OSError as error:  # a failing disk or stick
        return Hashed(None, f"it cannot be read: {error.strerror}")
    return Hashed(Digest(state.hexdigest()))

"""Hash every file of a bundle where it lies, and the volumes that it lies in."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bundler.effects.archive.reader import Bundle, BundleFile
from bundler.effects.archive.volumes import BundleVolume
from bundler.errors import VerificationError
from bundler.model.digest import Digest, Hasher
from bundler.model.progress import Progress

# hashlib releases the interpreter's lock; two threads keep a disk and a processor busy, and leave capacity.
THREADS: Final = 2
_CHUNK: Final = 1 << 20
_FEW: Final = 4 << 20


@dataclass(frozen=True)
class Hashed:
    """The digest of a member as it lies in the file, or why it could not be read."""

    digest: Digest | None
    fault: str = ""


def of_volumes(bundle: Bundle) -> tuple[Digest, ...]:
    """Hash each file that a bundle lies in, as ``sha256sum`` does; raise ``OSError`` where the disk fails."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  (start-up time: most commands hash a few files)

    with ThreadPoolExecutor(THREADS) as pool:
        return tuple(pool.map(_of_volume, bundle.volumes.files))


def _of_volume(volume: BundleVolume) -> Digest:
    hasher = Hasher()
    buffer = memoryview(bytearray(_CHUNK))
    while hasher.size < volume.size:
        count = os.preadv(volume.descriptor, [buffer], hasher.size)
        if not count:
            raise OSError(errno.EIO, "it became shorter while it was read")
        hasher.update(buffer[:count])
    return hasher.digest


def compute(bundle: Bundle, members: Mapping[str, BundleFile], progress: Progress) -> Mapping[str, Hashed]:
    """Return path -> what its bytes hash to; the largest begin first."""
    ordered = sorted(members.values(), key=lambda member: -member.size)
    total = sum(member.size for member in ordered)
    lock = threading.Lock()
    stop = threading.Event()
    with progress.task(f"Verify {bundle.path.name}", total=total, unit="bytes") as task:

        def advance(amount: int) -> None:
            with lock:
                task.advance(amount)

        if total <= _FEW:  # the threads would take longer to start
            return {member.path: of_member(bundle, member, advance, stop) for member in ordered}
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  (as above)

        with ThreadPoolExecutor(THREADS) as pool:
            futures = {member.path: pool.submit(of_member, bundle, member, advance, stop) for member in ordered}
            try:
                return {path: future.result() for path, future in futures.items()}
            except BaseException:  # an interrupt: do not read the rest first
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def of_member(bundle: Bundle, member: BundleFile, advance: Callable[[int], None], stop: threading.Event) -> Hashed:
    """Hash one file of a bundle, telling how many bytes each step took, until ``stop`` is set."""
    hasher = Hasher()
    buffer = memoryview(bytearray(min(_CHUNK, member.size)))
    try:
        with bundle.open_member(member.path) as stream:
            while not stop.is_set() and (count := stream.readinto(buffer)):
                hasher.update(buffer[:count])
                advance(count)
        if any(bundle.padding(member)):
            return Hashed(hasher.digest, "the padding behind it is not empty")
    except VerificationError as error:  # a failing disk or stick
        return Hashed(None, error.problem)
    except OSError as error:
        return Hashed(None, f"it cannot be read: {error.strerror}")
    return Hashed(hasher.digest)

"""What confined code may use of this machine: one constant each, set by the code that runs it."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from typing import Final

PROCESSES: Final = 1024  # processes and threads; numerical libraries start one a processor core
FILES: Final = 4096  # open at once
ADDRESSES: Final = 32 << 30  # bytes of address space of one process; reserved is not used
DATA: Final = 8 << 30  # bytes of memory of one process
MEMORY: Final = 8 << 30  # bytes of memory of all its processes together
FILE_SIZE: Final = 256 << 20  # bytes of one file that it writes
SCRATCH: Final = 256 << 20  # bytes of all files that it writes; they lie in memory
SCRATCH_FILES: Final = 100_000
OUTPUT: Final = 8 << 20  # bytes that it prints
# Of a whole image that is unpacked; the largest in use (CUDA and several frameworks) have a third of it.
UNPACKED: Final = 64 << 30  # bytes
UNPACKED_FILES: Final = 2_000_000
UNPACKING_SECONDS: Final = 1800.0
FREE_DISK: Final = 512 << 20  # bytes that unpacking leaves to others
_COUNTS_BY_NAMESPACE: Final = (5, 14)  # since this Linux, a limit of processes counts those of a namespace alone


def set_for_program(seconds: float, others: int) -> None:
    """Limit this process and all that it starts; ``seconds`` of processor time for each.

    ``others`` are the threads that count against the limit beside those (see ``threads_of``).
    """
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NPROC, PROCESSES + others)
    _limit(resource.RLIMIT_NOFILE, FILES)
    _limit(resource.RLIMIT_AS, ADDRESSES)
    _limit(resource.RLIMIT_DATA, DATA)
    _limit(resource.RLIMIT_FSIZE, FILE_SIZE)
    _limit(resource.RLIMIT_MEMLOCK, 0)
    _limit(resource.RLIMIT_MSGQUEUE, 0)
    _limit(resource.RLIMIT_CPU, max(1, int(seconds * (os.cpu_count() or 1))))


def prefer_to_kill() -> None:
    """Have the kernel end this process and its children first where memory runs out."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("1000")


def memory_used() -> int:
    """Return the bytes of memory of all processes that this one sees in ``/proc``, itself left out."""
    page, used = resource.getpagesize(), 0
    with suppress(OSError):
        for name in os.listdir("/proc"):  # noqa: PTH208  (names)
            if name.isdigit() and name != "1":
                with suppress(OSError), open(f"/proc/{name}/statm", encoding="ascii") as file:  # noqa: PTH123
                    used += int(file.read().split()[1]) * page
    return used


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (allowed, allowed))


def threads_of(user: int) -> int:
    """Return how many threads a user runs, where the kernel counts them against the limit of confined code, too."""
    release = tuple(int(number) for number in os.uname().release.split("-")[0].split(".")[:2])
    if release >= _COUNTS_BY_NAMESPACE:
        return 0
    threads = 0
    with suppress(OSError):
        for name in os.listdir("/proc"):  # noqa: PTH208
            with suppress(OSError):
                if name.isdigit() and os.stat(f"/proc/{name}").st_uid == user:  # noqa: PTH116
                    threads += len(os.listdir(f"/proc/{name}/task"))  # noqa: PTH208
    return threads

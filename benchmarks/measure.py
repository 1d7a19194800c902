"""Measure commands as whole processes: seconds, processor time, memory, bytes written, disk."""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_BLOCK = 512  # bytes, the unit of st_blocks and of the kernel's count of blocks written
_MB = 1e6
_INTERVAL = 0.1  # seconds between two looks; more often would take time from what is measured


@dataclass(frozen=True)
class Measured:
    """Seconds of wall and processor; bytes: resident peak of the largest process, written, peak of the work folder."""

    wall: float
    cpu: float
    memory: float
    written: float
    disk: float


class Watch:
    """Watches how large folders get together, and the processes below one, while something runs.

    The kernel's own account of a finished child will not do for memory: it begins with what its parent had.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.disk = self.memory = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._folders = folders
        self._before = sum(map(size_of, folders))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._stop.wait(_INTERVAL):
            self._look()

    def _look(self) -> None:
        self.disk = max(self.disk, sum(map(size_of, self._folders)) - self._before)
        if self.process:
            self.memory = max(self.memory, _largest(self.process.pid))


def _largest(process: int) -> int:
    """Return the most memory (VmHWM, bytes) that a process or one below it has had."""
    peak = 0
    with suppress(OSError, ValueError, IndexError):  # what ends meanwhile has no memory any more
        folder = Path(f"/proc/{process}")
        # Before it has become the program that it is to run, it is still this one.
        if (folder / "cmdline").read_bytes() != Path("/proc/self/cmdline").read_bytes():
            peak = int((folder / "status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
        for task in (folder / "task").iterdir():
            peak = max(peak, *(_largest(int(child)) for child in (task / "children").read_text().split()), 0)
    return peak


def keep_byte_code() -> None:
    """Let programs that are measured keep their byte code, as on a user's machine, whatever is set on this one."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def size_of(folder: Path) -> int:
    """Return the bytes that a folder takes on disk; what vanishes meanwhile, or is mounted below, does not count."""
    total = 0
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not os.path.ismount(f"{place}/{name}")]
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(place) / name).lstat().st_blocks * _BLOCK
    return total


def run(
    commands: Sequence[Sequence[str | Path]],
    work: Path,
    environment: Mapping[str, str] | None = None,
    beside: Sequence[Path] = (),
) -> Measured:
    """Run commands one after the other in a folder; all of them must succeed.

    ``beside`` are further folders whose growth counts as disk.
    """
    wall = cpu = 0.0
    written = 0
    with Watch((work, *beside)) as watch:
        for command in commands:
            start = time.monotonic()
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=work,
                env={**os.environ, **(environment or {})},
                stdout=subprocess.DEVNULL,
            )
            watch.process = process
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"failed: {command}")
            wall += time.monotonic() - start
            cpu += usage.ru_utime + usage.ru_stime
            written += usage.ru_oublock * _BLOCK
    return Measured(wall, cpu, watch.memory, written, watch.disk)


def summary(rounds: Sequence[Measured]) -> Measured:
    """Return the median of times, and the most of everything else."""
    return Measured(
        statistics.median(one.wall for one in rounds),
        statistics.median(one.cpu for one in rounds),
        max(one.memory for one in rounds),
        max(one.written for one in rounds),
        max(one.disk for one in rounds),
    )


def table(rows: Mapping[str, Sequence[Measured]], *, kept: float = 0, idle: float = 0) -> str:
    """Return a Markdown table of ``summary``, and how much longer each row takes than the first.

    ``kept`` bytes of disk are the result, the rest is temporary; ``idle`` bytes of memory are an interpreter's that
    does nothing.
    """
    lines = [
        "| way | wall s | of the first | cpu s | memory MB | written MB | disk MB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    first = None
    for name, rounds in rows.items():
        found = summary(rounds)
        first = first or found.wall
        figures = (found.memory - idle, found.written, found.disk - kept)
        megabytes = " | ".join(f"{max(0.0, figure) / _MB:.0f}" for figure in figures)
        lines.append(f"| {name} | {found.wall:.2f} | {found.wall / first:.2f} | {found.cpu:.2f} | {megabytes} |")
    return "\n".join(lines)

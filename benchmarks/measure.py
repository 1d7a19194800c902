"""Measure commands as whole processes: seconds, processor time, memory, bytes written, peak of a folder."""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Self

_BLOCK = 512  # bytes, the unit of st_blocks and of the kernel's count of blocks written


@dataclass(frozen=True)
class Measured:
    """Seconds of wall and processor; bytes: resident peak of the largest process, written, peak of the work folder."""

    wall: float
    cpu: float
    memory: float
    written: float
    disk: float


class DiskWatch:
    """Watches how large folders get together while something runs."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.peak = 0
        self._folders = folders
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
        while not self._stop.wait(0.2):
            self._look()

    def _look(self) -> None:
        self.peak = max(self.peak, sum(map(size_of, self._folders)))


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
    memory = written = 0
    watched = (work, *beside)
    before = sum(map(size_of, watched))
    with DiskWatch(watched) as disk:
        for command in commands:
            start = time.monotonic()
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=work,
                env={**os.environ, **(environment or {})},
                stdout=subprocess.DEVNULL,
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"failed: {command}")
            wall += time.monotonic() - start
            cpu += usage.ru_utime + usage.ru_stime
            memory = max(memory, usage.ru_maxrss * 1024)
            written += usage.ru_oublock * _BLOCK
    return Measured(wall, cpu, memory, written, disk.peak - before)


def median(rounds: Sequence[Measured]) -> Measured:
    """Return the median of each figure."""
    return Measured(*(statistics.median(column) for column in zip(*map(astuple, rounds), strict=True)))


def table(rows: Mapping[str, Sequence[Measured]]) -> str:
    """Return a Markdown table of medians."""
    lines = ["| way | wall s | cpu s | peak memory MB | written MB | peak disk MB |", "|---|---:|---:|---:|---:|---:|"]
    for name, rounds in rows.items():
        found = median(rounds)
        figures = (found.memory, found.written, found.disk)
        megabytes = " | ".join(f"{figure / 1e6:.0f}" for figure in figures)
        lines.append(f"| {name} | {found.wall:.2f} | {found.cpu:.2f} | {megabytes} |")
    return "\n".join(lines)

"""What the person at the terminal sees: the story on stderr, the result on stdout."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from bundler.errors import BundlerError
from bundler.model.descriptor import Json
from bundler.model.progress import Task

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from bundler.model.delta import BaseBundle

_PLAIN_INTERVAL = 10.0  # seconds between two lines of one long task where there is no terminal
_MEGA = 1_000_000


def size(amount: int) -> str:
    """Say a number of bytes in decimal units, as registries and disks do."""
    value = float(amount)
    for unit in ("B", "kB", "MB"):
        if abs(value) < 1000:  # noqa: PLR2004  (decimal units)
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"


def delta(base: BaseBundle) -> str:
    """Say what a delta leaves to another bundle."""
    return f"a delta: leaves {len(base.blobs)} blobs, {size(base.size)}, to {base}, {base.digest}"


def can_ask() -> bool:
    """Tell whether somebody is there to answer: no script, no pipe, no CI."""
    return sys.stdin.isatty() and sys.stderr.isatty() and not os.environ.get("CI")


@dataclass
class PlainTask:
    """A task told in lines: at its start, every ten seconds, and at its end."""

    title: str
    total: int | None
    unit: str
    out: TextIO
    done: int = 0
    _told: float = field(default_factory=time.monotonic)

    def advance(self, amount: int) -> None:
        """Count, and tell how far it is when the last line is old."""
        self.done += amount
        if time.monotonic() - self._told >= _PLAIN_INTERVAL:
            self._told = time.monotonic()
            self._line(f"{self._count()}")

    def note(self, text: str) -> None:
        """Tell what is being worked on when the last line is old."""
        if time.monotonic() - self._told >= _PLAIN_INTERVAL:
            self._told = time.monotonic()
            self._line(text)

    def end(self, seconds: float) -> None:
        """Tell that the task is done."""
        self._line(f"{self._count()} in {seconds:.1f} s" if self.done else f"done in {seconds:.1f} s")

    def _count(self) -> str:
        shown = size(self.done) if self.unit == "bytes" else str(self.done)
        if self.total:
            shown += f" of {size(self.total) if self.unit == 'bytes' else self.total}"
        return shown

    def _line(self, text: str) -> None:
        self.out.write(f"{self.title}: {text}\n")
        self.out.flush()


class PlainProgress:
    """Progress for logs and pipes: plain lines, no cursor movement."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def task(self, title: str, *, total: int | None = None, unit: str = "items") -> AbstractContextManager[Task]:
        """Begin a piece of work."""
        return self._scope(PlainTask(title, total, unit, self._out))

    @contextmanager
    def _scope(self, task: PlainTask) -> Iterator[Task]:
        start = time.monotonic()
        yield task
        task.end(time.monotonic() - start)

    def say(self, text: str) -> None:
        """Tell one finished fact."""
        self._out.write(f"{text}\n")
        self._out.flush()


class _RichTask:
    def __init__(self, display: RichProgress, task: TaskID, title: str) -> None:
        self._display, self._task, self._title = display, task, title

    def advance(self, amount: int) -> None:
        self._display.advance(self._task, amount)

    def note(self, text: str) -> None:
        self._display.update(self._task, description=f"{self._title} [dim]{text[:40]}[/dim]")


class TerminalProgress:
    """Progress for a terminal: one live line a task under way, one line left behind when it ends."""

    def __init__(self, out: TextIO) -> None:
        from rich.console import Console  # noqa: PLC0415  (60 ms that plain output and scripts should not pay)
        from rich.progress import (  # noqa: PLC0415  # noqa: PLC0415
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        self._console = Console(file=out)

        def display(unit: str) -> RichProgress:
            count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
            return Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                count,
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )

        self._display = display

    def task(self, title: str, *, total: int | None = None, unit: str = "items") -> AbstractContextManager[Task]:
        """Begin a piece of work."""
        return self._scope(title, total, unit)

    @contextmanager
    def _scope(self, title: str, total: int | None, unit: str) -> Iterator[Task]:
        start = time.monotonic()
        with self._display(unit) as display:
            yield _RichTask(display, display.add_task(title, total=total), title)
        self._console.print(f"[green]✓[/green] {title} [dim]{time.monotonic() - start:.1f} s[/dim]", highlight=False)

    def say(self, text: str) -> None:
        """Tell one finished fact."""
        self._console.print(text, markup=False, highlight=False)


def progress_for(out: TextIO, environment: Mapping[str, str]) -> PlainProgress | TerminalProgress:
    """Choose the display: live on a capable terminal, plain lines everywhere else."""
    if out.isatty() and environment.get("TERM", "dumb") != "dumb" and not environment.get("CI"):
        return TerminalProgress(out)
    return PlainProgress(out)


def show_error(error: BundlerError, *, as_json: bool) -> None:
    """Print an error for people on stderr, and for scripts on stdout where they asked for JSON."""
    paint = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    label = "\x1b[1;31merror:\x1b[0m" if paint else "error:"
    lines = [f"{label} {error.problem}", *(f"  {line}" for line in error.details)]
    if error.remedy:
        lines.append(f"  -> {error.remedy}")
    sys.stderr.write("\n".join(lines) + "\n")
    if as_json:
        show_json(
            {
                "error": {
                    "code": int(error.exit_code),
                    "problem": error.problem,
                    "remedy": error.remedy,
                    "details": list(error.details),
                }
            }
        )


def show_json(value: Json) -> None:
    """Print a result for scripts."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def show(text: str) -> None:
    """Print a result for people."""
    sys.stdout.write(text.rstrip("\n") + "\n")

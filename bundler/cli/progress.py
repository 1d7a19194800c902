"""Progress of long tasks on stderr: one live line at a terminal, plain lines in logs and pipes.

Written here and not taken from a library: this half of the program travels in every bundle; a reviewer reads all of it.
"""

from __future__ import annotations

import os
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Final, TextIO

from bundler.model.plain_text import plain
from bundler.model.progress import Task
from bundler.model.size import size

_PLAIN_INTERVAL: Final = 10.0  # seconds between two lines of one long task where there is no terminal
_REDRAW: Final = 0.2  # seconds
_BAR: Final = 20  # columns
_SETTLED: Final = 1.0  # seconds of work before a rate says anything
_CLEAR: Final = "\r\x1b[K"
_MINUTE: Final = 60
_NARROW: Final = 80  # columns, where the terminal does not say


@dataclass
class Count:
    """The progress of a task; ``unit`` is ``bytes`` or ``items``, ``total`` None where it is not known."""

    total: int | None
    unit: str
    done: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, amount: int) -> None:
        """Count what any thread has done; ``+=`` alone can lose what two threads add at once."""
        with self._lock:
            self.done += amount

    def text(self) -> str:
        """Return ``12.0 MB of 30.0 MB``, or what is done alone."""
        return self._amount(self.done) + (f" of {self._amount(self.total)}" if self.total else "")

    def rate(self, seconds: float) -> str:
        """Return the rate and the time left after ``seconds`` of work; empty where they would be guesses."""
        if self.unit != "bytes" or not self.done or seconds < _SETTLED:
            return ""
        speed = self.done / seconds
        left = f"  {clock_time((self.total - self.done) / speed)} left" if self.total else ""
        return f"{size(int(speed))}/s{left}"

    def bar(self, full: str, empty: str) -> str:
        """Return a bar of a fixed width; empty where the total is not known."""
        if not self.total:
            return ""
        filled = min(_BAR, _BAR * self.done // self.total)
        return full * filled + empty * (_BAR - filled)

    def _amount(self, number: int) -> str:
        return size(number) if self.unit == "bytes" else str(number)


def clock_time(seconds: float) -> str:
    """Return minutes and seconds as ``M:SS``."""
    whole = max(0, round(seconds))
    return f"{whole // _MINUTE}:{whole % _MINUTE:02}"


def cut(text: str, columns: int) -> str:
    """Return the part of a text that fits into so many columns; wide letters take two, combining marks none."""
    used = 0
    for position, letter in enumerate(text):
        used += 0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if used > columns:
            return text[:position]
    return text


@dataclass
class PlainTask:
    """A task that prints lines: every ten seconds, and at its end."""

    title: str
    count: Count
    out: TextIO
    _told: float = field(default_factory=time.monotonic)

    def advance(self, amount: int) -> None:
        """Count, and print the progress when the last line is ten seconds old."""
        self.count.add(amount)
        self._tell_if_due(self.count.text())

    def note(self, text: str) -> None:
        """Print what is being worked on when the last line is ten seconds old."""
        self._tell_if_due(plain(text))

    def end(self, seconds: float) -> None:
        """Print that the task is done."""
        self._line(f"{self.count.text()} in {seconds:.1f} s" if self.count.done else f"done in {seconds:.1f} s")

    def _tell_if_due(self, text: str) -> None:
        if time.monotonic() - self._told >= _PLAIN_INTERVAL:
            self._told = time.monotonic()
            self._line(text)

    def _line(self, text: str) -> None:
        self.out.write(f"{self.title}: {text}\n")
        self.out.flush()


class PlainProgress:
    """Progress for logs and pipes: plain lines, no cursor movement."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def task(self, title: str, *, total: int | None = None, unit: str = "items") -> AbstractContextManager[Task]:
        """Begin a task."""
        return self._scope(PlainTask(plain(title), Count(total, unit), self._out))

    @contextmanager
    def _scope(self, task: PlainTask) -> Iterator[Task]:
        start = time.monotonic()
        yield task
        task.end(time.monotonic() - start)

    def say(self, text: str) -> None:
        """Print one line about something that is finished."""
        self._out.write(f"{plain(text)}\n")
        self._out.flush()


@dataclass
class LiveTask:
    """A task with a live line; any thread may advance it. The line is drawn by the display that made it."""

    title: str
    count: Count
    start: float
    noted: str = ""

    def advance(self, amount: int) -> None:
        """Count; the next drawing shows it."""
        self.count.add(amount)

    def note(self, text: str) -> None:
        """Show what is being worked on at the moment."""
        self.noted = plain(text)


class TerminalProgress:
    """Progress for a terminal: a live line for the task under way, and one line left behind when it ends.

    The line never wraps: it is cut to the width that the terminal has at that moment. ``colour`` paints what is
    finished; ``clock`` is in seconds.
    """

    def __init__(self, out: TextIO, *, colour: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._colour, self._clock = out, colour, clock
        unicode = "utf" in (getattr(out, "encoding", None) or "").lower()
        self._full, self._empty, self._done = ("━", "─", "✓") if unicode else ("#", "-", "done:")
        self._tasks: list[LiveTask] = []
        self._lock = threading.Lock()

    def task(self, title: str, *, total: int | None = None, unit: str = "items") -> AbstractContextManager[Task]:
        """Begin a task; of several running tasks the newest is shown."""
        return self._scope(LiveTask(plain(title), Count(total, unit), self._clock()))

    @contextmanager
    def _scope(self, task: LiveTask) -> Iterator[Task]:
        ended = threading.Event()
        drawer = threading.Thread(target=self._draw_until, args=(ended,), daemon=True)
        with self._lock:
            self._tasks.append(task)
        drawer.start()
        try:
            yield task
        except BaseException:
            self._close(task, ended, drawer, "")
            raise
        seconds = f"{self._clock() - task.start:.1f} s"
        title = cut(task.title, max(0, self._columns() - 1 - len(f"{self._done}  {seconds}")))
        self._close(task, ended, drawer, f"{self._paint('32', self._done)} {title} {self._paint('2', seconds)}\n")

    def _close(self, task: LiveTask, ended: threading.Event, drawer: threading.Thread, last: str) -> None:
        ended.set()
        drawer.join()
        with self._lock:
            self._tasks.remove(task)
            self._write(_CLEAR + last)

    def _draw_until(self, ended: threading.Event) -> None:
        while not ended.wait(_REDRAW):
            self.draw()

    def draw(self) -> None:
        """Draw the line of the newest task."""
        with self._lock:
            if self._tasks:
                self._write(_CLEAR + cut(self.line(self._tasks[-1]), self._columns() - 1))

    def line(self, task: LiveTask) -> str:
        """Return the live line of a task, of any length."""
        seconds = self._clock() - task.start
        known = task.count.done or task.count.total
        columns = (
            task.title,
            task.count.bar(self._full, self._empty),
            task.count.text() if known else "",
            task.count.rate(seconds) or clock_time(seconds),
            task.noted,
        )
        return "  ".join(text for text in columns if text)

    def say(self, text: str) -> None:
        """Print one line above the live line."""
        with self._lock:
            self._write(f"{_CLEAR}{plain(text)}\n")

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._out.fileno()).columns or _NARROW
        except (OSError, ValueError):  # the stream is not a terminal
            return _NARROW

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def _write(self, text: str) -> None:
        encoding = getattr(self._out, "encoding", None) or "utf-8"
        self._out.write(text.encode(encoding, "replace").decode(encoding))
        self._out.flush()


def progress_for(out: TextIO, environment: Mapping[str, str]) -> PlainProgress | TerminalProgress:
    """Choose the display: live on a capable terminal, plain lines everywhere else."""
    if out.isatty() and environment.get("TERM", "dumb") != "dumb" and not environment.get("CI"):
        return TerminalProgress(out, colour=not environment.get("NO_COLOR"))
    return PlainProgress(out)

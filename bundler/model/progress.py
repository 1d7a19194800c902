"""Reporting the progress of long tasks: an interface, and an implementation that shows nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """A long task that is running."""

    def advance(self, amount: int) -> None:
        """Report that ``amount`` more bytes or items are done; never negative."""

    def note(self, text: str) -> None:
        """Report what is being worked on at the moment."""


class Progress(Protocol):
    """Where steps report their progress; the command line implements it."""

    def task(self, title: str, *, total: int | None = None, unit: str = "items") -> AbstractContextManager[Task]:
        """Begin a task; ``unit`` is ``bytes`` or ``items``. Use as a context manager."""

    def say(self, text: str) -> None:
        """Show one line about something that is finished."""


class _SilentTask:
    def advance(self, amount: int) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class SilentProgress:
    """Progress that shows nothing, for tests and ``--quiet``."""

    @contextmanager
    def _scope(self) -> Iterator[Task]:
        yield _SilentTask()

    def task(self, title: str, *, total: int | None = None, unit: str = "items") -> AbstractContextManager[Task]:  # noqa: ARG002
        """Begin a task that is not shown."""
        return self._scope()

    def say(self, text: str) -> None:
        """Say nothing."""

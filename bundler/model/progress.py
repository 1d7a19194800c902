"""How long work reports itself: an interface, and its silent twin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One piece of long work under way."""

    def advance(self, amount: int) -> None:
        """Say that ``amount`` more (bytes or items) is done; never negative."""

    def note(self, text: str) -> None:
        """Say what is being worked on just now."""


class Progress(Protocol):
    """Where steps tell their story; implemented by the command line."""

    def task(self, title: str, *, total: int | None = None, unit: str = "items") -> AbstractContextManager[Task]:
        """Begin a piece of work; ``unit`` is ``bytes`` or ``items``. Use as a context manager."""

    def say(self, text: str) -> None:
        """Tell one finished fact in a line."""


class _SilentTask:
    def advance(self, amount: int) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class SilentProgress:
    """Progress that nobody watches: for tests and for ``--quiet``."""

    @contextmanager
    def _scope(self) -> Iterator[Task]:
        yield _SilentTask()

    def task(self, title: str, *, total: int | None = None, unit: str = "items") -> AbstractContextManager[Task]:  # noqa: ARG002
        """Begin work that is not shown."""
        return self._scope()

    def say(self, text: str) -> None:
        """Say nothing."""

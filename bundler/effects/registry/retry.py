"""When to send a request again: exponential backoff with jitter, interrupted at once when the task is cancelled."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from bundler.effects.registry import faults
from bundler.errors import RegistryError

_FIRST = 0.4  # seconds
_LONGEST = 20.0
WORTH_TELLING = 2.0  # seconds
_MOST_SLOWED_DOWN = 10
"""Times ``attempts`` that one task may be asked to slow down while others go on: then it is meant alone."""
_LONGEST_ASKED_FOR = 300.0  # a server may ask for a longer pause than the backoff would make


def backoff(failures: int, jitter: Callable[[], float] = random.random) -> float:
    """Return how many seconds to wait after so many failures in a row."""
    return min(_LONGEST, _FIRST * 2.0 ** (failures - 1)) * (0.5 + jitter() / 2)


class CancelledError(Exception):
    """The task was cancelled, because another part of it failed or the user interrupted it."""


@dataclass
class Cancellation:
    """Shared by everything that works on one task: once cancelled, all of it ends soon."""

    _event: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Cancel the task."""
        self._event.set()

    def check(self) -> None:
        """Raise ``CancelledError`` where the task was cancelled."""
        if self._event.is_set():
            raise CancelledError

    def sleep(self, seconds: float) -> None:
        """Wait; raise ``CancelledError`` as soon as the task is cancelled."""
        if self._event.wait(seconds):
            raise CancelledError


@dataclass
class Retries:
    """Counts the failures of one task: the one that makes ``attempts`` in a row without progress is raised."""

    attempts: int
    cancellation: Cancellation
    jitter: Callable[[], float] = random.random
    failures: int = 0
    slowed_down: int = 0
    refusals: Callable[[str], int] | None = None
    """How often in a row the host of a URL has asked all requests to slow down; who tells this also makes them wait."""
    waiting: Callable[[str, float], None] = lambda why, seconds: None  # noqa: ARG005
    """Gets told of long pauses: why, and how many seconds."""

    def reset(self) -> None:
        """Forget earlier failures: the last attempt made progress."""
        self.failures = self.slowed_down = 0

    def wait_after(self, error: RegistryError) -> None:
        """Wait before the next attempt, or raise the error where there should be none.

        The server may say how long to wait. An error that does not pass by itself is raised at once.
        """
        if self.refusals and isinstance(error, faults.RefusedError) and error.is_busy:
            self.slowed_down += 1
            most = self.attempts * (_MOST_SLOWED_DOWN if error.asks_to_slow_down else 1)
            if self.refusals(error.url) >= self.attempts or self.slowed_down >= most:
                raise error
            return  # the next request waits with all others
        self.failures += 1
        if self.failures >= self.attempts or not faults.transient(error):
            raise error
        asked_for = (
            error.retry_after if isinstance(error, (faults.RefusedError, faults.RegistryUnreachableError)) else None
        )
        if asked_for is not None:
            pause = min(asked_for, _LONGEST_ASKED_FOR) + self.jitter() * _FIRST
        else:
            pause = backoff(self.failures, self.jitter)
        if pause >= WORTH_TELLING:
            self.waiting(error.problem.rstrip("."), pause)
        self.cancellation.sleep(pause)

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
_LONGEST_ASKED_FOR = 300.0  # a server may ask for a longer pause than the backoff would make


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

    def reset(self) -> None:
        """Forget earlier failures: the last attempt made progress."""
        self.failures = 0

    def wait_after(self, error: RegistryError) -> None:
        """Wait before the next attempt, or raise the error where there should be none.

        The server may say how long to wait. An error that does not pass by itself is raised at once.
        """
        self.failures += 1
        if self.failures >= self.attempts or not faults.transient(error):
            raise error
        asked_for = (
            error.retry_after if isinstance(error, (faults.RefusedError, faults.RegistryUnreachableError)) else None
        )
        if asked_for is not None:
            self.cancellation.sleep(min(asked_for, _LONGEST_ASKED_FOR) + self.jitter() * _FIRST)
        else:
            self.cancellation.sleep(min(_LONGEST, _FIRST * 2.0 ** (self.failures - 1)) * (0.5 + self.jitter() / 2))

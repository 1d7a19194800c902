"""When to try again: backoff with jitter, interrupted at once when the work is called off."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from bundler.effects.registry import faults
from bundler.errors import RegistryError

_FIRST = 0.4  # seconds
_LONGEST = 20.0
_LONGEST_ASKED_FOR = 300.0  # a server may ask for more patience than we would have by ourselves


class CalledOffError(Exception):
    """The work was called off, because another part of it failed or the user interrupted it."""


@dataclass
class Cancellation:
    """Shared by everything that works on one task: when set, all of it ends soon."""

    _event: threading.Event = field(default_factory=threading.Event)

    def set(self) -> None:
        """Call the work off."""
        self._event.set()

    def check(self) -> None:
        """Raise ``CalledOffError`` where the work was called off."""
        if self._event.is_set():
            raise CalledOffError

    def sleep(self, seconds: float) -> None:
        """Wait; raise ``CalledOffError`` as soon as the work is called off."""
        if self._event.wait(seconds):
            raise CalledOffError


@dataclass
class Patience:
    """Counts the failures of one piece of work; ``attempts`` in a row without progress are borne."""

    attempts: int
    call_off: Cancellation
    jitter: Callable[[], float] = random.random
    failures: int = 0

    def progressed(self) -> None:
        """Forget earlier failures: something came of the last attempt."""
        self.failures = 0

    def bear(self, error: RegistryError) -> None:
        """Wait before the next attempt, as long as the server says where it does, or raise the error.

        What cannot pass by itself is raised at once.
        """
        self.failures += 1
        if self.failures >= self.attempts or not faults.transient(error):
            raise error
        asked_for = error.retry_after if isinstance(error, faults.RefusedError) else None
        if asked_for is not None:
            self.call_off.sleep(min(asked_for, _LONGEST_ASKED_FOR) + self.jitter() * _FIRST)
        else:
            self.call_off.sleep(min(_LONGEST, _FIRST * 2.0 ** (self.failures - 1)) * (0.5 + self.jitter() / 2))

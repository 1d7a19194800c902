"""Progress of many transfers at once, in bytes, that never goes back."""

from __future__ import annotations

import threading

from bundler.model.progress import Task


class Meter:
    """Counts each byte of a transfer once, however often it had to be sent; safe to share between threads."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._lock = threading.Lock()
        self._reached: dict[str, int] = {}

    def reached(self, transfer: str, position: int) -> None:
        """Say that the transfer of this name has come to ``position`` bytes."""
        with self._lock:
            ahead = position - self._reached.get(transfer, 0)
            if ahead > 0:
                self._reached[transfer] = position
                self._task.advance(ahead)

    def note(self, text: str) -> None:
        """Say what is being worked on."""
        with self._lock:
            self._task.note(text)

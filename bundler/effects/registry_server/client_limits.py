"""What a client may take of the server: connections, and time for a request and for reading its answer."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CONNECTIONS: Final = 1024
CONNECTIONS_OF_ONE: Final = 128  # of one address; the busiest clients open a dozen
IDLE: Final = 60.0  # seconds that a silent client is borne
HEAD: Final = 20.0  # seconds from the first byte of a request to the last of its head
SLOWEST: Final = 16 << 10  # bytes a second that a client reads an answer at, after the first ``IDLE`` seconds


class Places:
    """The connections that are open, by address."""

    def __init__(self, total: int = CONNECTIONS, of_one: int = CONNECTIONS_OF_ONE) -> None:
        self._total, self._of_one = total, of_one
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, address: str) -> bool:
        """Take a place for a connection; False where there is none."""
        with self._lock:
            if self._taken[address] >= self._of_one or self._taken.total() >= self._total:
                return False
            self._taken[address] += 1
            return True

    def leave(self, address: str) -> None:
        """Give a place back."""
        with self._lock:
            self._taken[address] -= 1
            if self._taken[address] <= 0:
                del self._taken[address]


class RequestReader(io.RawIOBase):
    """Reads requests from a socket: a client may be silent between them, but must end the head of one in time."""

    def __init__(
        self, client: socket.socket, *, head: float = HEAD, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client, self._head, self._clock = client, head, clock
        self._end: float | None = None

    def readable(self) -> bool:
        """Tell that this can be read."""
        return True

    def between_requests(self) -> None:
        """Begin to wait for the next request."""
        self._end = None

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read what there is; raise ``TimeoutError`` where the client took too long."""
        left = IDLE if self._end is None else self._end - self._clock()
        if left <= 0:
            raise TimeoutError("the head of a request took too long")
        self._client.settimeout(min(left, IDLE))
        try:
            count = self._client.recv_into(buffer)
        finally:
            self._client.settimeout(IDLE)
        if self._end is None:
            self._end = self._clock() + self._head
        return count


class Deadline:
    """The time in which a client must have read an answer of so many bytes."""

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + IDLE + size / SLOWEST

    def left(self) -> float:
        """Return the seconds to wait for the client now; raise ``TimeoutError`` where its time is over."""
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutError("the client reads too slowly")
        return min(left, IDLE)

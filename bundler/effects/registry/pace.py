"""Answers that must not drip: each byte would start a socket's time limit again, and the whole would never end."""

from __future__ import annotations

import io
import socket
import time
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LEAST: Final = 16 << 10
"""Bytes that make a step: with them the time that an answer may take begins again."""
_LIMITS: Final = 3  # times the socket's own limit, for each step


class PacedResponse(HTTPResponse):
    """An answer, head and body, that raises ``TimeoutError`` where it comes too slowly to be of use."""

    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp = io.BufferedReader(_Paced(self.fp.detach(), sock))


class _Paced(io.RawIOBase):
    """What a socket brings; only time that is spent waiting for it counts."""

    def __init__(self, raw: io.RawIOBase, connection: socket.socket) -> None:
        self._raw = raw
        self._connection = connection
        self._waited = 0.0
        self._received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        begin = time.monotonic()
        count: int | None = self._raw.readinto(buffer)
        self._waited += time.monotonic() - begin
        self._received += count or 0
        limit = self._connection.gettimeout()
        if self._received >= LEAST:
            self._waited, self._received = 0.0, 0
        elif count and limit and self._waited > _LIMITS * limit:
            raise TimeoutError(f"only {self._received} bytes came in {self._waited:.0f} s")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()

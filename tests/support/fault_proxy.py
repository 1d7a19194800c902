"""A proxy between a client and a registry that breaks things on purpose, and remembers what passed."""

from __future__ import annotations

import io
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto

_PIECE = 1 << 14


class Kind(Enum):
    """What goes wrong."""

    RESET_REQUEST = auto()  # the connection is reset when ``after`` bytes of the request's body have passed
    RESET_ANSWER = auto()  # ... when ``after`` bytes of the answer have passed, its head included
    STALL = auto()  # nothing more passes after ``after`` bytes of the request's body, and nothing is closed
    ANSWER = auto()  # the proxy answers itself, with ``status`` and ``headers``
    REWRITE = auto()  # ``headers`` of the registry's answer are replaced


@dataclass
class Fault:
    """Goes wrong ``times`` times, with requests of that method whose path matches."""

    kind: Kind
    method: str = ".*"
    path: str = ".*"
    times: int = 1
    after: int = 0
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Exchange:
    """One request that passed, and how many bytes of its body came from the client."""

    method: str
    path: str
    headers: dict[str, str]
    body_bytes: int = 0
    status: int | None = None


class _BreakError(Exception):
    """Both connections are to be reset."""


class FaultProxy:
    """Forwards HTTP to ``upstream``; every fault in ``faults`` happens to the first requests that it fits."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        self.faults: list[Fault] = []
        self.exchanges: list[Exchange] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.happened = 0
        self._ended = threading.Event()

    def count(self, method: str, path: str = ".*") -> int:
        with self._lock:
            return sum(bool(one.method == method and re.search(path, one.path)) for one in self.exchanges)

    @property
    def body_bytes(self) -> int:
        """Bytes of blobs that the client has sent."""
        with self._lock:
            return sum(one.body_bytes for one in self.exchanges if "/blobs/" in one.path)

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def stop(self) -> None:
        self._ended.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _fault(self, exchange: Exchange) -> Fault | None:
        with self._lock:
            self.exchanges.append(exchange)
            for fault in self.faults:
                if fault.times and re.fullmatch(fault.method, exchange.method) and re.search(fault.path, exchange.path):
                    fault.times -= 1
                    self.happened += 1
                    return fault
        return None

    def _serve(self, client: socket.socket) -> None:
        upstream: socket.socket | None = None
        reading = client.makefile("rb")
        try:
            if client.recv(1, socket.MSG_PEEK) == b"\x16":  # someone tries TLS
                return
            while head := _head(reading):
                if upstream is None:
                    upstream = socket.create_connection(self.upstream)
                    answers = upstream.makefile("rb")
                self._exchange(head, client, reading, upstream, answers)
        except (_BreakError, OSError):
            _reset(client)
            if upstream:
                _reset(upstream)
        finally:
            reading.close()
            client.close()
            if upstream:
                answers.close()
                upstream.close()

    def _exchange(
        self,
        head: list[bytes],
        client: socket.socket,
        reading: io.BufferedReader,
        upstream: socket.socket,
        answers: io.BufferedReader,
    ) -> None:
        method, path, _ = head[0].decode().split(" ", 2)
        headers = _headers(head)
        exchange = Exchange(method, path, headers)
        fault = self._fault(exchange)
        left = int(headers.get("content-length", "0"))
        if fault and fault.kind is Kind.ANSWER:
            while left:
                piece = reading.read1(min(left, _PIECE))
                if not piece:
                    raise _BreakError
                left -= len(piece)
            lines = [f"HTTP/1.1 {fault.status} Injected", "Content-Length: 0"]
            lines += [f"{name}: {value}" for name, value in fault.headers.items()]
            exchange.status = fault.status
            client.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            return
        upstream.sendall(b"\r\n".join(head) + b"\r\n\r\n")
        while left:
            if fault and exchange.body_bytes >= fault.after:
                self._break_request(fault)
            piece = reading.read1(min(left, _PIECE))
            if not piece:
                raise _BreakError
            exchange.body_bytes += len(piece)
            left -= len(piece)
            upstream.sendall(piece)
        if fault and fault.kind is Kind.STALL:
            self._break_request(fault)
        self._answer(exchange, fault, client, answers)

    def _break_request(self, fault: Fault) -> None:
        if fault.kind is Kind.RESET_REQUEST:
            time.sleep(0.05)  # so that the registry has read what was sent before the reset
            raise _BreakError
        if fault.kind is Kind.STALL:
            self._ended.wait()
            raise _BreakError

    def _answer(
        self, exchange: Exchange, fault: Fault | None, client: socket.socket, answers: io.BufferedReader
    ) -> None:
        head = _head(answers)
        if not head:
            raise _BreakError
        exchange.status = int(head[0].split(b" ")[1])
        left = 0 if exchange.method == "HEAD" else int(_headers(head).get("content-length", "0"))
        if fault and fault.kind is Kind.REWRITE:
            kept = [line for line in head if line.split(b":")[0].decode().lower() not in map(str.lower, fault.headers)]
            head = [*kept, *(f"{name}: {value}".encode() for name, value in fault.headers.items())]
        budget = fault.after if fault and fault.kind is Kind.RESET_ANSWER else None
        piece = b"\r\n".join(head) + b"\r\n\r\n"
        while True:
            if budget is not None and budget <= len(piece):
                client.sendall(piece[:budget])
                time.sleep(0.05)
                raise _BreakError
            client.sendall(piece)
            budget = budget - len(piece) if budget is not None else None
            if not left:
                return
            piece = answers.read(min(left, _PIECE))
            left -= len(piece)


def _head(stream: io.BufferedReader) -> list[bytes]:
    """Read a request's or an answer's head as lines."""
    lines: list[bytes] = []
    while (line := stream.readline().rstrip(b"\r\n")) or not lines:
        if not line:
            return []
        lines.append(line)
    return lines


def _headers(head: list[bytes]) -> dict[str, str]:
    pairs = (line.decode().partition(":") for line in head[1:])
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def running(upstream: str) -> Iterator[FaultProxy]:
    """Run a proxy before ``upstream`` (HOST:PORT)."""
    host, _, port = upstream.rpartition(":")
    proxy = FaultProxy((host, int(port)))
    thread = threading.Thread(target=proxy.run, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join()

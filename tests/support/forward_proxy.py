"""A forward proxy (CONNECT, and plain requests by absolute URL) that knows hosts which no resolver knows."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class ForwardProxy:
    """Forwards to ``hosts`` (HOST:PORT -> address); ``seen`` holds the first line and the login of each connection."""

    hosts: Mapping[str, tuple[str, int]]
    rule: Callable[[str, Mapping[str, str]], str | None] = lambda line, headers: None  # noqa: ARG005
    """Asked first with the first line and the headers (in lower case): a status line to refuse with, or None."""
    seen: list[tuple[str, str]] = field(default_factory=list)
    address: str = ""

    def serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                piece = client.recv(1 << 16)
                if not piece:
                    return
                head += piece
            line, *rest = head.split(b"\r\n")
            login = next((row.decode() for row in rest if row.lower().startswith(b"proxy-authorization:")), "")
            self.seen.append((line.decode(), login.partition(" ")[2]))
            headers = {name.lower(): value.strip() for name, _, value in (row.decode().partition(":") for row in rest)}
            if refusal := self.rule(line.decode(), headers):
                client.sendall(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
                return
            method, target, _ = line.decode().split(" ")
            host = target if method == "CONNECT" else urlsplit(target).netloc
            if host not in self.hosts:
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(self.hosts[host]) as upstream:
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                else:
                    upstream.sendall(head.replace(f"http://{host}".encode(), b"", 1))
                back = threading.Thread(target=_copy, args=(upstream, client), daemon=True)
                back.start()
                _copy(client, upstream)
                back.join(5)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            # A second request on a plain connection names the host again; registries take that, too (RFC 9112, 3.2.2).
            target.sendall(piece)
    for side in (source, target):
        with suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)


@contextmanager
def running(
    hosts: Mapping[str, tuple[str, int]],
    rule: Callable[[str, Mapping[str, str]], str | None] = lambda line, headers: None,  # noqa: ARG005
) -> Iterator[ForwardProxy]:
    """Run a proxy on a loopback port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = ForwardProxy(hosts, rule, address=f"127.0.0.1:{listener.getsockname()[1]}")

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=proxy.serve, args=(client,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()

"""Tunnels through an HTTP proxy, asked for as strict proxies want it (RFC 9110, section 9.3.6)."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from email.message import Message
from http import HTTPStatus
from http.client import HTTPException

from bundler.effects.registry.pace import PacedResponse


class ProxyRefusedError(OSError):
    """A proxy did not make a tunnel; ``login_sent`` tells whether it got a login."""

    def __init__(self, status: int, reason: str, headers: Message, *, login_sent: bool) -> None:
        super().__init__(f"it answered {status} {reason}".rstrip())
        self.status = status
        self.headers = headers
        self.login_sent = login_sent


def open_tunnel(connection: socket.socket, host: str, port: int, headers: Mapping[str, str]) -> None:
    """Let a proxy lead a connection on to a host.

    ``http.client`` can do this, but up to CPython 3.11 speaks HTTP/1.0 without ``Host`` and forgets the brackets of
    IPv6 addresses, which Envoy, Squid's rules and others refuse.

    Raises:
        ProxyRefusedError: the proxy answered, and refused.
        OSError: no answer came that can be read.
    """
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [
        f"CONNECT {authority} HTTP/1.1",
        f"Host: {authority}",
        *(f"{name}: {text}" for name, text in headers.items()),
    ]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
    answer = PacedResponse(connection, method="CONNECT")
    try:
        answer.begin()
        if answer.status // 100 != HTTPStatus.OK // 100:
            login_sent = "Proxy-Authorization" in headers
            raise ProxyRefusedError(answer.status, answer.reason, answer.headers, login_sent=login_sent)
    except HTTPException as error:
        raise OSError(f"its answer is not HTTP ({type(error).__name__})") from error
    finally:
        answer.close()

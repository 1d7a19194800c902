"""HTTP/1.1 for registries: connections that are kept and shared, proxies, time limits, bodies that stream both ways.

``http.client`` speaks the protocol. A library above it would take as long to import as a push that finds everything in
place takes to run, and would copy every part of a blob once more.
"""

from __future__ import annotations

import base64
import re
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from functools import lru_cache
from http import HTTPStatus
from http.client import HTTPConnection, HTTPSConnection, IncompleteRead, InvalidURL
from typing import Final, Protocol
from urllib.parse import quote, unquote, urlsplit

from bundler.effects.registry.pace import PacedResponse
from bundler.effects.registry.tunnel import open_tunnel
from bundler.errors import UsageError

_PORTS: Final = {"http": 80, "https": 443}
_ORIGIN: Final = re.compile(r"[^:/?#]*://[^/?#]*")
# What may stand in a request's target as it is (RFC 3986); a server that sends us somewhere may forget to encode.
_AS_IT_IS: Final = "/%?=&:;@+$,!~*'()[]"


class NotConnectedError(OSError):
    """No connection was made to the server, or none through ``proxy``, which is HOST:PORT."""

    def __init__(self, reason: OSError, *, proxy: str | None = None) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.proxy = proxy


class Body(Protocol):
    """What is left of an answer; ``length`` bytes, or None where the server did not say how many."""

    length: int | None

    def read(self, amount: int = ..., /) -> bytes:
        """Return at most so many bytes, fewer only at the end."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer; return how many bytes that were, fewer only at the end."""

    def close(self) -> None:
        """Give up what was not read."""


class Response:
    """An answer whose body was not read yet; ``release`` it in the end, so that its connection is used again."""

    def __init__(
        self,
        status: int,
        headers: Message,
        body: Body,
        *,
        keep: Callable[[], None] = lambda: None,
        drop: Callable[[], None] = lambda: None,
    ) -> None:
        self.status = status
        self.headers = headers
        self._body = body
        self._keep = keep
        self._drop = drop

    def begins_at(self, offset: int) -> bool:
        """Tell whether the body begins at this byte of the file; a part that does not say is taken for another one."""
        if self.status != HTTPStatus.PARTIAL_CONTENT:
            return offset == 0
        begin = re.match(r"bytes ([0-9]+)-", self.headers.get("Content-Range", ""))
        return int(begin[1]) == offset if begin else False

    def read(self, amount: int) -> bytes:
        """Return ``amount`` bytes, fewer only at the end; raise ``IncompleteRead`` where that came too early."""
        content = self._body.read(amount)
        if len(content) < amount:
            self._check_end()
        return content

    def read_into(self, buffer: memoryview) -> int:
        """Fill a buffer without a copy in between, and return how many bytes came: none at the end.

        Raises ``IncompleteRead`` where that came too early, but only after all that came was returned.
        """
        count = self._body.readinto(buffer)
        if not count:
            self._check_end()
        return count

    def release(self) -> None:
        """Keep the connection for the next request, or close it where the body was not read to its end."""
        if self._body.length:
            self.close()
        else:
            self._keep()

    def close(self) -> None:
        """Close the connection: what is left of the body must not be taken for the next answer."""
        self._body.close()
        self._drop()

    def _check_end(self) -> None:
        if self._body.length:
            raise IncompleteRead(b"", self._body.length)


@dataclass(frozen=True)
class _Place:
    """Where a connection leads."""

    scheme: str
    host: str
    port: int
    proxy: str | None


class Connections:
    """Connections to any number of servers, at most ``kept`` idle ones each; threads may share them.

    ``connecting`` and ``waiting`` are seconds: until a connection is made, and between two pieces of an exchange;
    ``completing`` until an answer that takes a server long to give. An answer that drips is given up after some of
    these times.
    """

    def __init__(self, *, kept: int, connecting: float, waiting: float, completing: float) -> None:
        self._kept, self._connecting, self._waiting, self._completing = kept, connecting, waiting, completing
        self._idle: dict[_Place, list[HTTPConnection]] = {}
        self._lock = threading.Lock()

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes | memoryview] | None,
        *,
        proxy: str | None,
        context: ssl.SSLContext | None,
        completes: bool = False,
    ) -> Response:
        """Send one request; the answer's head is read, its body is not. ``context`` is for servers with TLS.

        ``completes`` says that the server has much to do before it answers.

        Raises:
            NotConnectedError, OSError, http.client.HTTPException: no answer came.
            UsageError: the proxy is of a kind that is not supported.
        """
        place, target = _parsed(url, proxy)
        connection = self._idle_one(place) or self._new(place, context)
        sent = dict(headers)
        if proxy and place.scheme == "http":
            target = f"http://{urlsplit(url).netloc}{target}"
            sent |= _login(proxy)
        try:
            # A server that refuses answers before it has all of the body, and closes. That answer is still to be had.
            with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
                connection.request(method, target, body, sent)
            if completes:
                connection.sock.settimeout(self._completing)
            answer = connection.getresponse()
            if completes and connection.sock:  # a server may close with its answer
                connection.sock.settimeout(self._waiting)
        except BaseException:
            connection.close()
            raise

        def keep() -> None:
            if answer.isclosed() and not answer.will_close:
                self._give_back(place, connection)
            else:
                answer.close()
                connection.close()

        return Response(answer.status, answer.headers, answer, keep=keep, drop=connection.close)

    def close(self) -> None:
        """Close all that is idle."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for connection in (connection for connections in idle.values() for connection in connections):
            connection.close()

    def _idle_one(self, place: _Place) -> HTTPConnection | None:
        while True:
            with self._lock:
                several = self._idle.get(place)
                if not several:
                    return None
                connection = several.pop()
            if not _dropped(connection):
                return connection
            connection.close()

    def _give_back(self, place: _Place, connection: HTTPConnection) -> None:
        with self._lock:
            several = self._idle.setdefault(place, [])
            if len(several) < self._kept:
                several.append(connection)
                return
        connection.close()

    def _new(self, place: _Place, context: ssl.SSLContext | None) -> HTTPConnection:
        made: HTTPConnection
        if place.scheme == "https":
            context = context or ssl.create_default_context()
            made = HTTPSConnection(place.host, place.port, context=context)
        else:
            made = HTTPConnection(place.host, place.port)
        made.response_class = PacedResponse
        proxy = _address(place.proxy) if place.proxy else None
        try:
            made.sock = socket.create_connection(proxy or (place.host, place.port), self._connecting)
            made.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context and place.scheme == "https":
                if place.proxy:
                    open_tunnel(made.sock, place.host, place.port, _login(place.proxy))
                made.sock = context.wrap_socket(made.sock, server_hostname=place.host)
        except ssl.SSLError:  # an OSError that says more than that the connection failed
            made.close()
            raise
        except OSError as error:
            made.close()
            raise NotConnectedError(error, proxy=f"{proxy[0]}:{proxy[1]}" if proxy else None) from error
        made.auto_open = 0  # what is closed is not to be used again
        made.sock.settimeout(self._waiting)
        self._watch(made.sock)
        return made

    def _watch(self, made: socket.socket) -> None:
        """Let the kernel find out that the peer is gone, also while we wait long for an answer."""
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, int(self._waiting / 2)))
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._waiting * 1000))


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL (RFC 6454): what is the same server, however it is written.

    Raises ``InvalidURL``: servers send us anywhere.
    """
    head = _ORIGIN.match(url)
    try:
        return _origin(head[0] if head else url)
    except InvalidURL as error:
        raise InvalidURL(url) from error


@lru_cache(maxsize=64)
def _origin(head: str) -> tuple[str, str, int]:
    # Asked several times for each request, and always of the same few hosts.
    place, _ = _parsed(head, None)
    return place.scheme, place.host, place.port


def _parsed(url: str, proxy: str | None) -> tuple[_Place, str]:
    """Return where a URL leads, and the target to ask for there; raise ``InvalidURL``: servers send us anywhere."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode()
        place = _Place(parts.scheme, host, parts.port or _PORTS[parts.scheme], proxy)
    except (ValueError, KeyError) as error:  # a port that is not a number, a label that is too long, another scheme
        raise InvalidURL(url) from error
    if not host:
        raise InvalidURL(url)
    return place, quote(parts._replace(scheme="", netloc="", fragment="").geturl() or "/", _AS_IT_IS)


def _dropped(connection: HTTPConnection) -> bool:
    """Tell whether the server has closed an idle connection; nothing else can be read from one."""
    if connection.sock is None:
        return True
    # Not a selector of epoll, which is a file of its own: it would be opened and closed for every request.
    poller = select.poll()
    poller.register(connection.sock, select.POLLIN)
    return bool(poller.poll(0))


def _address(proxy: str) -> tuple[str, int]:
    try:
        parts = urlsplit(proxy)
        host, port = parts.hostname, parts.port or _PORTS["http"]
    except ValueError as error:  # it may hold a password, so it is not shown
        raise UsageError(
            "The address of the proxy for this host is not valid.", remedy="Write http://HOST:PORT in HTTPS_PROXY."
        ) from error
    if parts.scheme != "http" or not host:
        raise UsageError(
            f"The proxy for this host is of the kind {parts.scheme!r}, which is not supported for registries.",
            remedy="Name an HTTP proxy (http://HOST:PORT) in HTTPS_PROXY, or except the host in NO_PROXY.",
        )
    return host, port


def _login(proxy: str) -> dict[str, str]:
    parts = urlsplit(proxy)
    if not parts.username:
        return {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}

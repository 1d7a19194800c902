"""A read-only registry over HTTP: the pull part of the OCI distribution specification, blobs sent by the kernel."""

from __future__ import annotations

import functools
import io
import ipaddress
import logging
import os
import re
import select
import socket
import socketserver
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from bundler.effects import files
from bundler.effects.archive.volumes import Extent
from bundler.effects.registry_server.answers import Reply, answer, error_reply
from bundler.effects.registry_server.catalog import Catalog, ServedBlob
from bundler.effects.registry_server.client_limits import HEAD, IDLE, Deadline, Places, RequestReader
from bundler.effects.registry_server.users import Users
from bundler.errors import UsageError

_LOG = logging.getLogger(__name__)
_TLS_HANDSHAKE = b"\x16"  # the first byte of a TLS ClientHello's record (RFC 8446, section 5.1)
_PART = 1 << 18  # bytes at a time through TLS, which the kernel cannot do for us
_KERNEL_PART = 1 << 24
_LENGTH = re.compile(r"[0-9]{1,18}")
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"
_POLL = 0.1  # seconds between two checks whether to stop


@dataclass(frozen=True)
class ServerTls:
    """Certificate chain and key, both PEM."""

    certificate: Path
    key: Path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        if self.server.tls:
            self.request.settimeout(HEAD)
            # Here, in a thread of the client's own: one that stalls in its handshake holds up nobody else.
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()
        self._requests = RequestReader(self.connection)
        self.rfile.close()
        self.rfile = io.BufferedReader(self._requests)

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            if isinstance(self.request, ssl.SSLSocket):
                self.request.close()  # the server closes only the socket that it accepted

    def handle(self) -> None:
        # Clients that try TLS first (skopeo and podman, even with verification off) wait long for an answer that
        # plain HTTP has not; hung up on, they fall back at once.
        if not self.server.tls and self.connection.recv(1, socket.MSG_PEEK) == _TLS_HANDSHAKE:
            return
        super().handle()

    def handle_one_request(self) -> None:
        self._requests.between_requests()
        super().handle_one_request()

    def parse_request(self) -> bool:
        """Parse a head, and refuse what two readers could take for requests that end at different places."""
        if not super().parse_request():
            return False
        if fault := _framing_fault(self.headers):
            self._end_with(error_reply(HTTPStatus.BAD_REQUEST, "UNSUPPORTED", fault))
            return False
        users = self.server.users
        if users is not None and not users.allow(self.headers.get("Authorization")):
            self._end_with(
                error_reply(
                    HTTPStatus.UNAUTHORIZED,
                    "UNAUTHORIZED",
                    "a login is required",
                    {"WWW-Authenticate": 'Basic realm="bundler", charset="UTF-8"'},
                )
            )
            return False
        return True

    def version_string(self) -> str:
        return "bundler"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
        _LOG.debug("%s %s", self.address_string(), format % args)

    def do_GET(self) -> None:
        self._reply(send_body=True)

    def do_HEAD(self) -> None:
        self._reply(send_body=False)

    def do_POST(self) -> None:
        self._refuse()

    def do_PUT(self) -> None:
        self._refuse()

    def do_PATCH(self) -> None:
        self._refuse()

    def do_DELETE(self) -> None:
        self._refuse()

    def _refuse(self) -> None:
        self._end_with(
            error_reply(
                HTTPStatus.METHOD_NOT_ALLOWED, "UNSUPPORTED", "this registry is read-only", {"Allow": "GET, HEAD"}
            )
        )

    def _end_with(self, reply: Reply) -> None:
        self.close_connection = True  # the body that may follow is not read
        self._send_head(reply, len(reply.body))
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def _reply(self, *, send_body: bool) -> None:
        if self.headers.get("Content-Length", "0") != "0" or self.headers.get("Transfer-Encoding"):
            self.close_connection = True  # a GET with a body: what follows is not a request
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        reply = answer(self.server.catalog, parts.path, query, self.headers.get("Range"))
        blob, begin, end = reply.blob or (None, 0, len(reply.body))
        self._send_head(reply, end - begin)
        if send_body and blob:
            self._send_blob(blob, begin, end)
        elif send_body:
            self.wfile.write(reply.body)

    def _send_head(self, reply: Reply, length: int) -> None:
        self.send_response(reply.status)
        self.send_header("Docker-Distribution-API-Version", "registry/2.0")
        self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_blob(self, blob: ServedBlob, begin: int, end: int) -> None:
        send = _send_through_tls if isinstance(self.connection, ssl.SSLSocket) else _send_from_kernel
        deadline = Deadline(end - begin)
        before = 0
        for extent in blob.extents:
            first, last = max(begin - before, 0), min(end - before, extent.size)
            if first < last:
                send(self.connection, Extent(extent.descriptor, extent.offset + first, last - first), deadline)
            before += extent.size


def _framing_fault(headers: Message) -> str:
    """Return what is wrong with what a head says of the length of its body (RFC 9112, section 6.3), or nothing."""
    lengths, encodings = headers.get_all("Content-Length") or [], headers.get_all("Transfer-Encoding") or []
    if headers.defects:
        return "the head is malformed"
    if lengths and encodings:
        return "both Content-Length and Transfer-Encoding are given"
    if len(lengths) > 1 or not all(_LENGTH.fullmatch(length) for length in lengths):
        return "the Content-Length is not one number"
    if encodings and [text.strip().lower() for text in encodings] != ["chunked"]:
        return "the Transfer-Encoding is not chunked"
    return ""


def _send_from_kernel(client: socket.socket, extent: Extent, deadline: Deadline) -> None:
    """Let the kernel copy a run of bytes from the file to the client."""
    writable = select.poll()
    writable.register(client, select.POLLOUT)
    offset, end = extent.offset, extent.offset + extent.size
    while offset < end:
        left = deadline.left()
        try:
            sent = os.sendfile(client.fileno(), extent.descriptor, offset, min(end - offset, _KERNEL_PART))
        except BlockingIOError:
            if not writable.poll(left * 1000):
                raise TimeoutError("the client reads no more") from None
            continue
        if sent == 0:
            raise ConnectionAbortedError("the bundle became shorter while it was read")
        offset += sent


def _send_through_tls(client: socket.socket, extent: Extent, deadline: Deadline) -> None:
    offset, end = extent.offset, extent.offset + extent.size
    while offset < end:
        client.settimeout(deadline.left())
        chunk = os.pread(extent.descriptor, min(end - offset, _PART), offset)
        if not chunk:
            raise ConnectionAbortedError("the bundle became shorter while it was read")
        client.sendall(chunk)
        offset += len(chunk)


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(
        self, catalog: Catalog, address: tuple[str, int], tls: ssl.SSLContext | None, users: Users | None
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.catalog = catalog
        self.tls = tls
        self.users = users
        self._places = Places()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  (the base class's)
        """Begin a connection, where its client does not have too many."""
        if self._places.take(client_address[0]):
            try:
                super().process_request(request, client_address)
            except BaseException:  # no thread could be started
                self._places.leave(client_address[0])
                raise
            return
        if not self.tls:
            with suppress(OSError):  # it fits into the empty buffer of a new connection
                request.settimeout(0)
                request.send(_FULL)
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Serve a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.leave(client_address[0])

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  (the base class's)
        # A client that hangs up or fails its handshake is normal; any other error is a bug and should be seen.
        ordinary = isinstance(sys.exc_info()[1], OSError)
        _LOG.log(logging.DEBUG if ordinary else logging.ERROR, "%s: broke off", client_address, exc_info=True)


@dataclass(frozen=True)
class Listening:
    """A server that listens; ``port`` is the one that was taken where 0 was asked for."""

    host: str
    port: int
    tls: bool
    loopback: bool
    run: Callable[[], None]
    stop: Callable[[], None]

    @property
    def address(self) -> str:
        """``HOST:PORT``, as references and the command line name it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@contextmanager
def listening(
    catalog: Catalog, listen: str, tls: ServerTls | None = None, users: Users | None = None
) -> Iterator[Listening]:
    """Listen on ``HOST:PORT``; ``run`` serves until ``stop`` is called from another thread.

    With ``users``, nobody else is answered.

    Raises:
        UsageError: the address is malformed, taken, or not this machine's; or the certificate cannot be used.
    """
    host, port = _address(listen)
    try:
        server = _Server(catalog, (host, port), _context(tls) if tls else None, users)
    except OSError as error:
        raise UsageError(
            f"Cannot listen on {listen}: {error.strerror or error}.", remedy="Choose another address with --listen."
        ) from error
    with server:
        taken = server.server_address[1]
        run = functools.partial(server.serve_forever, poll_interval=_POLL)
        loopback = ipaddress.ip_address(str(server.server_address[0])).is_loopback
        yield Listening(host, int(taken), tls is not None, loopback, run, server.shutdown)


@contextmanager
def serving(
    catalog: Catalog, listen: str, tls: ServerTls | None = None, users: Users | None = None
) -> Iterator[Listening]:
    """Serve in the background for as long as the block runs."""
    with listening(catalog, listen, tls, users) as server:
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join()


def _address(listen: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:]+)\]|([^:\[\]]*)):([0-9]{1,5})", listen)
    if match is None or int(match[3]) >= 1 << 16:
        raise UsageError(f"{listen!r} is not an address to listen on.", remedy="Write HOST:PORT, e.g. 127.0.0.1:5000.")
    return match[1] or match[2] or "0.0.0.0", int(match[3])  # noqa: S104  (":5000" asks for every interface)


def _context(tls: ServerTls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for path, what in ((tls.certificate, "the certificate"), (tls.key, "the private key")):
        files.read_content(path, what, remedy="Give readable PEM files that belong together.")
    try:
        context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(
            f"{tls.certificate} and {tls.key} cannot be used as certificate and key: {error}.",
            remedy="Give readable PEM files that belong together.",
        ) from error
    return context

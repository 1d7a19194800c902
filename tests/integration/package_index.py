"""A package index on a loopback port: the simple API as HTML or JSON, logins, ranges, and faults on demand."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import unquote

from packaging.utils import canonicalize_name

from tests.support.certificates import Pair


@dataclass
class PackageIndex:
    """What the index serves and how; ``seen`` are the requests for files: path, range and login of each."""

    wheels: dict[str, bytes]
    login: tuple[str, str] | None = None
    with_sizes: bool = True
    with_hashes: bool = True
    with_ranges: bool = True
    says_ranges: bool = True
    moved: bool = False
    faults: list[int] = field(default_factory=list)
    """For each of the next requests for a file: below 0 break off after so many bytes, else a status."""
    fault_headers: dict[str, str] = field(default_factory=dict)
    """What answers with such a status say."""
    served: dict[str, bytes] = field(default_factory=dict)
    """Other bytes than the index announces, by file name."""
    yanked: dict[str, str] = field(default_factory=dict)
    """Why a file was withdrawn, by its name."""
    seen: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    pair: Pair | None = None
    """What to speak TLS with."""
    port: int = 0
    lock: Lock = field(default_factory=Lock)

    @property
    def url(self) -> str:
        """The index's address, without its login."""
        return f"{'https' if self.pair else 'http'}://127.0.0.1:{self.port}/simple"

    @property
    def url_with_login(self) -> str:
        """The index's address as people write it who keep the password in it."""
        user, password = self.login or ("", "")
        return f"http://{user}:{password}@127.0.0.1:{self.port}/simple"

    @contextmanager
    def running(self) -> Iterator[PackageIndex]:
        """Serve while the block runs."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *arguments: _Handler(self, *arguments))
        if self.pair:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.pair.certificate, self.pair.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        self.port = server.server_address[1]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def page(self, project: str) -> tuple[str, bytes]:
        """Return content type and body of a project's page (PEP 503, PEP 691)."""
        names = [name for name in self.wheels if canonicalize_name(name.partition("-")[0]) == project]
        digests = {name: hashlib.sha256(self.wheels[name]).hexdigest() for name in names}
        if not self.with_sizes:
            fragments = {name: f"#sha256={digests[name]}" if self.with_hashes else "" for name in names}
            links = [f'<a href="../../files/{name}{fragments[name]}">{name}</a>' for name in names]
            return "text/html", f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()
        files = [
            {
                "filename": name,
                "url": f"../../files/{name}",
                "hashes": {"sha256": digests[name]} if self.with_hashes else {},
                "size": len(self.wheels[name]),
                "yanked": self.yanked.get(name, False),
            }
            for name in names
        ]
        page = {"meta": {"api-version": "1.1"}, "name": project, "versions": [], "files": files}
        return "application/vnd.pypi.simple.v1+json", json.dumps(page).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, index: PackageIndex, *arguments: object) -> None:
        self.index = index
        super().__init__(*arguments)  # type: ignore[arg-type]  # request, address, server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        index = self.index
        login = self.headers.get("Authorization")
        if index.login and login != "Basic " + base64.b64encode(":".join(index.login).encode()).decode():
            self.answer(401, b"", {"WWW-Authenticate": 'Basic realm="index"'})
            return
        path = unquote(self.path)
        if match := re.fullmatch(r"/simple/([^/]+)/", path):
            content_type, body = index.page(match[1])
            found = bool(body) and any(canonicalize_name(name.partition("-")[0]) == match[1] for name in index.wheels)
            self.answer(200 if found else 404, body, {"Content-Type": content_type})
        elif path.startswith("/files/") and path.removeprefix("/files/") in index.wheels:
            self.file(path.removeprefix("/files/"), login)
        elif path.startswith("/moved/") and path.removeprefix("/moved/") in index.wheels:
            self.content(index.wheels[path.removeprefix("/moved/")])
        else:
            self.answer(404, b"", {})

    do_HEAD = do_GET  # noqa: N815  (http.server chooses the name)

    def file(self, name: str, login: str | None) -> None:
        index = self.index
        with index.lock:
            index.seen.append((name, self.headers.get("Range"), login))
            fault = index.faults.pop(0) if index.faults and self.command == "GET" else None
        if index.moved:
            self.answer(302, b"", {"Location": f"/moved/{name}"})
        elif fault is not None and fault > 0:
            self.answer(fault, b"", index.fault_headers)
        else:
            self.content(index.served.get(name, index.wheels[name]), -fault if fault else None)

    def content(self, body: bytes, break_after: int | None = None) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not wanted or not self.index.with_ranges:
            self.answer(200, body, {}, break_after)
            return
        start, end = int(wanted[1]), int(wanted[2] or len(body) - 1)
        part = body[start : end + 1]
        told = {"Content-Range": f"bytes {start}-{end}/{len(body)}"} if self.index.says_ranges else {}
        self.answer(206, part, told, break_after)

    def answer(self, status: int, body: bytes, headers: dict[str, str], break_after: int | None = None) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        if self.index.with_ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body if break_after is None else body[:break_after])
        if break_after is not None:
            self.wfile.flush()
            self.close_connection = True

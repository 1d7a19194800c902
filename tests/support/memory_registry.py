"""A registry in memory that keeps what came of a broken upload, as the specification allows and few do."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from bundler.model.digest import Digest
from tests.support.sample_bundles import SampleImage


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Request:
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Iterable[bytes]


@dataclass
class Upload:
    """An upload under way."""

    repository: str
    content: bytearray = field(default_factory=bytearray)
    told: int = 0


@dataclass
class MemoryRegistry:
    """The write part of the distribution specification, with its liberties as switches."""

    resumes: bool = True
    mounts: bool = True
    tells_digests: bool = True
    chunks: bool = True
    """Whether PATCH is known (Google's registry knows PUT alone)."""
    tells_progress: bool = True
    """Whether ``Range`` grows with every chunk (ECR's stays at the first)."""
    keeps_refused: bool = False
    """Whether an upload of another digest stays under way (zot)."""
    most_bytes: int | None = None
    """Bodies that are longer are refused, as by a proxy (413)."""
    before: Callable[[str, str, Mapping[str, str]], Reply | None] = lambda method, target, headers: None  # noqa: ARG005
    """Asked first with each request (method, target, headers in lower case); a reply of its own is the answer."""
    refuses: Callable[[str, bytes], bool] = lambda _reference, _content: False
    """Which manifests are answered with MANIFEST_INVALID, by tag or digest and content."""
    claims: set[str] = field(default_factory=set)
    """Digests of blobs that HEAD says are there (a cache that outlived a garbage collection)."""
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    body_bytes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def handle(self, method: str, target: str, headers: Mapping[str, str], body: Iterable[bytes]) -> Reply:
        with self.lock:
            self.requests.append((method, urlsplit(target).path))
        if own := self.before(method, target, {name.lower(): value for name, value in headers.items()}):
            for _ in body:  # the connection is used again
                pass
            return own
        if method == "HEAD" and (digest := target.rpartition("/blobs/")[2]) in self.claims:
            return Reply(200, self._told(digest))
        return self._answer(method, target, headers, body)

    def _answer(self, method: str, target: str, headers: Mapping[str, str], body: Iterable[bytes]) -> Reply:
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        path = parts.path
        if path == "/v2/":
            return Reply(200, {}, b"{}")
        name, _, rest = path.removeprefix("/v2/").rpartition("/manifests/")
        if name:
            return self._manifest(method, name, rest, headers, body)
        name, _, rest = path.removeprefix("/v2/").rpartition("/blobs/uploads/")
        if name:
            return self._upload(method, name, rest, Request(query, headers, body))
        name, _, rest = path.removeprefix("/v2/").rpartition("/blobs/")
        if name and (name, rest) in self.blobs:
            content = self.blobs[name, rest]
            wanted = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
            if wanted and method == "GET":
                begin = int(wanted[1])
                told = {"Content-Range": f"bytes {begin}-{len(content) - 1}/{len(content)}"}
                return Reply(206, self._told(rest, told), content[begin:])
            return Reply(200, self._told(rest, {"Content-Length": str(len(content))}), content)
        return error(404, "BLOB_UNKNOWN")

    def add(self, repository: str, tag: str, image: SampleImage) -> None:
        """Keep an image, as if it had been pushed."""
        for digest, content in image.blobs.items():
            self.blobs[repository, str(digest)] = content
            named = json.loads(content) if content.startswith(b"{") else {}
            media_type = named.get("mediaType", "") if "schemaVersion" in named else ""
            if media_type:
                self.manifests[repository, str(digest)] = (media_type, content)
        self.manifests[repository, tag] = self.manifests[repository, str(image.root.digest)]

    def _told(self, digest: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
        return {**({"Docker-Content-Digest": digest} if self.tells_digests else {}), **(more or {})}

    def _manifest(
        self, method: str, name: str, reference: str, headers: Mapping[str, str], body: Iterable[bytes]
    ) -> Reply:
        if method == "PUT":
            content = b"".join(body)
            digest = str(Digest.of(content))
            if self.refuses(reference, content):
                return error(400, "MANIFEST_INVALID")
            named = json.loads(content)
            for row in (*named.get("layers", ()), *filter(None, [named.get("config")])):
                if (name, row["digest"]) not in self.blobs:
                    return error(404, "MANIFEST_BLOB_UNKNOWN")
            for row in named.get("manifests", ()):
                if (name, row["digest"]) not in self.manifests:
                    return error(404, "MANIFEST_BLOB_UNKNOWN")
            for key in (reference, digest):
                self.manifests[name, key] = (headers.get("Content-Type", ""), content)
            return Reply(201, self._told(digest))
        if (name, reference) not in self.manifests:
            return error(404, "MANIFEST_UNKNOWN")
        media_type, content = self.manifests[name, reference]
        return Reply(200, self._told(str(Digest.of(content)), {"Content-Type": media_type}), content)

    def _upload(self, method: str, name: str, key: str, request: Request) -> Reply:
        if method == "POST":
            return self._begin(name, request.query)
        upload = self.uploads.get(key)
        if upload is None or upload.repository != name:
            return error(404, "BLOB_UPLOAD_UNKNOWN")
        if method == "GET":
            return Reply(204, self._where(name, key)) if self.resumes else error(404, "BLOB_UPLOAD_INVALID")
        if method == "DELETE":
            del self.uploads[key]
            return Reply(204)
        chunk = method == "PATCH"
        refused = self._receive(upload, request) if self.chunks or not chunk else error(405, "UNSUPPORTED")
        if refused or chunk:
            return refused or Reply(202, self._where(name, key))
        return self._close(name, key, request.query["digest"])

    def _receive(self, upload: Upload, request: Request) -> Reply | None:
        if self.most_bytes is not None and int(request.headers.get("Content-Length", "0")) > self.most_bytes:
            for _ in request.body:  # as a proxy does that reads and throws away
                pass
            return Reply(413)
        begin = request.headers.get("Content-Range", "").partition("-")[0]
        if begin and int(begin) != len(upload.content):
            return error(416, "BLOB_UPLOAD_INVALID")
        for chunk in request.body:
            upload.content += chunk
            with self.lock:
                self.body_bytes += len(chunk)
        return None

    def _close(self, name: str, key: str, digest: str) -> Reply:
        content = bytes(self.uploads[key].content)
        if str(Digest.of(content)) == digest or not self.keeps_refused:
            del self.uploads[key]
        if str(Digest.of(content)) != digest:
            return error(400, "DIGEST_INVALID")
        self.blobs[name, digest] = content
        return Reply(201, self._told(digest, {"Location": f"/v2/{name}/blobs/{digest}"}))

    def _begin(self, name: str, query: Mapping[str, str]) -> Reply:
        mounted = query.get("mount", "")
        if self.mounts and (query.get("from", ""), mounted) in self.blobs:
            self.blobs[name, mounted] = self.blobs[query["from"], mounted]
            return Reply(201, self._told(mounted, {"Location": f"/v2/{name}/blobs/{mounted}"}))
        key = uuid.uuid4().hex
        self.uploads[key] = Upload(name)
        return Reply(202, self._where(name, key))

    def _where(self, name: str, key: str) -> dict[str, str]:
        upload = self.uploads[key]
        upload.told = upload.told or len(upload.content)
        last = max(0, (len(upload.content) if self.tells_progress else upload.told) - 1)
        return {"Location": f"/v2/{name}/blobs/uploads/{key}", "Range": f"0-{last}"}


def error(status: int, code: str, message: str = "", **headers: str) -> Reply:
    """Answer as the distribution specification says; ``headers`` with _ for -."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, told, json.dumps({"errors": [{"code": code, "message": message or code.lower()}]}).encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients break off on purpose here


class _Server6(_Server):
    address_family = socket.AF_INET6


@contextmanager
def running(registry: MemoryRegistry, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve it on a loopback port and yield HOST:PORT."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        rbufsize = 0  # nothing is counted as kept that was only buffered

        def _answer(self) -> None:
            reply = registry.handle(self.command, self.path, dict(self.headers), self._body())
            self.send_response(reply.status)
            for header, value in reply.headers.items():
                if header != "Content-Length":
                    self.send_header(header, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815  (the base class's names)

        def _body(self) -> Iterator[bytes]:
            left = int(self.headers.get("Content-Length", "0"))
            while left:
                chunk = self.rfile.read(min(left, 1 << 16))
                if not chunk:
                    raise ConnectionAbortedError("the client went away")
                left -= len(chunk)
                yield chunk

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
            pass

    with (_Server6 if ":" in host else _Server)((host, 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"[{host}]:{server.server_port}" if ":" in host else f"{host}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()

"""A blob of 5 GB is pushed and served in little memory and no temporary disk; it lies in a sparse file."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3

from bundler.effects.archive import header as archive_header
from bundler.effects.archive.writer import NewFile
from bundler.model import layout, media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.manifest import BundledImage
from bundler.oci import tar
from tests.support import memory, registries, sample_bundles
from tests.support.sample_bundles import AMD64, REGISTRY

pytestmark = pytest.mark.integration

SIZE = 5_000_000_000
LIMIT = 64 << 20  # bytes above an interpreter that does nothing
_PART = 1 << 20


def _digest_of_zeros(size: int) -> Digest:
    state, part = hashlib.sha256(), bytes(_PART)
    for _ in range(size // _PART):
        state.update(part)
    state.update(bytes(size % _PART))
    return Digest(state.hexdigest())


@dataclass(frozen=True)
class Huge:
    """A bundle with one image of one blob of zeros."""

    path: Path
    blob: Digest


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Huge:
    blob = Descriptor(media_types.OCI_LAYER, _digest_of_zeros(SIZE), SIZE)
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [str(blob.digest)]}}
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": Descriptor(media_types.OCI_CONFIG, Digest.of(config), len(config)).to_json(),
            "layers": [blob.to_json()],
        }
    ).encode()
    root = Descriptor(media_types.OCI_MANIFEST, Digest.of(manifest), len(manifest), AMD64)
    blobs = {Digest.of(content): NewFile.of(layout.blob(Digest.of(content)), content) for content in (config, manifest)}
    blobs[blob.digest] = NewFile(layout.blob(blob.digest), SIZE, Path("sparse"))
    size = SIZE + len(config) + len(manifest)
    row = BundledImage("quay.example/huge:1", "mirrored", root, (AMD64,), size, f"{REGISTRY}/huge:1")
    path = tmp_path_factory.mktemp("huge") / "huge.bundle.tar"
    with path.open("wb") as stream:
        for member in sorted(sample_bundles.members([row], blobs), key=lambda member: layout.order(member.path)):
            stream.write(archive_header.encode(member.path, member.size, 0))
            if isinstance(member.content, bytes):
                stream.write(member.content)
            else:
                stream.seek(member.size, os.SEEK_CUR)
            stream.write(tar.padding(member.size))
        stream.write(tar.END)
    assert path.stat().st_blocks * 512 < 100_000_000
    return Huge(path, blob.digest)


class Sink(ThreadingHTTPServer):
    """A registry that hashes what it gets and keeps manifests only; ``received`` is bytes by digest."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self.states: list[hashlib._Hash] = []
        self.sizes: list[int] = []
        self.received: dict[str, int] = {}
        self.manifests: dict[str, bytes] = {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Sink

    def do_GET(self) -> None:
        self._answer(200)

    def do_HEAD(self) -> None:
        name = self.path.rpartition("/")[2]
        if (content := self.server.manifests.get(name)) is not None:
            length = str(len(content))
            digest = str(Digest.of(content))
            self._answer(200, **{"Content-Length": length, "Docker-Content-Digest": digest})
        else:
            self._answer(200 if name in self.server.received else 404)

    def do_POST(self) -> None:
        self.server.states.append(hashlib.sha256())
        self.server.sizes.append(0)
        self._answer(202, Location=f"/upload/{len(self.server.sizes) - 1}", Range="0-0")

    def do_PATCH(self) -> None:
        number = self._take()
        self._answer(202, Location=f"/upload/{number}", Range=f"0-{self.server.sizes[number] - 1}")

    def do_PUT(self) -> None:
        if "/manifests/" in self.path:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            digest = str(Digest.of(content))
            self.server.manifests |= {digest: content, self.path.rpartition("/")[2]: content}
        else:
            number = self._take()
            digest = f"sha256:{self.server.states[number].hexdigest()}"
            self.server.received[digest] = self.server.sizes[number]
        self._answer(201, **{"Docker-Content-Digest": digest})

    def _take(self) -> int:
        number = int(re.sub(r".*/upload/(\d+).*", r"\1", self.path))
        left, buffer = int(self.headers.get("Content-Length", 0)), memoryview(bytearray(_PART))
        while left:
            count = self.rfile.readinto(buffer[: min(left, _PART)])
            assert count
            self.server.states[number].update(buffer[:count])
            left -= count
            self.server.sizes[number] += count
        return number

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": "0", **headers}.items():
            self.send_header(key, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
        pass


@contextmanager
def sink() -> Iterator[Sink]:
    with Sink() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _idle() -> int:
    return memory.peak_of([sys.executable, "-c", "pass"])


def test_a_push_needs_no_more_memory_for_a_blob_of_five_gigabytes_and_no_disk(
    huge: Huge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with sink() as registry:
        command = [sys.executable, "-m", "bundler", "push", str(huge.path), "--plain-http", "--quiet"]
        command += ["--registry", registry.address, "--cache-dir", str(tmp_path / "cache")]
        above = memory.peak_of(command) - _idle()
    assert registry.received[str(huge.blob)] == SIZE
    assert 0 < above < LIMIT
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) == 0


def test_serving_a_blob_of_five_gigabytes_needs_no_more_memory_for_many_clients(huge: Huge, tmp_path: Path) -> None:
    address = f"127.0.0.1:{registries.free_port()}"
    command = [sys.executable, "-m", "bundler", "serve", str(huge.path), "--listen", address]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stderr=log) as server:
        try:
            _wait_for(address, server)
            threads = [threading.Thread(target=_read, args=(address, huge, number)) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            status = Path(f"/proc/{server.pid}/status").read_text()
        finally:
            server.terminate()
    peak = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024
    assert 0 < peak - _idle() < LIMIT


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        assert server.poll() is None
        try:
            socket.create_connection(address.split(":"), timeout=0.1).close()  # type: ignore[arg-type]
        except OSError:
            time.sleep(0.1)
            continue
        return
    pytest.fail("the server does not listen")


def _read(address: str, huge: Huge, number: int) -> None:
    """Read a quarter of the blob."""
    begin, end = SIZE // 4 * number, SIZE // 4 * (number + 1)
    url = f"http://{address}/v2/feast/huge/blobs/{huge.blob}"
    answer = urllib3.request("GET", url, headers={"Range": f"bytes={begin}-{end - 1}"}, preload_content=False)
    assert answer.status == 206
    got = sum(map(len, answer.stream(_PART)))
    assert got == end - begin

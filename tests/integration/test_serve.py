"""Serving a bundle to real clients: skopeo, podman, ours, and many at once."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import urllib3

from bundler.effects.archive.reader import Bundle
from bundler.effects.registry_server import client_limits
from bundler.effects.registry_server.server import Listening, ServerTls, listening, serving
from bundler.effects.registry_server.users import Users
from bundler.errors import UsageError
from bundler.model.digest import Digest
from bundler.model.progress import SilentProgress
from bundler.steps.bundle.images import open_images
from bundler.steps.transport import serve
from bundler.steps.transport.serve import ServeOptions
from tests.support import registries, sample_bundles
from tests.support.certificates import Authority
from tests.support.sample_bundles import AMD64, ARM64, SampleLayer

pytestmark = pytest.mark.integration

LAYERS = [SampleLayer.of(seed, 400_000) for seed in (21, 22, 23)]
MULTI = sample_bundles.index([sample_bundles.image(LAYERS[:2], AMD64), sample_bundles.image(LAYERS[1:], ARM64)])
DOCKER = sample_bundles.image([LAYERS[0]], docker=True)
IMAGES = {"team/multi:2.0": MULTI, "legacy/docker:3": DOCKER}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_bundles.write(tmp_path_factory.mktemp("bundle") / "sample.bundle.tar", IMAGES)


@contextmanager
def served(bundle: Path, tls: ServerTls | None = None, users: Users | None = None) -> Iterator[Listening]:
    with (
        Bundle.open(bundle) as opened,
        serving(serve.catalog(open_images(opened)), "127.0.0.1:0", tls, users) as server,
    ):
        yield server


@pytest.fixture
def server(bundle: Path) -> Iterator[Listening]:
    with served(bundle) as running:
        yield running


def test_skopeo_copies_every_platform_and_keeps_the_digests(server: Listening, tmp_path: Path) -> None:
    skopeo = registries.require("skopeo")
    for name, image in IMAGES.items():
        source = f"docker://{server.address}/feast/{name}"
        target = tmp_path / name.replace("/", "-").replace(":", "-")
        copy = [skopeo, "copy", "--all", "--preserve-digests", "--src-tls-verify=false", source, f"dir:{target}"]
        subprocess.run(copy, check=True, capture_output=True)
        assert (target / "manifest.json").read_bytes() == image.blobs[image.root.digest]


def test_a_client_that_tries_tls_first_is_hung_up_on_at_once(server: Listening) -> None:
    host, _, port = server.address.rpartition(":")
    begin = time.monotonic()
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")
    assert time.monotonic() - begin < 2


def test_tls_is_spoken_where_a_certificate_is_given(bundle: Path, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "ca")
    pair = authority.server()
    context = ssl.create_default_context(cafile=authority.pair.certificate)
    with (
        served(bundle, ServerTls(pair.certificate, pair.key)) as server,
        urllib3.PoolManager(ssl_context=context) as client,
    ):
        digest = Digest.of(LAYERS[0].content)
        answer = client.request("GET", f"https://{server.address}/v2/feast/team/multi/blobs/{digest}")
        assert answer.data == LAYERS[0].content
        ranged = {"Range": "bytes=300000-"}
        answer = client.request("GET", f"https://{server.address}/v2/feast/team/multi/blobs/{digest}", headers=ranged)
        assert answer.data == LAYERS[0].content[300_000:]


def test_sixty_four_clients_are_served_at_once(server: Listening) -> None:
    wanted = [Digest.of(layer.content) for layer in LAYERS]

    def client(number: int) -> bool:
        with urllib3.PoolManager() as pool:
            ok = True
            for digest in (wanted[number % 3], wanted[(number + 1) % 3]):
                answer = pool.request(
                    "GET", f"http://{server.address}/v2/feast/team/multi/blobs/{digest}", retries=False
                )
                ok &= Digest.of(answer.data) == digest
            return ok

    with ThreadPoolExecutor(64) as clients:
        assert all(clients.map(client, range(64)))


def test_a_stalled_client_holds_up_nobody(server: Listening) -> None:
    host, _, port = server.address.rpartition(":")
    with socket.create_connection((host, int(port))) as stalled:
        stalled.sendall(b"GET /v2/ HT")
        assert urllib3.request("GET", f"http://{server.address}/v2/", timeout=5).status == 200


def test_one_connection_serves_many_requests(server: Listening) -> None:
    digest = Digest.of(LAYERS[0].content)
    paths = ["/v2/", f"/v2/feast/team/multi/blobs/{digest}", "/v2/nothing", "/v2/feast/team/multi/tags/list"]
    with urllib3.HTTPConnectionPool(*_split(server.address), maxsize=1) as pool:
        for _ in range(3):
            assert [pool.request("GET", path).status for path in paths] == [200, 200, 404, 200]
            head = pool.request("HEAD", paths[1])
            assert head.headers["Content-Length"] == str(len(LAYERS[0].content))
        assert pool.num_connections == 1


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "blobs/uploads/"),
        ("POST", f"blobs/uploads/?digest=sha256:{'0' * 64}"),
        ("PATCH", "blobs/uploads/some"),
        ("PUT", "manifests/2.0"),
        ("DELETE", "manifests/2.0"),
        ("DELETE", f"blobs/sha256:{'0' * 64}"),
    ],
)
def test_writes_are_refused_as_specified(method: str, path: str, server: Listening) -> None:
    url = f"http://{server.address}/v2/feast/team/multi/{path}"
    answer = urllib3.request(method, url, body=b"x" * 1000 if method in {"PUT", "PATCH"} else None)

    assert answer.status == 405
    assert json.loads(answer.data)["errors"][0]["code"] == "UNSUPPORTED"
    assert answer.headers["Allow"] == "GET, HEAD"


def test_a_taken_port_is_a_clear_error(bundle: Path, server: Listening) -> None:
    with (
        Bundle.open(bundle) as opened,
        pytest.raises(UsageError, match="Cannot listen"),
        serving(serve.catalog(open_images(opened)), server.address),
    ):
        pass


def test_half_a_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="belong together"):
        _ = ServeOptions(tls_cert=tmp_path / "cert.pem").tls


def test_sigterm_ends_it_well(bundle: Path) -> None:
    command = [sys.executable, "-m", "bundler", "serve", str(bundle), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if line.startswith("Serving"):
                break
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert "interrupted" not in process.stderr.read()


def raw(server: Listening, request: bytes, timeout: float = 10) -> bytes:
    """Send bytes and return all that comes back until the server hangs up."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout) as client:
        client.sendall(request)
        answer = b""
        while piece := client.recv(1 << 16):
            answer += piece
        return answer


HEAD = b"GET /v2/ HTTP/1.1\r\nHost: here\r\n"
SMUGGLED = b"GET /v2/_catalog HTTP/1.1\r\nHost: here\r\n\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5, 6\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Content-Length : 5\r\n",
    ],
)
def test_a_head_that_two_readers_would_end_at_different_places_is_refused(lines: bytes, server: Listening) -> None:
    answer = raw(server, HEAD + lines + b"\r\n" + SMUGGLED)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_nothing_behind_a_body_is_taken_for_a_request(server: Listening) -> None:
    answer = raw(server, HEAD + b"Content-Length: 5\r\n\r\nhello" + SMUGGLED)
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_head_that_comes_byte_by_byte_has_an_end(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_limits.RequestReader.__init__, "__kwdefaults__", {"head": 1.0, "clock": time.monotonic})
    with served(bundle) as server, socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        begin = time.monotonic()
        with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
            drip(client, HEAD * 100)
        assert 0.5 < time.monotonic() - begin < 4


def drip(client: socket.socket, content: bytes) -> None:
    """Send bytes one by one, without ever being silent for long."""
    for letter in content:
        client.sendall(bytes([letter]))
        time.sleep(0.05)


def test_one_client_has_so_many_connections_and_others_are_still_served(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_limits.Places.__init__, "__defaults__", (client_limits.CONNECTIONS, 3))
    with served(bundle) as server, ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            client.sendall(HEAD)
        time.sleep(0.3)
        assert raw(server, b"").startswith(b"HTTP/1.1 503 ")
        other = stack.enter_context(
            socket.create_connection(("127.0.0.1", server.port), timeout=10, source_address=("127.0.0.2", 0))
        )
        other.sendall(HEAD + b"\r\n")
        assert other.recv(100).startswith(b"HTTP/1.1 200 ")
    assert client_limits.CONNECTIONS_OF_ONE >= 64


def users(folder: Path, *rows: tuple[str, str]) -> Path:
    lines = []
    for number, (name, password) in enumerate(rows):
        command = ["openssl", "passwd", "-5" if number % 2 else "-6", "-stdin"]
        hashed = subprocess.run(command, input=f"{password}\n", capture_output=True, text=True, check=True).stdout
        lines.append(f"{name}:{hashed.strip()}\n")
    file = folder / "htpasswd"
    file.write_text("# who may pull\n\n" + "".join(lines))
    return file


def test_with_users_nobody_else_is_answered_and_skopeo_logs_in(bundle: Path, tmp_path: Path) -> None:
    asked = Users.read(users(tmp_path, ("node", "secret: with colon"), ("other", "x")))
    with served(bundle, users=asked) as server, urllib3.PoolManager() as pool:
        for headers in ({}, login("node", "wrong"), login("nobody", "x"), {"Authorization": "Basic %%"}):
            answer = pool.request("GET", f"http://{server.address}/v2/_catalog", headers=headers, retries=False)
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith("Basic ")
            assert b"multi" not in answer.data
        for headers in (login("node", "secret: with colon"), login("other", "x")):
            answer = pool.request("GET", f"http://{server.address}/v2/_catalog", headers=headers, retries=False)
            assert answer.status == 200
        source = f"docker://{server.address}/feast/legacy/docker:3"
        copy = [registries.require("skopeo"), "copy", "--src-tls-verify=false", "--src-creds=other:x", source]
        subprocess.run([*copy, f"dir:{tmp_path}/copied"], check=True, capture_output=True)


def login(name: str, password: str) -> dict[str, str]:
    return dict(urllib3.make_headers(basic_auth=f"{name}:{password}"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a:$2y$05$abcdefghijklmnopqrstuuAbCdEfGhIjKlMnOpQrStUvWxYz01234", "bcrypt"),
        ("a:$apr1$abcdefgh$abcdefghijklmnopqrstuv", "MD5-crypt"),
        ("a:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1"),
        ("a:$y$j9T$abc$def", "yescrypt"),
        ("a:plain", "not a SHA-crypt hash"),
        ("a", "not NAME:HASH"),
        ("a:$6$rounds=9999999$salt$" + "a" * 86, "rounds"),
        ("", "does not name a user"),
    ],
)
def test_passwords_that_cannot_be_checked_are_refused_with_what_to_run(line: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_text(line + "\n")
    with pytest.raises(UsageError, match=said) as caught:
        Users.read(tmp_path / "htpasswd")
    assert "openssl passwd -6" in caught.value.remedy
    assert "abcdefgh" not in str(caught.value)


def test_listening_for_more_than_this_machine_is_said_and_no_password_crosses_the_network(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def briefly(*asked: Any) -> Iterator[Listening]:
        with listening(*asked) as server:
            yield replace(server, run=lambda: None)

    monkeypatch.setattr(serve, "listening", briefly)
    said: list[str] = []
    progress = SilentProgress()
    monkeypatch.setattr(progress, "say", said.append, raising=False)
    serve.run(bundle, ServeOptions("0.0.0.0:0"), progress)
    assert "no login (--htpasswd) and no TLS (--tls-cert, --tls-key): everybody there can read these images." in said[0]
    said.clear()
    serve.run(bundle, ServeOptions("127.0.0.1:0"), progress)
    assert not any("Other machines" in line for line in said)
    with pytest.raises(UsageError, match="plain text"):
        serve.run(bundle, ServeOptions("0.0.0.0:0", htpasswd=users(tmp_path, ("a", "b"))), progress)

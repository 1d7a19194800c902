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
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

from bundler.effects.archive.reader import Bundle
from bundler.effects.registry_server.server import Listening, ServerTls, serving
from bundler.errors import UsageError
from bundler.model.digest import Digest
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
def served(bundle: Path, tls: ServerTls | None = None) -> Iterator[Listening]:
    with Bundle.open(bundle) as opened, serving(serve.catalog(open_images(opened)), "127.0.0.1:0", tls) as server:
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

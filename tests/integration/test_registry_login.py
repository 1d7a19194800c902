"""Whom a registry lets in, and who gets to see a login."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from bundler.effects.blobs import BlobStore
from bundler.effects.registry.endpoint import Access, Connection, Endpoint, TlsSettings
from bundler.effects.registry.session import Session
from bundler.errors import RegistryError
from bundler.model.digest import Digest
from bundler.model.progress import SilentProgress
from bundler.steps.sources import mirror
from bundler.steps.transport import push
from tests.support import memory_registry, pushing, registries, sample_bundles
from tests.support.certificates import Authority
from tests.support.memory_registry import MemoryRegistry, Reply, error
from tests.support.pushing import ALONE
from tests.support.sample_bundles import AMD64, SampleLayer

pytestmark = pytest.mark.integration

IMAGE = sample_bundles.image([SampleLayer.of(61, 20_000)])


def _bearer(host: str, **more: str) -> str:
    parameters = {"realm": f"http://{host}/service/token", "service": "harbor-registry", **more}
    return "Bearer " + ",".join(f'{name}="{value}"' for name, value in parameters.items())


def harbor(method: str, target: str, headers: Mapping[str, str]) -> Reply | None:
    """Answer as Harbor does (v2auth, v2token): the root wants a name, a public project a token of anybody."""
    path, login = urlsplit(target).path, headers.get("authorization")
    if path == "/service/token":
        if "scope" not in parse_qs(urlsplit(target).query):
            return error(401, "UNAUTHORIZED")
        return Reply(200, {}, json.dumps({"token": "anonymous", "access_token": "", "expires_in": 1800}).encode())
    if path == "/v2/":
        asked = 'Basic realm="harbor"' if login else _bearer(headers["host"])
        return error(401, "UNAUTHORIZED", "unauthorized: unauthorized", WWW_Authenticate=asked)
    if method not in ("GET", "HEAD") or login != "Bearer anonymous":
        scope = f"repository:{path.removeprefix('/v2/').rsplit('/', 2)[0]}:pull"
        return error(401, "UNAUTHORIZED", WWW_Authenticate=_bearer(headers["host"], scope=scope))
    return None


def pull(address: str, store: BlobStore, connection: Connection = ALONE) -> Digest:
    access = Access(connection, plain_http=True)
    reference = f"{address}/public/app:1.0"
    return mirror.pull(reference, [AMD64], store, progress=SilentProgress(), access=access).root.digest


def test_a_public_project_is_read_by_anybody_where_the_root_wants_a_login(tmp_path: Path) -> None:
    registry = MemoryRegistry(before=harbor)
    registry.add("public/app", "1.0", IMAGE)
    with memory_registry.running(registry) as address:
        assert pull(address, BlobStore(tmp_path / "cache")) == IMAGE.root.digest


def test_a_registry_that_keeps_its_root_to_itself_is_read(tmp_path: Path) -> None:
    registry = MemoryRegistry(before=lambda _, target, __: error(403, "DENIED") if target == "/v2/" else None)
    registry.add("public/app", "1.0", IMAGE)
    with memory_registry.running(registry) as address:
        assert pull(address, BlobStore(tmp_path / "cache")) == IMAGE.root.digest


def test_a_push_without_a_login_is_refused_with_what_to_do(tmp_path: Path) -> None:
    bundle = sample_bundles.write(tmp_path / "sample.bundle.tar", {"app:1.0": IMAGE})
    refused = pytest.raises(RegistryError, match="401")
    with memory_registry.running(MemoryRegistry(before=harbor)) as address, refused as caught:
        push.run(bundle, pushing.options(f"{address}/public"), SilentProgress())
    assert "Log in first" in caught.value.remedy


def test_a_login_that_the_root_refuses_is_tried_once(tmp_path: Path) -> None:
    bundle = sample_bundles.write(tmp_path / "sample.bundle.tar", {"app:1.0": IMAGE})
    seen: list[str] = []

    def refuse(_method: str, _target: str, headers: Mapping[str, str]) -> Reply:
        seen.extend(filter(None, [headers.get("authorization")]))
        return error(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="r"')

    with memory_registry.running(MemoryRegistry(before=refuse)) as address:
        logins = registries.auth_file(tmp_path / "auth.json", {address: ("robot", "wrong")})
        connection = Connection(auth_file=logins, environment={})
        with pytest.raises(RegistryError, match="401") as caught:
            push.run(bundle, pushing.options(address, connection=connection), SilentProgress())
    assert "robot" in caught.value.remedy
    assert len(seen) == 1  # an account is locked after a few


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_blobs_that_lie_elsewhere_are_fetched_without_the_login(host: str, tmp_path: Path) -> None:
    logins_seen: list[str | None] = []

    def store(_method: str, _target: str, headers: Mapping[str, str]) -> None:
        logins_seen.append(headers.get("authorization"))

    elsewhere = MemoryRegistry(before=store)
    elsewhere.add("s", "1.0", IMAGE)
    with memory_registry.running(elsewhere, host=host) as other:

        def redirect(_method: str, target: str, headers: Mapping[str, str]) -> Reply | None:
            if "authorization" not in headers:
                return error(401, "UNAUTHORIZED", WWW_Authenticate="Basic realm=x")
            _, found, digest = target.partition("/blobs/")
            return Reply(307, {"Location": f"http://{other}/v2/s/blobs/{digest}?sig=a"}) if found else None

        registry = MemoryRegistry(before=redirect)
        registry.add("public/app", "1.0", IMAGE)
        with memory_registry.running(registry) as address:
            logins = registries.auth_file(tmp_path / "auth.json", {address: ("robot", "secret")})
            pull(address, BlobStore(tmp_path / "cache"), Connection(auth_file=logins, environment={}))
    assert set(logins_seen) == {None}


def test_a_login_is_not_sent_to_a_token_server_in_plain_text(tmp_path: Path) -> None:
    asked: list[Mapping[str, str]] = []

    def tokens(_method: str, _target: str, headers: Mapping[str, str]) -> Reply:
        asked.append(headers)
        return Reply(200, {}, b'{"token": "t"}')

    authority = Authority.make(tmp_path / "ca")
    pair = authority.server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with memory_registry.running(MemoryRegistry(before=tokens)) as realm:
        asks = error(401, "UNAUTHORIZED", WWW_Authenticate=f'Bearer realm="http://{realm}/token",service=r')
        with memory_registry.running(MemoryRegistry(before=lambda _, __, ___: asks), tls=context) as address:
            logins = registries.auth_file(tmp_path / "auth.json", {address: ("robot", "secret")})
            tls = TlsSettings((authority.pair.certificate,))
            session = Session(Endpoint(address, tls=tls), Connection(auth_file=logins, environment={}))
            with closing(session), pytest.raises(RegistryError, match="in plain text; it was not sent") as caught:
                session.check()
    assert asked == []
    assert "secret" not in str(caught.value)


def test_a_login_goes_to_a_token_server_elsewhere_only_where_that_is_named(tmp_path: Path) -> None:
    seen: list[str | None] = []
    bundle = sample_bundles.write(tmp_path / "sample.bundle.tar", {"app:1.0": IMAGE})
    pair = Authority.make(tmp_path / "ca").server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)

    def tokens(_method: str, _target: str, headers: Mapping[str, str]) -> Reply:
        seen.append(headers.get("authorization"))
        return Reply(200, {}, b'{"token": "t"}')

    def guarded(_method: str, _target: str, headers: Mapping[str, str]) -> Reply | None:
        asked = f'Bearer realm="https://{realm}/token",service=r'
        return None if headers.get("authorization") else error(401, "UNAUTHORIZED", WWW_Authenticate=asked)

    with (
        memory_registry.running(MemoryRegistry(before=tokens), host="127.0.0.2", tls=context) as realm,
        memory_registry.running(MemoryRegistry(before=guarded), tls=context) as address,
    ):
        logins = registries.auth_file(tmp_path / "auth.json", {address: ("robot", "secret")})
        asked = ["push", str(bundle), "--registry", address, "--insecure", "--authfile", str(logins)]
        refused, sent = (
            subprocess.run(
                [sys.executable, "-m", "bundler", *asked, *more],
                capture_output=True,
                check=False,
                text=True,
                cwd=Path(__file__).parents[2],
            )
            for more in ((), ("--token-server", realm))
        )
    assert (refused.returncode, sent.returncode) == (7, 0), sent.stderr
    assert f"--token-server {realm}" in refused.stderr
    assert set(seen) == {f"Basic {base64.b64encode(b'robot:secret').decode()}"}


def test_a_host_that_we_are_sent_to_gives_a_token_to_anybody(tmp_path: Path) -> None:
    seen: list[str | None] = []

    def guarded(method: str, target: str, headers: Mapping[str, str]) -> Reply | None:
        seen.append(headers.get("authorization"))
        return harbor(method, target, headers)

    elsewhere = MemoryRegistry(before=guarded)
    elsewhere.add("mirror/app", "1.0", IMAGE)
    with memory_registry.running(elsewhere, host="127.0.0.2") as other:

        def redirect(_method: str, target: str, headers: Mapping[str, str]) -> Reply | None:
            if "authorization" not in headers:
                return error(401, "UNAUTHORIZED", WWW_Authenticate="Basic realm=x")
            moved = target.replace("/public/", "/mirror/")
            return Reply(307, {"Location": f"http://{other}{moved}"}) if moved != target else None

        with memory_registry.running(MemoryRegistry(before=redirect)) as address:
            logins = registries.auth_file(tmp_path / "auth.json", {address: ("robot", "secret")})
            connection = Connection(auth_file=logins, environment={})
            assert pull(address, BlobStore(tmp_path / "cache"), connection) == IMAGE.root.digest
    assert set(seen) == {None, "Bearer anonymous"}
    assert seen.count(None) <= 2  # the first request, and that for the token


def test_a_host_that_we_are_sent_to_is_named_in_errors(tmp_path: Path) -> None:
    def redirect(_method: str, target: str, _headers: Mapping[str, str]) -> Reply | None:
        return Reply(307, {"Location": f"http://{other}{target}?signature=1"}) if "/blobs/" in target else None

    refusing = MemoryRegistry(before=lambda _, __, ___: error(403, "AccessDenied", "Request has expired"))
    registry = MemoryRegistry(before=redirect)
    registry.add("public/app", "1.0", IMAGE)
    with (
        memory_registry.running(refusing, host="127.0.0.2") as other,
        memory_registry.running(registry) as address,
        pytest.raises(RegistryError, match="403") as caught,
    ):
        pull(address, BlobStore(tmp_path / "cache"))
    assert caught.value.problem.startswith(f"{other}, where the registry {address} sends us,")
    assert "clocks" in caught.value.remedy
    assert "signature" not in str(caught.value)
    assert "Request has expired" in str(caught.value.details)


_STEERS = "\x1b]0;owned\x07\x1b[2K\rVerified\u202e\u2028x"


def _hostile(answered: Reply) -> Callable[[str, str, Mapping[str, str]], Reply]:
    return lambda _method, _target, _headers: answered


@pytest.mark.parametrize(
    "answered",
    [
        error(403, f"DENIED{_STEERS}", _STEERS),
        Reply(500, {}, _STEERS.encode()),
        error(401, "X", WWW_Authenticate='Bearer realm="http://x\x1b[2K.example/",service="\x1b[2K"'),
        error(401, "X", WWW_Authenticate='Bearer realm="\x1b[2Knonsense"'),
        Reply(307, {"Location": "http://\x1b[2K.example:port/"}),
        Reply(307, {"Location": "/v2/\x1b[2K"}),
        Reply(200, {"Docker-Content-Digest": "sha256:\x1b[2K"}),
        Reply(429, {"Retry-After": "0"}, _STEERS.encode()),
    ],
)
def test_what_a_registry_says_does_not_steer_the_terminal(answered: Reply, tmp_path: Path) -> None:
    bundle = sample_bundles.write(tmp_path / "sample.bundle.tar", {"app:1.0": IMAGE})
    with memory_registry.running(MemoryRegistry(before=_hostile(answered))) as address:
        asked = ["push", str(bundle), "--verbose", "--registry", address, "--plain-http", "--retry-times", "1"]
        done = subprocess.run(
            [sys.executable, "-m", "bundler", *asked], capture_output=True, check=False, cwd=Path(__file__).parents[2]
        )
    assert done.returncode == 7, done.stderr
    shown = (done.stdout + done.stderr).decode()
    assert all(letter.isprintable() or letter == "\n" for letter in shown), shown

"""What the registry client decides without a network: destinations, challenges, logins, proxies, mirrors, errors."""

from __future__ import annotations

import base64
import email.utils
import json
import os
import re
import socket
import ssl
import time
from email.message import Message
from http import HTTPStatus
from http.client import IncompleteRead, InvalidURL
from pathlib import Path

import pytest

from bundler.effects.registry import connection_faults, credentials, faults, mirrors, tls
from bundler.effects.registry.challenge import choose, parse
from bundler.effects.registry.endpoint import Connection, Destination, Endpoint, TlsSettings
from bundler.effects.registry.faults import Elsewhere, HttpAnswer
from bundler.effects.registry.http import NotConnectedError
from bundler.effects.registry.mirrors import Location, Rule
from bundler.effects.registry.proxies import proxy_for
from bundler.effects.registry.retry import Cancellation, CancelledError, Retries
from bundler.effects.registry.tunnel import ProxyRefusedError
from bundler.errors import RegistryError, ToolFailedError, ToolMissingError, UsageError
from bundler.model.digest import Digest
from bundler.model.reference import ImageRef


@pytest.mark.parametrize(
    ("text", "host", "prefix"),
    [
        ("registry.internal", "registry.internal", None),
        ("registry.internal:5000/feast", "registry.internal:5000", "feast"),
        ("10.0.0.1:443/team/air-gapped/feast/", "10.0.0.1:443", "team/air-gapped/feast"),
        ("[2001:db8::1]:5000/feast", "[2001:db8::1]:5000", "feast"),
        ("registry", "registry", None),
    ],
)
def test_a_destination_is_a_host_and_a_prefix(text: str, host: str, prefix: str | None) -> None:
    assert Destination.parse(text) == Destination(host, prefix)


@pytest.mark.parametrize(
    "text", ["", "https://registry.internal", "registry:99999", "registry/Feast", "reg istry", "registry//x", "-x/y"]
)
def test_what_is_no_destination_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Destination.parse(text)


def test_docker_hub_is_reached_under_the_name_that_answers() -> None:
    assert Endpoint("docker.io").base_url.startswith("https://registry")
    assert Endpoint("localhost:5000", plain_http=True).base_url == "http://localhost:5000"


def test_challenges_are_read_as_servers_write_them() -> None:
    header = 'Basic realm="a \\"quoted\\" one", Bearer realm="https://auth.example/token",service="r,1" , scope=x'
    assert [(found.scheme, dict(found.parameters)) for found in parse(header)] == [
        ("basic", {"realm": 'a "quoted" one'}),
        ("bearer", {"realm": "https://auth.example/token", "service": "r,1", "scope": "x"}),
    ]
    chosen = choose(header)
    assert chosen
    assert chosen.scheme == "bearer"


@pytest.mark.parametrize(
    "header",
    [
        "Bearer realm=https://auth.example/token?a=b,service=r.example",
        "Bearer service=r.example, realm=https://auth.example/token?a=b",
        "Bearer realm=https://auth.example/token?a=b,scope=repository:x:pull,push,service=r.example",
        'Bearer realm="https://auth.example/token?a=b" service="r.example"',
        "Basic realm=r, Bearer realm=https://auth.example/token?a=b,service=r.example",
        "Bearer realm=https://auth.example/token?a=b,service=r.example, Basic realm=r",
    ],
)
def test_a_challenge_without_quotes_or_commas_is_read(header: str) -> None:
    chosen = choose(header)
    assert chosen
    assert chosen.scheme == "bearer"
    assert chosen.parameters["realm"] == "https://auth.example/token?a=b"
    assert chosen.parameters["service"] == "r.example"
    assert chosen.parameters.get("scope", "repository:x:pull,push") == "repository:x:pull,push"


@pytest.mark.parametrize("header", ["", "Negotiate", "Bearer scope=x", "=,=", 'Basic realm="'])
def test_a_challenge_that_cannot_be_answered_is_not_chosen(header: str) -> None:
    found = choose(header)
    assert found is None or found.scheme == "basic"


def _file(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def _auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def _no_helper(helper: str, server: str) -> str:
    raise AssertionError(f"{helper} was asked for {server}")


def _found(connection: Connection, host: str = "registry.internal", repository: str = "team/app") -> str | None:
    found = credentials.find(host, repository, connection, ask_helper=_no_helper)
    return found.username if found else None


def test_the_longest_key_that_fits_names_the_login(tmp_path: Path) -> None:
    file = _file(
        tmp_path / "auth.json",
        {
            "auths": {
                "registry.internal": _auth("host", "1"),
                "registry.internal/team": _auth("team", "2"),
                "registry.internal/team/other": _auth("other", "3"),
            }
        },
    )
    asked = Connection(auth_file=file, environment={})
    assert _found(asked) == "team"
    assert _found(asked, repository="team/other") == "other"
    assert _found(asked, repository="teams") == "host"
    assert _found(asked, host="elsewhere") is None


def test_files_of_logins_are_asked_in_order(tmp_path: Path) -> None:
    _file(tmp_path / "home/.docker/config.json", {"auths": {"https://registry.internal/v1/": _auth("docker", "x")}})
    environment = {"HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    assert _found(Connection(environment=environment)) == "docker"

    _file(tmp_path / "run/containers/auth.json", {"auths": {"registry.internal": _auth("podman", "x")}})
    assert _found(Connection(environment=environment)) == "podman"

    named = _file(tmp_path / "named.json", {"auths": {"registry.internal": _auth("named", "x")}})
    assert _found(Connection(environment={**environment, "REGISTRY_AUTH_FILE": str(named)})) == "named"

    given = _file(tmp_path / "given.json", {"auths": {}})
    assert _found(Connection(auth_file=given, environment=environment)) is None


def test_docker_hub_is_filed_under_its_old_name(tmp_path: Path) -> None:
    file = _file(tmp_path / "c.json", {"auths": {"https://index.docker.io/v1/": _auth("hub", "x")}})
    assert _found(Connection(auth_file=file, environment={}), host="docker.io") == "hub"


def test_a_helper_is_asked_for_its_hosts_only(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def ask(helper: str, server: str) -> str:
        asked.append((helper, server))
        return json.dumps({"ServerURL": server, "Username": "<token>", "Secret": "identity"})

    file = _file(tmp_path / "c.json", {"credHelpers": {"registry.internal": "vault"}, "credsStore": "desktop"})
    asking = Connection(auth_file=file, environment={})
    found = credentials.find("registry.internal", "team/app", asking, ask_helper=ask)
    assert found
    assert (found.username, found.identity_token) == ("", "identity")
    credentials.find("elsewhere.example", "x", asking, ask_helper=ask)
    assert asked == [("vault", "registry.internal"), ("desktop", "elsewhere.example")]
    assert "identity" not in repr(found)


def test_a_store_of_logins_that_is_not_here_has_no_login(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def ask(helper: str, server: str) -> str:
        raise ToolMissingError(f"no {helper} for {server}")

    file = tmp_path / "config.json"
    file.write_text(json.dumps({"auths": {}, "credsStore": "desktop.exe"}))
    asking = Connection(auth_file=file, environment={})
    assert credentials.find("x.example", "y", asking, ask_helper=ask) is None
    assert "docker-credential-desktop.exe, which is not on PATH: no login for x.example" in caplog.text
    file.write_text(json.dumps({"credHelpers": {"x.example": "named"}}))
    with pytest.raises(ToolMissingError):
        credentials.find("x.example", "y", asking, ask_helper=ask)


def test_a_helper_without_the_login_is_no_failure(tmp_path: Path) -> None:
    def ask(helper: str, server: str) -> str:
        raise ToolFailedError("failed", details=("credentials not found in native keychain",))

    file = _file(tmp_path / "c.json", {"credsStore": "desktop"})
    assert credentials.find("x.example", "y", Connection(auth_file=file, environment={}), ask_helper=ask) is None


def test_a_login_may_have_line_ends_as_the_program_base64_writes_them(tmp_path: Path) -> None:
    written = base64.encodebytes(b"robot:" + b"long " * 20).decode()
    assert written.count("\n") == 2
    file = _file(tmp_path / "auth.json", {"auths": {"registry.internal": {"auth": written}}})
    assert _found(Connection(auth_file=file, environment={})) == "robot"


def test_unusable_files_of_logins_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"file of logins .* does not exist"):
        _found(Connection(auth_file=tmp_path / "absent.json", environment={}))
    (tmp_path / "text.json").write_text("not json")
    with pytest.raises(UsageError, match="not JSON"):
        _found(Connection(auth_file=tmp_path / "text.json", environment={}))
    broken = _file(tmp_path / "broken.json", {"auths": {"registry.internal": {"auth": "%%%"}}})
    with pytest.raises(UsageError, match="base64"):
        _found(Connection(auth_file=broken, environment={}))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="it is not a file"):
        _found(Connection(auth_file=tmp_path / "pipe", environment={}))


PROXY = "http://proxy.internal:3128"


@pytest.mark.parametrize(
    ("url", "no_proxy", "expected"),
    [
        ("https://registry.example/v2/", "", PROXY),
        ("https://registry.example/v2/", "other.example", PROXY),
        ("https://registry.example/v2/", "registry.example", None),
        ("https://registry.example/v2/", ".example", None),
        ("https://registry.example/v2/", "example", None),
        ("https://myexample/v2/", "example", PROXY),
        ("https://registry.example:5000/v2/", "registry.example:443", PROXY),
        ("https://registry.example:5000/v2/", "a, registry.example:5000", None),
        ("https://10.1.2.3/v2/", "10.0.0.0/8", None),
        ("https://10.1.2.3/v2/", "10.9.9.9/8", None),
        ("https://10.1.2.3/v2/", "10.1.2.3/33", PROXY),
        ("https://10.1.2.3/v2/", "10.1.2.", PROXY),
        ("https://registry.example/v2/", "a,\tregistry.example", None),
        ("https://notregistry.example/v2/", "registry.example", PROXY),
        ("https://11.1.2.3/v2/", "10.0.0.0/8", PROXY),
        ("https://[2001:db8::1]/v2/", "2001:db8::/32", None),
        ("https://registry.example/v2/", "*", None),
        ("https://registry.example/v2/", "other.example registry.example", None),
        ("https://registry.example./v2/", "registry.example", None),
        ("https://registry.example/v2/", "EXAMPLE.", None),
        ("https://example/v2/", ".example", None),
        ("https://registry.example/v2/", "*.example", None),
        ("https://registry.example/v2/", ".registry.example:443", None),
        ("https://registry.example/v2/", ",., ,", PROXY),
        ("https://10.1.2.3/v2/", ".2.3,2.3", PROXY),
        ("https://10.1.2.3:5000/v2/", "10.1.2.3:5000", None),
        ("https://10.1.2.3:5000/v2/", "10.0.0.0/8:5000", None),
        ("https://10.1.2.3:5000/v2/", "10.1.2.3:443", PROXY),
        ("https://[2001:db8::1]:5000/v2/", "[2001:db8:0::1]:5000", None),
        ("https://[2001:db8::1]:5000/v2/", "[2001:db8::1]:443", PROXY),
        ("https://[2001:db8::1]:5000/v2/", "[2001:db8::]/32", None),
        ("https://[2001:db8::1]:5000/v2/", "[2001:db8::1]", None),
        ("https://[2001:db8::1]:5000/v2/", "2001:db8::1", None),
        ("https://localhost:5000/v2/", "", None),
        ("https://127.0.0.9:5000/v2/", "", None),
    ],
)
def test_the_proxy_of_the_environment(url: str, no_proxy: str, expected: str | None) -> None:
    assert proxy_for(url, {"HTTPS_PROXY": PROXY, "no_proxy": no_proxy}) == expected


def test_a_proxy_is_for_its_scheme_or_for_all() -> None:
    assert proxy_for("http://r.example/", {"https_proxy": PROXY}) is None
    assert proxy_for("https://r.example:port/", {"https_proxy": PROXY}) is None
    assert proxy_for("http://r.example/", {"ALL_PROXY": "proxy.internal:3128"}) == PROXY


def test_certificates_of_the_host_folder_are_added(tmp_path: Path) -> None:
    folder = tmp_path / ".config/containers/certs.d/registry.internal:5000"
    folder.mkdir(parents=True)
    for name in ("ca.crt", "me.cert", "me.key", "other.cert"):
        (folder / name).touch()
    found = tls.with_host_folders(TlsSettings(), "registry.internal:5000", {"HOME": str(tmp_path)})
    assert found == TlsSettings((folder / "ca.crt",), folder / "me.cert", folder / "me.key")
    given = TlsSettings(client_certificate=Path("mine.pem"))
    kept = tls.with_host_folders(given, "registry.internal:5000", {"HOME": str(tmp_path)})
    assert kept.client_certificate == Path("mine.pem")


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(UsageError, match=r"ca\.pem"):
        tls.context(TlsSettings((tmp_path / "ca.pem",)))


REFERENCE = ImageRef.parse("quay.io/team/app:1.0")


def _places(*rules: Rule, reference: ImageRef = REFERENCE) -> list[str]:
    return [f"{source.reference}{' (own)' * source.own}" for source in mirrors.sources(reference, rules)]


def test_mirrors_are_tried_before_the_source_itself() -> None:
    assert _places() == ["quay.io/team/app:1.0 (own)"]
    rules = mirrors.of_spec(
        [("quay.io", "a.example/q", False), ("quay.io/team", "b.example", True), ("quay.io/tea", "c.example", False)]
    )
    assert _places(*rules) == ["b.example/app:1.0", "quay.io/team/app:1.0 (own)"]


def test_registries_conf_is_read_as_podman_does(tmp_path: Path) -> None:
    conf = tmp_path / "registries.conf"
    conf.write_text(
        """
        unqualified-search-registries = ["docker.io"]
        [[registry]]
        prefix = "quay.io/team"
        location = "moved.example/team"
        mirror-by-digest-only = true
        [[registry.mirror]]
        location = "mirror.example/quay"
        insecure = true
        [[registry]]
        prefix = "*.corp.example"
        [[registry.mirror]]
        location = "cache.example"
        [[registry]]
        location = "docker.io"
        blocked = true
        """
    )
    rules = mirrors.of_host({"CONTAINERS_REGISTRIES_CONF": str(conf)})
    assert _places(*rules) == ["moved.example/team/app:1.0 (own)"]
    pinned = REFERENCE.pinned(Digest("0" * 64))
    assert [text.partition("@")[0] for text in _places(*rules, reference=pinned)] == [
        "mirror.example/quay/app:1.0",
        "moved.example/team/app:1.0",
    ]
    corp = ImageRef.parse("a.corp.example/x/y:1")
    assert _places(*rules, reference=corp)[0] == "cache.example/x/y:1"
    with pytest.raises(UsageError, match=r"blocks docker\.io"):
        _places(*rules, reference=ImageRef.parse("redis:7"))


def test_a_broken_registries_conf_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.conf").write_text("= 1")
    with pytest.raises(UsageError, match=r"r\.conf"):
        mirrors.of_host({"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "r.conf")})
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="it is not a file"):
        mirrors.of_host({"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "pipe")})


def test_the_longest_rule_wins() -> None:
    rules = [
        Rule("quay.io", (Location("short.example"),), Location("quay.io")),
        Rule("quay.io/team/app", (Location("long.example/app"),), Location("quay.io/team/app")),
    ]
    assert _places(*rules)[0] == "long.example/app:1.0"


def _refused(status: int, body: bytes = b"", login: str | None = None, **headers: str) -> faults.RefusedError:
    answer = HttpAnswer(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, body, "http://r/v2/"
    )
    return faults.refused(answer, doing="pushing", host="r.example", login=login)


@pytest.mark.parametrize(
    ("elsewhere", "who"),
    [
        (None, "registry r.example"),
        (Elsewhere("cdn.example"), "cdn.example, where the registry r.example sends us,"),
        (Elsewhere("a.example", is_token_server=True), "a.example, the token server of the registry r.example,"),
    ],
)
def test_an_error_names_the_host_that_answered(elsewhere: Elsewhere | None, who: str) -> None:
    found = faults.refused(
        HttpAnswer(403, {}, b"", "http://x/"), doing="pulling", host="r.example", login=None, elsewhere=elsewhere
    )
    assert f"{who} answered 403 while pulling" in found.problem
    assert ("Log in" in found.remedy) is (elsewhere is None or elsewhere.is_token_server)
    lost = connection_faults.unreachable(TimeoutError(), doing="pulling", host="r.example", elsewhere=elsewhere)
    assert who in lost.problem
    absent = NotConnectedError(TimeoutError("timed out"))
    assert who in connection_faults.unreachable(absent, doing="pulling", host="r.example", elsewhere=elsewhere).problem


def _body(code: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": "so it is"}]}).encode()


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (_refused(401), "Log in first"),
        (_refused(401, login="robot from auth.json"), "robot from auth.json"),
        (_refused(403, _body("DENIED"), login="robot"), "as robot"),
        (_refused(403, _body("DENIED")), "Log in first"),
        (_refused(404, _body("NAME_UNKNOWN")), "Create the project"),
        (_refused(404), "Correct the name"),
        (_refused(405), "read-only"),
        (_refused(407, proxy_authenticate="Basic realm=p"), "USER:PASSWORD@"),
        (_refused(413), "client_max_body_size"),
        (_refused(429), "wait"),
        (_refused(503), "its side"),
        (_refused(507), "no space"),
        (_refused(308, location="https://other.example/v2/?secret=1"), "https://other.example/v2/:"),
        (_refused(400, b"Client sent an HTTP request to an HTTPS server."), "leave --plain-http away"),
        (_refused(418), "log"),
    ],
)
def test_each_refusal_says_what_to_do(error: faults.RefusedError, remedy: str) -> None:
    assert remedy in error.remedy
    assert "r.example" in error.problem
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("status", "code", "message", "said", "remedy"),
    [
        (
            412,
            "DENIED",
            "adding 31.4 MiB of storage resource, which will exceed the configured upper limit of 10.0 GiB.",
            "quota",
            "Raise the quota",
        ),
        (403, "DENIED", "Quota has been exceeded on namespace", "quota", "Raise the quota"),
        (403, "DENIED", "registry contains 5 repositories, limit is 5", "quota", "Raise the quota"),
        (500, "UNKNOWN", "write /var/lib/registry/x: no space left on device", "no space", "make some"),
        (413, "UNKNOWN", "Datastore disk usage is too high", "no space", "make some"),
        (412, "PRECONDITION", "'app:1.0' configured as immutable", "overwritten", "another path"),
        (400, "TAG_INVALID", "The image tag '1.0' already exists and cannot be overwritten", "overwritten", "another"),
        (400, "ImageTagAlreadyExistsException", "exists", "overwritten", "another path"),
        (405, "DENIED", "The operation is disallowed on this registry, repository or image", "overwritten", "another"),
        (400, "UNKNOWN", "Repository does not allow updating assets: docker", "overwritten", "another path"),
        (403, "DENIED", "The system is in read only mode. Any modification is prohibited.", "no pushes", "maintenance"),
        (403, "DENIED", "can not push artifact to a proxy project: cache", "no pushes", "proxy caches"),
    ],
)
def test_a_refusal_in_words_of_a_registry_is_understood(
    status: int, code: str, message: str, said: str, remedy: str
) -> None:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    for login in (None, "robot"):
        error = _refused(status, body, login=login)
        assert said in error.problem
        assert str(status) in error.problem
        assert remedy in error.remedy
        assert error.details
        assert not faults.transient(error)


def test_a_rate_limit_is_not_taken_for_a_quota() -> None:
    body = json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": "Quota exceeded for requests per minute"}]})
    error = _refused(429, body.encode())
    assert error.refusal is None
    assert faults.transient(error)


def test_what_a_registry_says_is_shown_in_short_lines() -> None:
    rows = [{"code": "A\nB", "message": "x\r\n" * 9999, "detail": {"a": "y" * 9999}}] * 100
    error = _refused(400, json.dumps({"errors": rows}).encode())
    assert len(error.details) <= 10
    assert all(len(line) < 700 and "\n" not in line and "\r" not in line for line in error.details)


def test_errors_of_the_specification_are_shown_and_sorted() -> None:
    error = _refused(403, _body("DENIED"))
    assert error.codes == {"DENIED"}
    assert error.details == ("DENIED: so it is",)
    assert _refused(500, b"<html> oops  </html>").details == ("<html> oops </html>",)
    assert len(_refused(500, b"[" * 100_000).details[0]) == 300


def test_only_what_passes_by_itself_is_transient() -> None:
    assert {status for status in range(400, 600) if faults.transient(_refused(status))} == {
        408,
        425,
        429,
        500,
        502,
        503,
        504,
    }


def test_retry_after_is_seconds_or_a_date() -> None:
    assert _refused(429, retry_after="7").retry_after == 7
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    waited = _refused(429, retry_after=date).retry_after
    assert waited is not None
    assert 25 < waited <= 30
    assert _refused(429, retry_after="soon").retry_after is None
    assert _refused(429, retry_after="1.5").retry_after == 1.5
    assert _refused(429, retry_after="9" * 400).retry_after is None


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"retry_after": "5s"}, 5),
        ({"retry_after": "30, 30"}, 30),
        ({"retry_after": "1750000060", "date": "Sun, 15 Jun 2025 15:06:40 GMT"}, 60),
        ({"retry_after": "Sun Jun 15 15:07:40 2025", "date": "Sun, 15 Jun 2025 15:06:40 GMT"}, 60),
        ({"retry_after": "Sunday, 15-Jun-25 15:07:40 GMT", "date": "Sun, 15 Jun 2025 15:06:40 GMT"}, 60),
        ({"ratelimit_reset": "12"}, 12),
        ({"x_ratelimit_reset": "1750000060", "date": "Sun, 15 Jun 2025 15:06:40 GMT"}, 60),
        ({"ratelimit_reset": "12", "retry_after": "3"}, 3),
        ({"ratelimit_remaining": "12"}, None),
        ({"retry_after": "-5"}, None),
        ({"retry_after": "5 bananas"}, None),
    ],
)
def test_a_pause_is_read_however_a_server_writes_it(headers: dict[str, str], pause: float | None) -> None:
    assert _refused(429, **headers).retry_after == pause  # type: ignore[arg-type]


def test_a_date_counts_from_the_servers_own_clock() -> None:
    for shift in (-100_000, 0, 100_000):  # seconds that the clocks differ
        now = time.time() + shift
        told, until = email.utils.formatdate(now), email.utils.formatdate(now + 9)
        assert _refused(429, date=told, retry_after=until).retry_after == 9
    assert _refused(429, date="never", retry_after=email.utils.formatdate(time.time() - 5)).retry_after == 0


@pytest.mark.parametrize(
    ("text", "remedy", "transient"),
    [
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "--plain-http", False),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] unable to get local issuer certificate", "--ca-cert", False),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate in certificate chain", "--ca-cert", False),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] CA certificate key too weak", "certificate issued", False),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired", "Renew", False),
        ("Hostname mismatch, certificate is not valid for 'r'", "another name", False),
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] certificate required", "client certificate", False),
        ("EOF occurred in violation of protocol", "again", True),
    ],
)
def test_each_failure_of_tls_says_what_to_do(text: str, remedy: str, transient: bool) -> None:  # noqa: FBT001
    error = connection_faults.unreachable(ssl.SSLError(1, text), doing="pushing", host="r.example")
    assert remedy in error.remedy
    assert error.transient is transient


def _by_proxy(status: int, *, login_sent: bool = False, **headers: str) -> NotConnectedError:
    told = Message()
    for name, value in headers.items():
        told[name.replace("_", "-")] = value
    reason = ProxyRefusedError(status, HTTPStatus(status).phrase, told, login_sent=login_sent)
    return NotConnectedError(reason, proxy="p:3128")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (_by_proxy(407), "USER:PASSWORD@"),
        (_by_proxy(407, Proxy_Authenticate='Basic realm="p"'), "USER:PASSWORD@"),
        (_by_proxy(407, Proxy_Authenticate='Basic realm="p"', login_sent=True), "refuses the login"),
        (_by_proxy(407, Proxy_Authenticate="Negotiate, NTLM"), "by Negotiate, NTLM only"),
        (_by_proxy(403), "allow CONNECT to r.example"),
    ],
)
def test_each_refusal_of_a_proxy_says_what_to_do(error: NotConnectedError, remedy: str) -> None:
    found = connection_faults.unreachable(error, doing="pushing", host="r.example")
    assert remedy in found.remedy
    assert not found.transient


def test_a_proxy_says_how_long_to_wait() -> None:
    busy = _by_proxy(503, Date="Sun, 29 Nov 2026 10:00:00 GMT", Retry_After="Sun, 29 Nov 2026 10:00:07 GMT")
    assert connection_faults.unreachable(busy, doing="pushing", host="r.example").retry_after == 7


@pytest.mark.parametrize(
    ("error", "said", "transient"),
    [
        (NotConnectedError(socket.gaierror(-2, "Name or service not known")), "does not resolve", True),
        (NotConnectedError(ConnectionRefusedError(111, "Connection refused")), "Connection refused", True),
        (NotConnectedError(TimeoutError("timed out")), "no answer", True),
        (_by_proxy(403), "proxy p:3128 did not let us .*403 Forbidden", False),
        (_by_proxy(503), "503 Service Unavailable", True),
        (_by_proxy(429), "429 Too Many Requests", True),
        (NotConnectedError(ConnectionRefusedError(111, "refused"), proxy="p:3128"), "proxy p:3128 .*: refused", False),
        (NotConnectedError(TimeoutError("timed out"), proxy="p:3128"), "proxy p:3128 .*: timed out", True),
        (TimeoutError("timed out"), "Timed out waiting", True),
        (
            ConnectionResetError(104, "Connection reset by peer"),
            "Lost the connection to .*: Connection reset by peer",
            True,
        ),
        (IncompleteRead(b"", 5), "Lost the connection to .*: IncompleteRead", True),
        (InvalidURL("http://r.example:port/x?secret=1"), "invalid URL: http://r.example:port/x$", False),
    ],
)
def test_each_failure_of_a_connection_is_told_apart(error: Exception, said: str, transient: bool) -> None:  # noqa: FBT001
    found = connection_faults.unreachable(error, doing="pushing", host="r.example")
    assert re.search(said, found.problem.rstrip("."))
    assert found.transient is transient


class _Instant(Cancellation):
    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.check()
        self.slept.append(seconds)


def test_retries_double_their_waits_and_end() -> None:
    clock = _Instant()
    retries = Retries(5, clock, jitter=lambda: 1.0)
    for _ in range(4):
        retries.wait_after(_refused(503))
    with pytest.raises(RegistryError):
        retries.wait_after(_refused(503))
    assert clock.slept == [0.4, 0.8, 1.6, 3.2]


def test_retries_wait_as_long_as_the_server_says_within_reason() -> None:
    clock = _Instant()
    retries = Retries(5, clock, jitter=lambda: 0.0)
    retries.wait_after(_refused(429, retry_after="7"))
    retries.wait_after(_refused(429, retry_after="99999"))
    assert clock.slept == [7, 300]


def test_no_retry_follows_a_permanent_failure_or_a_cancellation() -> None:
    clock = _Instant()
    with pytest.raises(RegistryError):
        Retries(5, clock).wait_after(_refused(403))
    clock.cancel()
    with pytest.raises(CancelledError):
        Retries(5, clock).wait_after(_refused(503))


def test_progress_resets_the_count_of_failures() -> None:
    clock = _Instant()
    retries = Retries(2, clock)
    for _ in range(5):
        retries.wait_after(_refused(503))
        retries.reset()
    assert len(clock.slept) == 5

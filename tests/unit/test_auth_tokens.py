"""Answering a registry's challenges: whom we ask for tokens, how often, and what we never tell."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlsplit

import pytest

from bundler.effects.registry import token_servers
from bundler.effects.registry.auth import Authenticator, Scope
from bundler.effects.registry.credentials import Credential
from bundler.effects.registry.faults import HttpAnswer
from bundler.errors import RegistryError

BEARER = 'Bearer realm="https://auth.example/token?x=1",service="r.example"'
ROBOT = Credential("robot", "secret", source="auth.json")


class TokenSource:
    """Counts, and gives every token another name."""

    def __init__(self, **answer: object) -> None:
        self.answer: dict[str, object] = {"expires_in": 100, **answer}
        self.asked: list[tuple[str, str, dict[str, str], bytes | None]] = []
        self.now = 0.0

    def fetch(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> HttpAnswer:
        self.asked.append((method, url, headers, body))
        value = {"token": f"t{len(self.asked)}", **self.answer}
        return HttpAnswer(200, {}, json.dumps(value).encode(), url)

    def authenticator(self, credential: Credential | None = ROBOT) -> Authenticator:
        return Authenticator("r.example", lambda _: credential, self.fetch, lambda: self.now)


def assert_asked(auth: Authenticator, realm: str) -> None:
    """Check that a token is asked for at a realm, and used."""
    assert auth.answer(f'Bearer realm="{realm}"', (), None) == "Bearer t1"


def refusal(auth: Authenticator, realm: str, tokens: TokenSource, match: str) -> RegistryError:
    """Check that nothing is asked for at a realm, and return what is said instead."""
    with pytest.raises(RegistryError, match=match) as caught:
        auth.answer(f'Bearer realm="{realm}"', (), None)
    assert tokens.asked == []
    return caught.value


def test_nothing_is_sent_before_the_registry_asks() -> None:
    tokens = TokenSource()
    assert tokens.authenticator().header((Scope("a"),)) is None
    assert tokens.asked == []


def test_a_token_is_asked_for_with_service_scopes_and_login_and_then_kept() -> None:
    tokens = TokenSource()
    auth = tokens.authenticator()
    scopes = (Scope("a", "pull,push"), Scope("b"))

    assert auth.answer(BEARER, scopes, None) == "Bearer t1"
    assert auth.header(scopes) == "Bearer t1"
    method, url, headers, _ = tokens.asked[0]
    assert method == "GET"
    assert parse_qsl(urlsplit(url).query) == [
        ("x", "1"),
        ("service", "r.example"),
        ("scope", "repository:a:pull,push"),
        ("scope", "repository:b:pull"),
        ("account", "robot"),
    ]
    assert headers == {"Authorization": ROBOT.basic}
    assert len(tokens.asked) == 1


def test_each_set_of_scopes_has_a_token_of_its_own() -> None:
    tokens = TokenSource()
    auth = tokens.authenticator()
    assert auth.answer(BEARER, (Scope("a"),), None) == "Bearer t1"
    assert auth.header((Scope("b"),)) == "Bearer t2"
    assert auth.header((Scope("a"),)) == "Bearer t1"


def test_a_token_is_renewed_before_it_ends() -> None:
    tokens = TokenSource()
    auth = tokens.authenticator()
    auth.answer(BEARER, (), None)
    tokens.now = 89
    assert auth.header(()) == "Bearer t1"
    tokens.now = 91
    assert auth.header(()) == "Bearer t2"


def test_a_rejected_token_is_renewed_once_and_a_token_that_was_renewed_meanwhile_is_used() -> None:
    tokens = TokenSource()
    auth = tokens.authenticator()
    auth.answer(BEARER, (), None)
    assert auth.answer(BEARER, (), "Bearer t1") == "Bearer t2"
    assert auth.answer(BEARER, (), "Bearer t1") == "Bearer t2"
    assert len(tokens.asked) == 2


def test_without_a_login_we_come_as_anybody() -> None:
    tokens = TokenSource()
    assert tokens.authenticator(None).answer(BEARER, (Scope("a"),), None) == "Bearer t1"
    assert tokens.asked[0][2] == {}


def test_an_identity_token_is_posted_and_never_part_of_a_url() -> None:
    tokens = TokenSource()
    auth = tokens.authenticator(Credential("", "", "identity", "helper"))
    assert auth.answer(BEARER, (Scope("a"),), None) == "Bearer t1"
    method, url, headers, body = tokens.asked[0]
    assert method == "POST"
    assert "identity" not in url
    assert "Authorization" not in headers
    assert dict(parse_qsl((body or b"").decode())) == {
        "grant_type": "refresh_token",
        "service": "r.example",
        "client_id": "bundler",
        "scope": "repository:a:pull",
        "refresh_token": "identity",
    }


def test_basic_is_answered_with_the_login_and_not_repeated() -> None:
    auth = TokenSource().authenticator()
    header = auth.answer('Basic realm="r"', (), None)
    assert header == ROBOT.basic
    assert auth.answer('Basic realm="r"', (), header) is None


def test_basic_without_a_login_is_given_up() -> None:
    assert TokenSource().authenticator(None).answer('Basic realm="r"', (), None) is None


@pytest.mark.parametrize("challenge", ["", "Negotiate", 'Bearer service="no realm"'])
def test_what_cannot_be_answered_is_given_up(challenge: str) -> None:
    assert TokenSource().authenticator().answer(challenge, (), None) is None


@pytest.mark.parametrize("realm", ["file:///etc/passwd", "ftp://x/y", "nonsense"])
def test_a_realm_that_is_no_web_address_is_refused(realm: str) -> None:
    with pytest.raises(RegistryError, match="not a URL"):
        TokenSource().authenticator().answer(f'Bearer realm="{realm}"', (), None)


@pytest.mark.parametrize(
    ("registry", "realm", "sent"),
    [
        ("https://r.example", "http://r.example/token", False),
        ("https://r.example", "http://auth.example/token", False),
        ("http://r.example:5000", "http://auth.example/token", False),
        ("http://r.example:5000", "http://r.example:5001/token", True),
        ("http://r.example:5000", "https://auth.example/token", True),
    ],
)
@pytest.mark.parametrize("login", [ROBOT, Credential("", "", "identity", "helper"), None])
def test_a_login_is_not_sent_to_a_realm_in_plain_text(
    registry: str,
    realm: str,
    sent: bool,  # noqa: FBT001
    login: Credential | None,
) -> None:
    tokens = TokenSource()
    auth = Authenticator("r.example", lambda _: login, tokens.fetch, base_url=registry)
    if sent or login is None:  # anybody may ask there
        assert_asked(auth, realm)
    else:
        assert realm in refusal(auth, realm, tokens, "in plain text; it was not sent").problem


@pytest.mark.parametrize(
    ("registry", "server", "own"),
    [
        ("registry-1.docker.io", "auth.docker.io", True),
        ("registry.gitlab.com", "gitlab.com", True),
        ("registry.corp.example.com", "sso.EXAMPLE.com.", True),
        ("registry.example.co.uk", "auth.example.co.uk", True),
        ("registry.internal", "gitlab.internal", True),
        ("registry", "auth", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("rg.fr-par.scw.cloud", "api.scaleway.com", True),
        ("nvcr.io", "authn.nvidia.com", True),
        ("registry.redhat.io", "sso.redhat.com", True),
        ("registry.gitlab.com", "gitlab.com.evil.net", False),
        ("registry.example.com", "notexample.com", False),
        ("registry.one.co.uk", "auth.two.co.uk", False),
        ("co.uk", "auth.co.uk", False),
        ("one.github.io", "two.github.io", False),
        ("one.eu-west-1.elb.amazonaws.com", "two.eu-west-1.elb.amazonaws.com", False),
        ("one.github.io", "one.github.io", True),
        ("10.1.2.3", "10.1.2.4", False),
        ("2.3", "4.3", False),
        ("harbor", "harbor.example.com", False),
        ("mirror.example.com", "auth.docker.io", False),
        ("nvcr.io", "api.scaleway.com", False),
        ("evil.com", "authn.nvidia.com", False),
    ],
)
def test_a_token_server_of_the_same_owner_is_known(registry: str, server: str, own: bool) -> None:  # noqa: FBT001
    assert token_servers.belongs_to(registry, server) is own


@pytest.mark.parametrize(
    ("realm", "allowed", "sent"),
    [
        ("https://auth.docker.io/token", (), False),
        ("https://auth.docker.io/token", ("AUTH.docker.io",), True),
        ("https://auth.docker.io/token", ("auth.docker.io:443",), True),
        ("https://auth.docker.io:8443/token", ("auth.docker.io:443",), False),
        ("https://auth.docker.io:8443/token", ("auth.docker.io:8443",), True),
        ("https://auth.docker.io@evil.net/token", ("auth.docker.io",), False),
        ("http://auth.docker.io/token", ("auth.docker.io",), False),
    ],
)
@pytest.mark.parametrize("login", [ROBOT, Credential("", "", "identity", "helper"), None])
def test_a_login_goes_to_another_domain_only_where_the_user_says_so(
    realm: str,
    allowed: tuple[str, ...],
    sent: bool,  # noqa: FBT001
    login: Credential | None,
) -> None:
    tokens = TokenSource()
    auth = Authenticator("mirror.example.com", lambda _: login, tokens.fetch, allowed=allowed)
    if sent or login is None:  # anybody may ask there
        assert_asked(auth, realm)
        return
    error = refusal(auth, realm, tokens, "it was not sent")
    if realm.startswith("https"):
        assert "another domain" in error.problem
        assert f"--token-server {urlsplit(realm).netloc.rpartition('@')[2]}" in error.remedy


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "169.254.169.254", "[::1]", "[::ffff:7f00:1]", "127.1"])
def test_a_registry_elsewhere_does_not_send_us_to_this_machine(host: str) -> None:
    tokens = TokenSource()
    with pytest.raises(RegistryError, match="it was not asked"):
        tokens.authenticator(None).answer(f'Bearer realm="https://{host}/token"', (), None)
    assert tokens.asked == []
    here = Authenticator("localhost:5000", lambda _: None, tokens.fetch)
    named = Authenticator("r.example", lambda _: ROBOT, tokens.fetch, allowed=(host,))
    assert here.answer(f'Bearer realm="https://{host}/token"', (), None) == "Bearer t1"
    assert named.answer(f'Bearer realm="https://{host}/token"', (), None) == "Bearer t2"


@pytest.mark.parametrize("answer", [{"token": None}, {"token": 7}, {"token": "a\r\nX-Other: b"}, {"expires_in": "x"}])
def test_an_answer_without_a_token_is_an_error(answer: dict[str, object]) -> None:
    with pytest.raises(RegistryError, match="did not answer with a token"):
        TokenSource(**answer).authenticator().answer(BEARER, (), None)


def test_a_refused_login_is_told_without_the_password() -> None:
    def refuse(_method: str, url: str, _headers: dict[str, str], _body: bytes | None) -> HttpAnswer:
        return HttpAnswer(401, {}, b"", url)

    auth = Authenticator("r.example", lambda _: ROBOT, refuse)
    with pytest.raises(RegistryError, match=r"asking auth\.example for a token") as caught:
        auth.answer(BEARER, (), None)
    assert "robot" in caught.value.remedy
    assert "secret" not in str(caught.value)

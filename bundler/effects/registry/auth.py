"""Authentication against a registry: Basic, and bearer tokens by the distribution project's token protocol."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from http import HTTPStatus
from http.client import InvalidURL
from urllib.parse import urlencode, urlsplit

from bundler.effects.registry import faults, token_servers
from bundler.effects.registry.challenge import Challenge, choose
from bundler.effects.registry.credentials import Credential
from bundler.effects.registry.faults import Elsewhere, HttpAnswer
from bundler.effects.registry.http import origin
from bundler.errors import RegistryError

_DEFAULT_LIFE = 60  # seconds, where a token server does not say (distribution token specification)
_MARGIN = 10.0  # seconds before its end at which a token is renewed
_CLIENT = "bundler"

Fetch = Callable[[str, str, dict[str, str], bytes | None], HttpAnswer]
"""Make one exchange (method, URL, headers, body) without authentication."""


@dataclass(frozen=True, order=True)
class Scope:
    """What is to be done in which repository."""

    repository: str
    actions: str = "pull"

    def __str__(self) -> str:
        return f"repository:{self.repository}:{self.actions}"


def _described(credential: Credential) -> str:
    return f"{credential.username or 'identity token'} from {credential.source}"


@dataclass(frozen=True)
class _Token:
    header: str
    stale_at: float


class Authenticator:
    """Answers one registry's challenges; safe to share between threads.

    Tokens are kept one a realm, service and set of scopes, and renewed a little before they expire. ``lookup`` finds
    the login for a repository. Whoever answers at ``base_url`` may name a token server that gets the login, too: one of
    its own domain (``auth.docker.io`` for Docker Hub) or of ``allowed`` (``HOST[:PORT]``), but not in plain text.
    """

    def __init__(
        self,
        host: str,
        lookup: Callable[[str], Credential | None],
        fetch: Fetch,
        clock: Callable[[], float] = time.monotonic,
        *,
        base_url: str = "",
        allowed: Collection[str] = (),
    ) -> None:
        self._host = host
        self._allowed = frozenset(server.lower() for server in allowed)
        self._base_url = base_url or f"https://{host}"
        self._lookup = lookup
        self._fetch = fetch
        self._clock = clock
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, ...], _Token] = {}
        self._logins: dict[str, Credential | None] = {}
        self._lock = threading.Lock()  # held while a token is fetched, so that one is fetched once

    def header(self, scopes: tuple[Scope, ...]) -> str | None:
        """Return the ``Authorization`` to send unasked, or None before the registry has said what it wants."""
        with self._lock:
            return self._answer(self._challenge, scopes) if self._challenge else None

    def answer(self, asked: str, scopes: tuple[Scope, ...], rejected: str | None) -> str | None:
        """Return the ``Authorization`` to try after a 401 that ``asked`` this and ``rejected`` that; None: give up."""
        challenge = choose(asked)
        if challenge is None:
            return None
        with self._lock:
            if rejected:
                self._tokens = {key: token for key, token in self._tokens.items() if token.header != rejected}
            header = self._answer(challenge, scopes)
            if header:  # Harbor asks for Basic after a token that is not enough for one path; tokens still serve others
                self._challenge = challenge
        return header if header != rejected else None

    def sends_login(self, scopes: tuple[Scope, ...]) -> bool:
        """Tell whether the registry itself gets user name and password, instead of its token server."""
        with self._lock:
            return bool(self._challenge and self._challenge.scheme == "basic" and self._credential(scopes))

    def login(self, scopes: tuple[Scope, ...]) -> str | None:
        """Say as whom we come, for people; None: as anybody."""
        credential = self._credential(scopes)
        return _described(credential) if credential else None

    def _credential(self, scopes: tuple[Scope, ...]) -> Credential | None:
        repository = scopes[0].repository if scopes else ""
        if repository not in self._logins:
            self._logins[repository] = self._lookup(repository)
        return self._logins[repository]

    def _answer(self, challenge: Challenge, scopes: tuple[Scope, ...]) -> str | None:
        credential = self._credential(scopes)
        if challenge.scheme == "basic":
            return credential.basic if credential and credential.username else None
        wanted = tuple(str(scope) for scope in scopes) or tuple(challenge.parameters.get("scope", "").split())
        key = (challenge.parameters["realm"], challenge.parameters.get("service", ""), *wanted)
        token = self._tokens.get(key)
        if token is None or self._clock() >= token.stale_at:
            token = self._tokens[key] = self._new_token(challenge, wanted, credential)
        return token.header

    def _new_token(self, challenge: Challenge, scopes: tuple[str, ...], credential: Credential | None) -> _Token:
        realm = challenge.parameters["realm"]
        self._check_realm(realm, credential)
        parts = urlsplit(realm)
        service = challenge.parameters.get("service", "")
        asked_at = self._clock()
        if credential and credential.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": service,
                "client_id": _CLIENT,
                "scope": " ".join(scopes),
                "refresh_token": credential.identity_token,
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = self._fetch("POST", realm, headers, urlencode(form).encode())
        else:
            query = [("service", service)] if service else []
            query += [("scope", scope) for scope in scopes]
            headers = {}
            if credential:
                query.append(("account", credential.username))
                headers["Authorization"] = credential.basic
            answer = self._fetch("GET", f"{realm}{'&' if parts.query else '?'}{urlencode(query)}", headers, None)
        if answer.status != HTTPStatus.OK:
            login = _described(credential) if credential else None
            raise faults.refused(
                answer,
                doing=f"asking {parts.netloc} for a token",
                host=self._host,
                login=login,
                elsewhere=Elsewhere(parts.netloc, is_token_server=True),
            )
        return self._read_token(answer, asked_at, parts.netloc)

    def _check_realm(self, realm: str, credential: Credential | None) -> None:
        """Raise ``RegistryError`` where a realm is not an address, or must not get the login, or not in plain text."""
        try:
            scheme, host, port = origin(realm)
        except InvalidURL as error:
            raise RegistryError(
                f"The registry {self._host} wants tokens from {realm!r}, which is not a URL.",
                remedy="Correct the token realm in the registry's configuration.",
            ) from error
        own_scheme, own_host, _ = origin(self._base_url)
        server = urlsplit(realm).netloc.rpartition("@")[2].lower()
        allowed = bool(self._allowed & {server, host, f"{host}:{port}"})
        if token_servers.is_local(host) and not (allowed or host == own_host or token_servers.is_local(own_host)):
            raise RegistryError(
                f"The registry {self._host} sends us to {server} for a token, which means this machine; it was not "
                "asked.",
                remedy="Correct the token realm in the registry's configuration, or, where the token server is here, "
                f"add --token-server {server}.",
            )
        if credential is None:
            return
        if scheme == "http" and (own_scheme, own_host) != (scheme, host):
            raise RegistryError(
                f"The registry {self._host} wants the login ({_described(credential)}) sent to "
                f"{realm.partition('?')[0]} in plain text; it was not sent.",
                remedy="Correct the token realm in the registry's configuration: https (Harbor: external_url).",
            )
        if not allowed and not token_servers.belongs_to(own_host, host):
            raise RegistryError(
                f"The registry {self._host} wants the login ({_described(credential)}) sent to {server}, which is in "
                "another domain; it was not sent.",
                remedy="Use the name that the registry has in that domain, or correct its token realm (Harbor: "
                f"external_url). Where {server} is meant to get this login, add --token-server {server}.",
            )

    def _read_token(self, answer: HttpAnswer, asked_at: float, server: str) -> _Token:
        try:
            value = json.loads(answer.body)
            text = value.get("token") or value.get("access_token")
            life = float(value.get("expires_in") or _DEFAULT_LIFE)
        except (ValueError, AttributeError, TypeError, RecursionError):
            text = None
        if not isinstance(text, str) or not (text.isascii() and text.isprintable()):
            raise RegistryError(
                f"The token server {server} of the registry {self._host} did not answer with a token.",
                remedy="See the token server's log.",
            )
        return _Token(f"Bearer {text}", asked_at + max(life - _MARGIN, life / 2))

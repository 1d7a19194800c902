"""One registry over HTTP: pooled connections, authentication, redirects, repetition, and errors for people."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.client import HTTPException, InvalidURL
from typing import TypeAlias
from urllib.parse import urljoin, urlsplit

from bundler import __version__
from bundler.effects.registry import credentials, faults, tls
from bundler.effects.registry.auth import Authenticator, Scope
from bundler.effects.registry.endpoint import Connection, Endpoint
from bundler.effects.registry.faults import HttpAnswer, RefusedError, RegistryUnreachableError
from bundler.effects.registry.http import Connections, Response, origin
from bundler.effects.registry.proxies import proxy_for
from bundler.effects.registry.retry import Cancellation, Retries
from bundler.errors import RegistryError

_LOG = logging.getLogger(__name__)
_MOST_REDIRECTS = 5
_CONNECT_TIMEOUT = 15.0  # seconds
# What `GET /v2/` may answer where a registry is; 404 and others come from something else.
_A_REGISTRY_SAYS = (HTTPStatus.OK, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_SMALL_BODY = 16 << 20  # bytes; manifests are at most 4 MiB, lists of tags may be longer

Body: TypeAlias = "bytes | Callable[[], Iterable[memoryview]]"
"""A small body, or what makes the parts of a big one, anew for every attempt."""


@dataclass(frozen=True)
class Request:
    """What is asked of a server; ``completes`` says that it may have much to do before it answers."""

    method: str
    headers: Mapping[str, str]
    body: Body | None = None
    completes: bool = False


def _with_login(headers: Mapping[str, str], authorization: str | None) -> Mapping[str, str]:
    return {**headers, "Authorization": authorization} if authorization else headers


class Session:
    """Everything that is said to one registry; safe to share between threads.

    ``ask`` repeats what failed for a reason that passes; ``exchange`` and ``stream`` try once.
    """

    def __init__(self, endpoint: Endpoint, connection: Connection, cancellation: Cancellation | None = None) -> None:
        self.endpoint = endpoint
        self.connection = connection
        self.cancellation = cancellation or Cancellation()
        self._auth = Authenticator(
            endpoint.host,
            lambda repository: credentials.find(endpoint.host, repository, connection),
            lambda method, url, headers, body: self._read(self._once(Request(method, headers, body), url), url),
            base_url=endpoint.base_url,
        )
        own = tls.with_host_folders(endpoint.tls, endpoint.host, connection.environment)
        self._tls = {True: own, False: replace(own, client_certificate=None, client_key=None)}
        self._lock = threading.Lock()
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._connections = Connections(
            kept=connection.parallel,
            connecting=min(_CONNECT_TIMEOUT, connection.timeout),
            waiting=connection.timeout,
            completing=max(connection.completing, connection.timeout),
        )

    def close(self) -> None:
        """Give the connections back."""
        self._connections.close()

    def retries(self) -> Retries:
        """Begin to count the failures of one task."""
        return Retries(self.connection.attempts, self.cancellation)

    def url(self, location: str, *, at: str = "") -> str:
        """Make a path, or the ``Location`` of an answer from ``at``, into a URL.

        A registry behind a proxy that ends TLS may name itself with ``http``; we stay with the address we were given.
        """
        base = self.endpoint.base_url
        try:
            url = urljoin(at or base, location)
            parts, own = urlsplit(url), urlsplit(base)
        except ValueError as error:
            raise faults.no_address(location, self.endpoint.host) from error
        if parts.scheme == "http" and own.scheme == "https" and parts.hostname == own.hostname:
            return parts._replace(scheme=own.scheme, netloc=own.netloc).geturl()
        return url

    def sent_to(self, location: str, *, at: str) -> str:
        """Return the URL of the ``Location`` of an answer from ``at``; raise ``RegistryError`` where it ends TLS."""
        target = self.url(location, at=at)
        if urlsplit(at).scheme == "https" and urlsplit(target).scheme != "https":
            raise RegistryError(
                f"The registry {self.endpoint.host} sends us from TLS to {target.partition('?')[0]}.",
                remedy="Correct its storage redirect (or turn it off), or add --plain-http if that is meant to be.",
            )
        return target

    def check(self, *scopes: Scope) -> None:
        """See that a registry answers and takes our login, where we have one (distribution specification, end-1).

        ``scopes`` are what we want of it next: its login may be known for their repositories only. A registry may
        keep its root to those who logged in and show public repositories to everybody (Harbor): what it says of the
        root decides nothing about them.

        Raises:
            RegistryError: no registry answers there, or it refuses the login.
        """
        doing = "greeting it"
        answer = self.ask("GET", "/v2/", doing=doing, expect=_A_REGISTRY_SAYS, scopes=scopes)
        if answer.status == HTTPStatus.UNAUTHORIZED and self._auth.sends_login(scopes):
            raise self.refusal(answer, doing=doing, scopes=scopes)

    def ask(
        self,
        method: str,
        location: str,
        *,
        doing: str,
        expect: Collection[int],
        scopes: tuple[Scope, ...] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> HttpAnswer:
        """Return the answer, whose status is one of ``expect``; ``doing`` completes "... while doing".

        Raises:
            RefusedError: the registry gave another status, also to the last attempt.
            RegistryUnreachableError: no answer came, also to the last attempt.
        """
        retries = self.retries()

        def attempt() -> HttpAnswer | RegistryError:
            try:
                answer = self.exchange(method, location, doing=doing, scopes=scopes, headers=headers, body=body)
            except RegistryError as error:
                return error
            return answer if answer.status in expect else self.refusal(answer, doing=doing, scopes=scopes)

        while isinstance(outcome := attempt(), RegistryError):
            retries.wait_after(outcome)
        return outcome

    def exchange(
        self,
        method: str,
        location: str,
        *,
        doing: str,
        scopes: tuple[Scope, ...] = (),
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        completes: bool = False,
    ) -> HttpAnswer:
        """Try once and return whatever answer comes; raise ``RegistryUnreachableError`` where none does.

        ``completes`` says that the registry may take long to answer, as where it stores a whole blob.
        """
        request = Request(method, headers or {}, body, completes=completes)
        url = self.url(location)
        with self._explained(doing):
            response, url = self._authenticated(request, url, scopes)
            return self._read(response, url)

    @contextmanager
    def stream(
        self, location: str, *, doing: str, scopes: tuple[Scope, ...] = (), headers: Mapping[str, str] | None = None
    ) -> Iterator[Response]:
        """Open the body of an answer (status 200 or 206) for reading, once.

        Raises:
            RefusedError, RegistryUnreachableError: also inside the block, where the connection breaks.
        """
        with self._explained(doing):
            response, url = self._authenticated(Request("GET", headers or {}), self.url(location), scopes)
            if response.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
                raise self.refusal(self._read(response, url), doing=doing, scopes=scopes)
        try:
            yield response
        except (HTTPException, OSError) as error:
            response.close()
            raise self._unreachable(error, doing) from error
        except BaseException:
            response.close()  # what is left of the body must not be taken for the next answer
            raise
        response.release()

    def refusal(self, answer: HttpAnswer, *, doing: str, scopes: tuple[Scope, ...] = ()) -> RefusedError:
        """Make the error for an answer that says no."""
        login = self._auth.login(scopes)
        return faults.refused(answer, doing=doing, host=self.endpoint.host, login=login)

    def _unreachable(self, error: Exception, doing: str) -> RegistryUnreachableError:
        authorities = self._tls[True].ca_certificates
        return faults.unreachable(error, doing=doing, host=self.endpoint.host, authorities=authorities)

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        self.cancellation.check()
        try:
            yield
        except (HTTPException, OSError) as error:
            raise self._unreachable(error, doing) from error

    def _authenticated(self, request: Request, url: str, scopes: tuple[Scope, ...]) -> tuple[Response, str]:
        sent = self._auth.header(scopes) if self.is_own(url) else None
        response, end = self._following(request, url, sent)
        if response.status != HTTPStatus.UNAUTHORIZED or not self.is_own(end):
            return response, end
        asked = ", ".join(response.headers.get_all("WWW-Authenticate", []))
        try:
            retry = self._auth.answer(asked, scopes, sent)
        except BaseException:
            response.close()
            raise
        if retry is None:
            return response, end
        self._read(response, end)
        return self._following(request, url, retry)

    def _following(self, request: Request, url: str, authorization: str | None) -> tuple[Response, str]:
        """Make an exchange and follow redirects of reading ones; only the registry itself sees our login."""
        for _ in range(_MOST_REDIRECTS):
            own = authorization if self.is_own(url) else None
            response = self._once(replace(request, headers=_with_login(request.headers, own)), url)
            location = response.headers.get("Location")
            if request.method not in ("GET", "HEAD") or response.status not in faults.REDIRECTS or not location:
                return response, url
            self._read(response, url)
            url = self.sent_to(location, at=url)
        raise RegistryError(f"The registry {self.endpoint.host} redirects in circles at {url.partition('?')[0]}.")

    def is_own(self, url: str) -> bool:
        """Tell whether a URL is of this registry, which alone gets our login."""
        try:
            return origin(url) == origin(self.endpoint.base_url)
        except InvalidURL:
            return False

    def _once(self, request: Request, url: str) -> Response:
        begin = time.monotonic()
        sent = {
            "User-Agent": f"bundler/{__version__}",
            "Accept-Encoding": "identity",  # blobs are taken as they are
            **request.headers,
        }
        response = self._connections.send(
            request.method,
            url,
            sent,
            request.body() if callable(request.body) else request.body,
            proxy=proxy_for(url, self.connection.environment),
            context=self._context(url),
            completes=request.completes,
        )
        # Queries may hold secrets of object stores and upload sessions.
        shown = url.partition("?")[0]
        _LOG.debug("%s %s -> %d (%.0f ms)", request.method, shown, response.status, (time.monotonic() - begin) * 1000)
        return response

    def _context(self, url: str) -> ssl.SSLContext | None:
        """Return whom to trust; reading the system's authorities takes longer than a push that has nothing to send."""
        if not url.startswith("https:"):
            return None
        own = self.is_own(url)
        with self._lock:
            if own not in self._contexts:
                self._contexts[own] = tls.context(self._tls[own])
            return self._contexts[own]

    def _read(self, response: Response, url: str) -> HttpAnswer:
        """Take a small body whole and give the connection back."""
        try:
            body = response.read(_SMALL_BODY + 1)
        except BaseException:
            response.close()
            raise
        if len(body) > _SMALL_BODY:
            response.close()
            raise RegistryError(
                f"The registry {self.endpoint.host} answers with more than {_SMALL_BODY} bytes where few are due.",
                remedy="What answers there may not be a registry.",
            )
        response.release()
        return HttpAnswer(response.status, {name.lower(): value for name, value in response.headers.items()}, body, url)

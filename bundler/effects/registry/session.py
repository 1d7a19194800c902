"""One registry over HTTP: pooled connections, authentication, redirects, repetition, and errors for people."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException
from urllib.parse import urljoin, urlsplit

from bundler.effects.registry import connection_faults, credentials, faults
from bundler.effects.registry.auth import Authenticator, Scope
from bundler.effects.registry.endpoint import Connection, Endpoint
from bundler.effects.registry.faults import Elsewhere, HttpAnswer, RefusedError
from bundler.effects.registry.gate import Gates, Waiting
from bundler.effects.registry.http import Response
from bundler.effects.registry.retry import Cancellation, Retries
from bundler.effects.registry.wire import Body, Request, Wire, same_origin
from bundler.errors import RegistryError

_MOST_REDIRECTS = 5
# What `GET /v2/` may answer where a registry is; 404 and others come from something else.
_A_REGISTRY_SAYS = (HTTPStatus.OK, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_SMALL_BODY = 16 << 20  # bytes; manifests are at most 4 MiB, lists of tags may be longer


class Session:
    """All requests to one registry; safe to share between threads.

    ``ask`` repeats what failed for a reason that passes; ``exchange`` and ``stream`` try once. Where a host asks to
    slow down, all threads do. ``say`` gets a line for people where that makes them wait.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        connection: Connection,
        cancellation: Cancellation | None = None,
        say: Callable[[str], None] = lambda text: None,  # noqa: ARG005
    ) -> None:
        self.endpoint = endpoint
        self.connection = connection
        self.cancellation = cancellation or Cancellation()
        self._wire = Wire(endpoint, connection)
        self._waiting = Waiting(say)
        self._gates = Gates(connection.parallel, self.cancellation, self._waiting)
        self._auth = Authenticator(
            endpoint.host,
            lambda repository: credentials.find(endpoint.host, repository, connection),
            self._fetch_token,
            base_url=endpoint.base_url,
            allowed=connection.token_servers,
        )
        self._guest_of: dict[str, Authenticator] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Give the connections back."""
        self._wire.close()

    def retries(self) -> Retries:
        """Begin to count the failures of one task."""
        return Retries(
            self.connection.attempts,
            self.cancellation,
            refusals=lambda url: self._gates.of(url).refusals,
            waiting=self._waiting.tell,
        )

    def url(self, location: str, *, at: str = "") -> str:
        """Make a path, or the ``Location`` of an answer from ``at``, into a URL.

        A registry behind a proxy that ends TLS may name itself with ``http``; we stay with the address we were given.
        """
        base = self.endpoint.base_url
        try:
            url = urljoin(at or base, location)
            parts, own = urlsplit(url), urlsplit(base)
        except ValueError as error:
            raise connection_faults.no_address(location, self.endpoint.host) from error
        if parts.scheme == "http" and own.scheme == "https" and parts.hostname == own.hostname:
            return parts._replace(scheme=own.scheme, netloc=own.netloc).geturl()
        return url

    def sent_to(self, location: str, *, at: str) -> str:
        """Return the URL of the ``Location`` of an answer from ``at``; raise ``RegistryError`` where it ends TLS."""
        target = self.url(location, at=at)
        if urlsplit(at).scheme == "https" and urlsplit(target).scheme != "https":
            raise RegistryError(
                f"The registry {self.endpoint.host} redirects from TLS to {target.partition('?')[0]}.",
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
        cleans_up: bool = False,
    ) -> HttpAnswer:
        """Try once and return whatever answer comes; raise ``RegistryUnreachableError`` where none does.

        ``completes`` says that the registry may take long to answer, as where it stores a whole blob; ``cleans_up``,
        that this is sent after the task was cancelled, too.
        """
        if not cleans_up:
            self.cancellation.check()
        request = Request(method, headers or {}, body, completes, cleans_up)
        response, url = self._authenticated(request, self.url(location), doing, scopes)
        return self._read(response, url, doing)

    @contextmanager
    def stream(
        self, location: str, *, doing: str, scopes: tuple[Scope, ...] = (), headers: Mapping[str, str] | None = None
    ) -> Iterator[Response]:
        """Open the body of an answer (status 200 or 206) for reading, once.

        Raises:
            RefusedError, RegistryUnreachableError: also inside the block, where the connection breaks.
        """
        self.cancellation.check()
        request = Request("GET", headers or {})
        response, url = self._authenticated(request, self.url(location), doing, scopes)
        if response.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise self.refusal(self._read(response, url, doing), doing=doing, scopes=scopes)
        try:
            with self._explained(doing, url):
                yield response
        except BaseException:
            response.close()  # what is left of the body must not be taken for the next answer
            raise
        response.release()

    def refusal(self, answer: HttpAnswer, *, doing: str, scopes: tuple[Scope, ...] = ()) -> RefusedError:
        """Make the error for an answer that refuses."""
        elsewhere = self._elsewhere(answer.url)
        login = None if elsewhere else self._auth.login(scopes)
        return faults.refused(answer, doing=doing, host=self.endpoint.host, login=login, elsewhere=elsewhere)

    def _elsewhere(self, url: str) -> Elsewhere | None:
        """Return the host that a URL leads to, where that is not the registry itself."""
        return None if self.is_own(url) else Elsewhere(urlsplit(url).netloc.rpartition("@")[2])

    @contextmanager
    def _explained(self, doing: str, url: str, *, elsewhere: Elsewhere | None = None) -> Iterator[None]:
        try:
            yield
        except (HTTPException, OSError) as error:
            raise connection_faults.unreachable(
                error,
                doing=doing,
                host=self.endpoint.host,
                authorities=self._wire.authorities,
                elsewhere=elsewhere or self._elsewhere(url),
            ) from error

    def _authenticated(self, request: Request, url: str, doing: str, scopes: tuple[Scope, ...]) -> tuple[Response, str]:
        """Make an exchange; answer the registry that asks for a login, and other hosts as anybody, once each."""
        begin, authorization = url, self._auth.header(scopes) if self.is_own(url) else None
        answered: set[bool] = set()
        while True:
            response, end, sent = self._following(request, begin, doing, authorization)
            own = self.is_own(end)
            if response.status != HTTPStatus.UNAUTHORIZED or own in answered or not (own or request.reads):
                return response, end
            answered.add(own)
            asked = ", ".join(response.headers.get_all("WWW-Authenticate", []))
            try:
                authorization = (self._auth if own else self._guest(end)).answer(asked, scopes if own else (), sent)
            except BaseException:
                response.close()
                raise
            if authorization is None:
                return response, end
            self._read(response, end, doing)
            begin = url if own else end

    def _following(
        self, request: Request, url: str, doing: str, authorization: str | None
    ) -> tuple[Response, str, str | None]:
        """Make an exchange and follow redirects of reading ones; return what came, from where, and what was sent there.

        ``authorization`` is for the host of ``url`` alone.
        """
        first = url
        for _ in range(_MOST_REDIRECTS):
            sent = authorization if same_origin(url, first) else self._as_guest(url)
            with self._explained(doing, url):
                response = self._in_turn(request.with_login(sent), url)
            location = response.headers.get("Location")
            if not request.reads or response.status not in faults.REDIRECTS or not location:
                return response, url, sent
            self._read(response, url, doing)
            url = self.sent_to(location, at=url)
        raise RegistryError(
            f"The registry {self.endpoint.host} redirects in a loop at {url.partition('?')[0]}.",
            remedy="Correct the redirects of the registry, or of the proxy before it.",
        )

    def _guest(self, url: str) -> Authenticator:
        """Return what gets tokens for another host, as anybody: it may be a registry, too (registry.k8s.io's are)."""
        host = urlsplit(url).netloc
        with self._lock:
            if host not in self._guest_of:
                base_url = f"{urlsplit(url).scheme}://{host}"
                self._guest_of[host] = Authenticator(host, lambda _: None, self._fetch_token, base_url=base_url)
            return self._guest_of[host]

    def _as_guest(self, url: str) -> str | None:
        """Return the token for another host that has asked for one before."""
        return self._guest(url).header(()) if urlsplit(url).netloc in self._guest_of else None

    def _fetch_token(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> HttpAnswer:
        server = urlsplit(url).netloc
        doing, elsewhere = f"asking {server} for a token", Elsewhere(server, is_token_server=True)
        with self._explained(doing, url, elsewhere=elsewhere):
            return self._read(self._in_turn(Request(method, headers, body), url), url, doing)

    def is_own(self, url: str) -> bool:
        """Tell whether a URL is of this registry, which alone gets our login."""
        return self._wire.is_own(url)

    def _in_turn(self, request: Request, url: str) -> Response:
        """Send a request when its host lets it through."""
        if request.cleans_up:
            return self._once(request, url)
        with self._gates.of(url).passing() as passage:
            response = self._once(request, url)
            busy = response.status in faults.BUSY
            pause = faults.pause_of(response.headers) if busy else None
            passage.answered(response.status, slow_down=busy, pause=pause)
            return response

    def _once(self, request: Request, url: str) -> Response:
        return self._wire.send(request, url)

    def _read(self, response: Response, url: str, doing: str) -> HttpAnswer:
        """Take a small body whole and give the connection back."""
        try:
            with self._explained(doing, url):
                body = response.read(_SMALL_BODY + 1)
        except BaseException:
            response.close()
            raise
        if len(body) > _SMALL_BODY:
            response.close()
            raise RegistryError(
                f"{urlsplit(url).netloc} answers with more than {_SMALL_BODY} bytes while {doing}, "
                "where a short answer is expected.",
                remedy="Check the address: what answers there may not be a registry.",
            )
        response.release()
        headers = {name.lower(): value for name, value in response.headers.items()}
        if "link" in headers:  # a list, which may be in several lines (RFC 9110, section 5.3)
            headers["link"] = ", ".join(response.headers.get_all("Link", []))
        return HttpAnswer(response.status, headers, body, url)

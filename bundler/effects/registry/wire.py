"""Single requests to a registry and to the hosts that it sends us to: through which proxy, whom TLS trusts, as whom."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from http.client import InvalidURL
from pathlib import Path
from typing import TypeAlias

from bundler import __version__
from bundler.effects.registry import tls
from bundler.effects.registry.endpoint import Connection, Endpoint
from bundler.effects.registry.http import Connections, Response, origin
from bundler.effects.registry.proxies import proxy_for

_LOG = logging.getLogger(__name__)
_CONNECT_TIMEOUT = 15.0  # seconds

Body: TypeAlias = "bytes | Callable[[], Iterable[memoryview]]"
"""A small body, or a function that yields the chunks of a big one, called for every attempt."""


@dataclass(frozen=True)
class Request:
    """What is asked of a server; ``completes`` says that it may have much to do before it answers.

    ``cleans_up``: it is sent at once, also after the task was cancelled.
    """

    method: str
    headers: Mapping[str, str]
    body: Body | None = None
    completes: bool = False
    cleans_up: bool = False

    @property
    def reads(self) -> bool:
        """Whether it changes nothing, and may be sent on to other hosts."""
        return self.method in ("GET", "HEAD")

    def with_login(self, authorization: str | None) -> Request:
        """Return the request with an ``Authorization``, where there is one."""
        return replace(self, headers={**self.headers, "Authorization": authorization}) if authorization else self


class Wire:
    """Connections to a registry and to other hosts, which do not get our client certificate; threads may share it."""

    def __init__(self, endpoint: Endpoint, connection: Connection) -> None:
        self._base_url = endpoint.base_url
        self._environment = connection.environment
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

    @property
    def authorities(self) -> tuple[Path, ...]:
        """Files with authorities that are trusted besides the system's."""
        return self._tls[True].ca_certificates

    def close(self) -> None:
        """Give the connections back."""
        self._connections.close()

    def is_own(self, url: str) -> bool:
        """Tell whether a URL is of the registry itself."""
        return same_origin(url, self._base_url)

    def send(self, request: Request, url: str) -> Response:
        """Send a request once, and return the answer with its body unread; raise what ``Connections.send`` raises."""
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
            proxy=proxy_for(url, self._environment),
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


def same_origin(url: str, other: str) -> bool:
    """Tell whether two URLs are of one server; what is not an address is of none."""
    try:
        return origin(url) == origin(other)
    except InvalidURL:
        return False

"""Connections to package indexes and release pages: what the host trusts, through the proxy it uses."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from threading import Lock
from urllib.parse import unquote, urlsplit

import truststore
import urllib3

from bundler.effects.packages.index import PackageIndexes
from bundler.effects.registry.proxies import proxy_for
from bundler.effects.registry.tls import as_curl_verifies
from bundler.errors import UsageError

_REDIRECTS = 5


class Pool:
    """Connections of which at most a number a host are kept; threads may share it."""

    def __init__(self, connections: int, host: PackageIndexes) -> None:
        self._connections, self._host = connections, host
        self._context = _context(host)
        self._managers: dict[str | None, urllib3.PoolManager] = {}
        self._lock = Lock()

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        preload_content: bool = True,
        decode_content: bool = True,
    ) -> urllib3.BaseHTTPResponse:
        """Send a request once, following redirects; raise ``urllib3.exceptions.HTTPError`` where that fails."""
        return self._manager(url).request(
            method, url, headers=headers, preload_content=preload_content, decode_content=decode_content
        )

    def _manager(self, url: str) -> urllib3.PoolManager:
        proxy = proxy_for(url, self._host.environment)
        if proxy is None and self._host.proxy is not None:
            proxy = proxy_for(url, {**self._host.environment, "all_proxy": self._host.proxy})
        with self._lock:
            if proxy not in self._managers:
                self._managers[proxy] = self._made(proxy)
            return self._managers[proxy]

    def _made(self, proxy: str | None) -> urllib3.PoolManager:
        timeout = urllib3.Timeout(connect=15, read=60)
        # No total: it would count redirects too.
        retries = urllib3.Retry(total=None, connect=0, read=0, status=0, other=0, redirect=_REDIRECTS)
        if proxy is None:
            return urllib3.PoolManager(
                ssl_context=self._context, timeout=timeout, retries=retries, maxsize=self._connections
            )
        place = urlsplit(proxy)
        login = f"{unquote(place.username)}:{unquote(place.password or '')}" if place.username else None
        try:
            return urllib3.ProxyManager(
                proxy,
                proxy_headers=urllib3.make_headers(proxy_basic_auth=login) if login else None,
                ssl_context=self._context,
                timeout=timeout,
                retries=retries,
                maxsize=self._connections,
            )
        except urllib3.exceptions.ProxySchemeUnknown as error:
            raise UsageError(
                f"The proxy for this host is of the kind {place.scheme!r}, which is not supported.",
                remedy="Name an HTTP proxy in HTTPS_PROXY, or except the host in NO_PROXY.",
            ) from error


def pool(connections: int, host: PackageIndexes | None = None) -> Pool:
    """Return connections as this host is configured; raise ``UsageError`` where its authorities cannot be read."""
    return Pool(connections, host or PackageIndexes.of_this_host())


def _context(host: PackageIndexes) -> ssl.SSLContext:
    path = host.authorities
    try:
        context = (
            truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            if path is None
            else as_curl_verifies(ssl.create_default_context(cafile=path))
        )
        for path in host.further_authorities:
            context.load_verify_locations(path)
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(
            f"{path} cannot be used as certificate authorities: {error}.",
            remedy="Name a PEM file in SSL_CERT_FILE, REQUESTS_CA_BUNDLE, PIP_CERT or the 'cert' of pip.conf, or with "
            "--ca-cert.",
        ) from error
    return context

"""Connections to package indexes and release pages: what the host trusts, through the proxy it uses."""

from __future__ import annotations

import os
import ssl

import truststore
import urllib3

_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT")
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def pool(connections: int) -> urllib3.PoolManager:
    """Return a pool of at most ``connections`` a host; it does not repeat what fails."""
    bundle = next((os.environ[name] for name in _BUNDLES if os.environ.get(name)), None)
    context: ssl.SSLContext = (
        ssl.create_default_context(cafile=bundle) if bundle else truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    timeout = urllib3.Timeout(connect=15, read=60)
    retries = urllib3.Retry(0, redirect=5)
    proxy = next((os.environ[name] for name in _PROXIES if os.environ.get(name)), None)
    if proxy:
        return urllib3.ProxyManager(proxy, ssl_context=context, timeout=timeout, retries=retries, maxsize=connections)
    return urllib3.PoolManager(ssl_context=context, timeout=timeout, retries=retries, maxsize=connections)

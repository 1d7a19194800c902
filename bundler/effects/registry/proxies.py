"""Which proxy, if any, the environment names for a URL."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    """Return the proxy's URL (it may hold a password: do not log it), or None for a direct connection.

    ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, lower case first, as curl and Go read them;
    ``NO_PROXY`` holds hosts, domains, ``host:port``, addresses, networks such as 10.0.0.0/8, or ``*``. Loopback is
    always direct.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    except ValueError:  # no address: whoever is to connect there will say so
        return None
    host = (parts.hostname or "").lower()
    proxy = _variable(f"{parts.scheme}_proxy", environment) or _variable("all_proxy", environment)
    if not proxy or _is_loopback(host) or _excluded(host, port, _variable("no_proxy", environment) or ""):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _variable(name: str, environment: Mapping[str, str]) -> str | None:
    return environment.get(name) or environment.get(name.upper())


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _excluded(host: str, port: int, rules: str) -> bool:
    return any(_matches(host, port, rule.strip().lower()) for rule in rules.split(",") if rule.strip())


def _matches(host: str, port: int, rule: str) -> bool:
    if rule == "*":
        return True
    address = _address(host)
    if address is not None:
        try:
            return address in ipaddress.ip_network(rule.strip("[]"), strict=False)
        except ValueError:
            pass
    name, colon, wanted = rule.rpartition(":")
    if colon and wanted.isdigit() and "]" not in wanted:
        if int(wanted) != port:
            return False
        rule = name
    rule = rule.strip("[]").removeprefix("*")
    domain = rule if rule.startswith(".") else f".{rule}"
    return host == rule.lstrip(".") or host.endswith(domain)

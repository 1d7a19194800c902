"""Which proxy, if any, the environment names for a URL."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

_WITH_PORT = re.compile(r"(\[[^\]]*\](?:/[0-9]+)?|[^:\[\]]*):([0-9]{1,5})")


def proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    """Return the proxy's URL (it may hold a password: do not log it), or None for a direct connection.

    ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, lower case first, as curl and Go read them;
    ``NO_PROXY`` holds hosts, domains (``.example`` and ``*.example`` are ``example`` and all below it), addresses,
    networks such as 10.0.0.0/8, each also with ``:PORT``, or ``*``, between commas or spaces. Loopback is always
    direct.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    except ValueError:  # no address: whoever is to connect there will say so
        return None
    host = (parts.hostname or "").lower()
    proxy = (variable(f"{parts.scheme}_proxy", environment) or variable("all_proxy", environment) or "").strip()
    if not proxy or _is_loopback(host) or _excluded(host, port, variable("no_proxy", environment) or ""):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def variable(name: str, environment: Mapping[str, str]) -> str | None:
    """Return a variable of the environment that is named in lower case or in capitals, lower case first."""
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
    return any(_matches(host.rstrip("."), port, rule) for rule in re.split(r"[,\s]+", rules.lower()) if rule)


def _matches(host: str, port: int, rule: str) -> bool:
    if rule == "*":
        return True
    with_port = _WITH_PORT.fullmatch(rule)  # not an IPv6 address, which has more colons
    if with_port and int(with_port[2]) != port:
        return False
    name = (with_port[1] if with_port else rule).replace("[", "").replace("]", "")
    address = _address(host)
    if address is not None:  # no domain holds it, however its digits end
        try:
            return address in ipaddress.ip_network(name, strict=False)
        except ValueError:
            return False
    name = name.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))

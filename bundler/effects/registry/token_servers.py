"""Which token servers may get a registry's login: those of its own domain and known ones."""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

# Top-level names that nobody can register (RFC 2606; RFC 6762, section 3 and appendix G; ICANN's "internal"): all
# names below them, and names of one label, belong to the site that resolves them.
_OF_THE_SITE: Final = frozenset(
    {"corp", "example", "home", "internal", "intranet", "invalid", "lan", "local", "localdomain", "private", "test"}
)
# Labels below which countries register names (co.uk, com.au, ...).
_SECOND_LEVEL: Final = frozenset(
    {"ac", "co", "com", "edu", "go", "gob", "gouv", "gov", "govt", "mil", "ne", "net", "nom", "or", "org"}
)
# Domains below which anybody gets a name. The public list of them has ten thousand lines and changes every week; these
# are the ones under which people run servers.
_SHARED: Final = frozenset(
    {
        *("amazonaws.com", "azure.com", "azurewebsites.net", "cloudapp.net", "cloudfront.net", "duckdns.org"),
        *("fly.dev", "github.io", "gitlab.io", "herokuapp.com", "netlify.app", "ngrok.app", "ngrok.dev", "ngrok.io"),
        *("ngrok-free.app", "nip.io", "onrender.com", "pages.dev", "run.app", "sslip.io", "traefik.me"),
        *("trycloudflare.com", "vercel.app", "web.app", "workers.dev"),
    }
)
# Registries of one company whose token server is in another domain, by the registry's domain.
_KNOWN: Final = {"nvcr.io": "authn.nvidia.com", "redhat.io": "sso.redhat.com", "scw.cloud": "api.scaleway.com"}


def belongs_to(registry: str, server: str) -> bool:
    """Tell whether a token server may get the login of a registry; both are host names without a port.

    So it is in one domain (``registry.gitlab.com`` and ``gitlab.com``), and where both belong to one company.
    """
    registry, server = registry.lower().rstrip("."), server.lower().rstrip(".")
    if registry == server:
        return True
    domain = _domain(registry)
    return domain is not None and (domain == _domain(server) or _KNOWN.get(domain) == server)


def is_local(host: str) -> bool:
    """Tell whether a name or an address means this machine, or one that is reached without a router."""
    if host.lower().rstrip(".") in ("localhost", ""):
        return True
    address = _address(host)
    return address is not None and (address.is_loopback or address.is_link_local or address.is_unspecified)


def _domain(host: str) -> str | None:
    """Return what names the owner of a host name; None for an address, and where anybody may be a neighbour."""
    if _address(host):
        return None
    labels = host.split(".")
    if len(labels) == 1 or labels[-1] in _OF_THE_SITE:
        return labels[-1] if len(labels) > 1 else ""
    of_country = len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL  # noqa: PLR2004  (letters of a country's code)
    domain = ".".join(labels[-3 if of_country else -2 :])
    return None if domain in _SHARED or (of_country and len(labels) < 3) else domain  # noqa: PLR2004  (a name in it)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an address as the system's resolver does, which knows more forms of it (``127.1``, ``0x7f.1``)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if host[:1].isdigit() and host.rpartition(".")[2][:1].isdigit():
            try:
                return ipaddress.IPv4Address(socket.inet_aton(host))
            except OSError:
                return None
        return None
    return getattr(address, "ipv4_mapped", None) or address

"""Why a registry cannot be reached: addresses, connections, proxies and TLS, each as an error with its remedy."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from http import HTTPStatus
from http.client import InvalidURL
from pathlib import Path

from bundler.effects.registry.faults import (
    LET_THROUGH,
    TRANSIENT_STATUSES,
    Elsewhere,
    RegistryUnreachableError,
    pause_of,
    proxy_login_remedy,
    who_answers,
)
from bundler.effects.registry.http import NotConnectedError
from bundler.effects.registry.tunnel import ProxyRefusedError


def unreachable(
    error: Exception,
    *,
    doing: str,
    host: str,
    authorities: Sequence[Path] = (),
    elsewhere: Elsewhere | None = None,
) -> RegistryUnreachableError:
    """Make the error for an exchange without an answer; ``authorities`` are trusted besides the system's."""
    where = f"{who_answers(host, elsewhere)} while {doing}"
    host = elsewhere.host if elsewhere else host
    match error:
        case ssl.SSLError():
            return _tls_failed(str(error), where, host, authorities)
        case InvalidURL():
            return no_address(str(error), host)
        case NotConnectedError(proxy=str(proxy)):
            return _proxy_failed(error.reason, proxy, where, host)
        case NotConnectedError():
            problem, remedy = _not_connected(error.reason, where)
            remedy = LET_THROUGH.format(host=host) if elsewhere else remedy
        case TimeoutError():
            problem, remedy = (
                f"Timed out waiting for {where}.",
                "Run the same command again, or allow more time with --registry-timeout.",
            )
        case _:
            problem, remedy = (
                f"Lost the connection to {where}: {_message(error)}.",
                "Run the same command again: it continues.",
            )
    return RegistryUnreachableError(problem, remedy=remedy)


def _proxy_failed(reason: OSError, proxy: str, where: str, host: str) -> RegistryUnreachableError:
    problem = f"The proxy {proxy} did not let us reach {where}: {_message(reason)}."
    if not isinstance(reason, ProxyRefusedError):
        absent = isinstance(reason, (socket.gaierror, ConnectionRefusedError))
        remedy = "Correct HTTPS_PROXY, or add the host to NO_PROXY."
        return RegistryUnreachableError(problem, remedy=remedy, transient=not absent)
    if reason.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        remedy = proxy_login_remedy(reason.headers.get("Proxy-Authenticate", ""), sent=reason.login_sent)
    elif reason.status in TRANSIENT_STATUSES:
        remedy = f"See why the proxy does not reach {host}, run the same command again, or add the host to NO_PROXY."
    else:
        remedy = f"Let the proxy's administrator allow CONNECT to {host}, or add the host to NO_PROXY."
    return RegistryUnreachableError(
        problem,
        remedy=remedy,
        transient=reason.status in TRANSIENT_STATUSES,
        retry_after=pause_of(reason.headers),
    )


def no_address(shown: str, host: str) -> RegistryUnreachableError:
    """Make the error for a ``Location`` that leads nowhere."""
    return RegistryUnreachableError(
        f"The registry {host} redirects to an invalid URL: {shown.partition('?')[0]}.",
        remedy="Correct the address that it, or the proxy before it, is configured with.",
        transient=False,
    )


def _not_connected(reason: OSError, where: str) -> tuple[str, str]:
    match reason:
        case socket.gaierror():
            return f"Cannot find {where}: the name does not resolve.", "Correct the name, or check DNS on this machine."
        case TimeoutError():
            return f"Cannot connect to {where}: no answer.", "Check for a firewall between this machine and the host."
    return (
        f"Cannot connect to {where}: {_message(reason)}.",
        "Correct host and port, and check that the server is running.",
    )


def _message(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text or type(error).__name__).rstrip(".")


# OpenSSL's words where nobody who is trusted has signed; all others find fault with a certificate itself.
_UNKNOWN_AUTHORITY = ("ISSUER_CERTIFICATE", "SELF_SIGNED_CERTIFICATE", "UNABLE_TO_VERIFY_THE_FIRST_CERTIFICATE")


def _name_the_authority(host: str, authorities: Sequence[Path]) -> str:
    if not authorities:
        return "Give the authority that signed its certificate: --ca-cert FILE."
    given = ", ".join(map(str, authorities))
    chain = f"openssl s_client -showcerts -connect {host if ':' in host else f'{host}:443'}"
    return (
        f"Neither {given} nor the system's authorities signed it. Compare with what the registry sends ({chain}): give "
        "the root of that chain, or let the registry send the certificates in between, too."
    )


def _tls_failed(text: str, where: str, host: str, authorities: Sequence[Path]) -> RegistryUnreachableError:
    upper = text.upper().replace(" ", "_").replace("-", "_")
    if "WRONG_VERSION_NUMBER" in upper or "RECORD_LAYER_FAILURE" in upper or "HTTP_REQUEST" in upper:
        remedy = "It seems to speak plain HTTP there; if that is meant to be, add --plain-http."
    elif "HOSTNAME_MISMATCH" in upper or "DOESN'T_MATCH" in upper:
        remedy = f"The certificate is for another name: use that name instead of {host}."
    elif "EXPIRED" in upper or "NOT_YET_VALID" in upper:
        remedy = "Renew the registry's certificate, or set this machine's clock."
    elif any(words in upper for words in _UNKNOWN_AUTHORITY):
        remedy = _name_the_authority(host, authorities)
    elif "CERTIFICATE_VERIFY_FAILED" in upper:
        remedy = "Another authority does not help: have a new certificate issued."
    elif "CERTIFICATE_REQUIRED" in upper or "BAD_CERTIFICATE" in upper or "HANDSHAKE_FAILURE" in upper:
        remedy = "It may require a client certificate: put one into certs.d, or give --client-cert and --client-key."
    else:
        # A connection that broke in the middle shows up as a TLS error, too.
        return RegistryUnreachableError(f"TLS broke off to {where}: {text}.", remedy="Run the same command again.")
    return RegistryUnreachableError(f"No trusted TLS to {where}: {text}.", remedy=remedy, transient=False)

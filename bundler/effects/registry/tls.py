"""TLS contexts: the system's trust store, private authorities, client certificates."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bundler.effects import files
from bundler.effects.registry.endpoint import TlsSettings
from bundler.errors import UsageError

_REMEDY = "Give a readable PEM file (-----BEGIN CERTIFICATE-----)."


def context(settings: TlsSettings) -> ssl.SSLContext:
    """Build the context; raise ``UsageError`` naming the file that is missing or not a certificate."""
    if settings.verify:
        made = as_curl_verifies(ssl.create_default_context())
    else:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    for authority in settings.ca_certificates:
        with _reading("a certificate authority", authority):
            made.load_verify_locations(cafile=authority)
    if settings.client_certificate:
        pair = [path for path in (settings.client_certificate, settings.client_key) if path]
        with _reading("a client certificate with its key", *pair):
            made.load_cert_chain(settings.client_certificate, settings.client_key, password=_no_password)
    return made


def as_curl_verifies(context: ssl.SSLContext) -> ssl.SSLContext:
    """Let a context accept the private authorities that curl, skopeo and CPython up to 3.12 accept; return it.

    CPython 3.13 began to refuse authorities without key identifiers or with basic constraints that are not critical:
    ``openssl req -x509`` made such ones for decades, and proxies that inspect TLS still do. Who gives the certificate
    of an intermediate authority trusts that one, without its root.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _no_password() -> str:
    # Without this, OpenSSL would ask on the terminal in the middle of a script.
    raise ValueError("the key is encrypted; decrypt it first")


@contextmanager
def _reading(what: str, *paths: Path) -> Iterator[None]:
    for path in paths:
        files.read_content(path, "the PEM file", remedy=_REMEDY)  # OpenSSL does not name the file, and waits for pipes
    try:
        yield
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise UsageError(
            f"{' with '.join(map(str, paths))} cannot be used as {what}: {error}.", remedy=_REMEDY
        ) from error


def with_host_folders(settings: TlsSettings, host: str, environment: Mapping[str, str]) -> TlsSettings:
    """Add what ``certs.d/HOST`` of Docker and of Podman holds (containers-certs.d(5)).

    Authorities are ``*.crt``, a client's certificate and key are ``*.cert`` and ``*.key``. A
    client certificate that was given explicitly stays.
    """
    roots = [Path("/etc/docker/certs.d"), Path("/etc/containers/certs.d")]
    if home := environment.get("HOME"):
        roots.append(Path(home, ".config/containers/certs.d"))
    for folder in (root / host for root in roots):
        try:
            names = sorted(folder.iterdir())
        except OSError:  # absent, or not for this user
            continue
        authorities = tuple(path for path in names if path.suffix == ".crt")
        settings = replace(settings, ca_certificates=settings.ca_certificates + authorities)
        pairs = [path for path in names if path.suffix == ".cert" and path.with_suffix(".key") in names]
        if pairs and not settings.client_certificate:
            settings = replace(settings, client_certificate=pairs[0], client_key=pairs[0].with_suffix(".key"))
    return settings

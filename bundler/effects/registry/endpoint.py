"""Where a registry is and how it is spoken to, as values."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bundler.errors import UsageError
from bundler.model.descriptor import Json
from bundler.model.reference import COMPONENT, DOCKER_HUB, flattened

# Docker Hub's references name another host than the one that answers.
_DOCKER_HUB_SERVER = "registry-1.docker.io"
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::(?P<port>[0-9]{1,5}))?")
_PREFIX = re.compile(rf"{COMPONENT}(?:/{COMPONENT})*")


@dataclass(frozen=True)
class TlsSettings:
    """Whom to trust and who to be; ``ca_certificates`` are trusted besides the system's."""

    ca_certificates: tuple[Path, ...] = ()
    client_certificate: Path | None = None
    client_key: Path | None = None
    verify: bool = True


@dataclass(frozen=True)
class Endpoint:
    """A registry's host as references name it, ``HOST[:PORT]``, and how to speak to it."""

    host: str
    plain_http: bool = False
    tls: TlsSettings = TlsSettings()

    @property
    def base_url(self) -> str:
        """Root of the registry's API, without a slash at its end."""
        server = _DOCKER_HUB_SERVER if self.host == DOCKER_HUB else self.host
        return f"{'http' if self.plain_http else 'https'}://{server}"


@dataclass(frozen=True)
class Destination:
    """Where images are put: a registry's host, and the path below which every repository goes.

    ``flat`` makes one component of each repository below the prefix, see ``reference.flattened``.
    """

    host: str
    prefix: str | None = None
    flat: bool = False

    @classmethod
    def parse(cls, text: str) -> Destination:
        """Read ``HOST[:PORT][/PREFIX]``; raise ``UsageError`` on anything else."""
        if "://" in text:
            raise UsageError(
                f"{text!r} is not a registry: it names a scheme.",
                remedy="Write HOST[:PORT]/PREFIX; http is asked for with --plain-http.",
            )
        host, _, prefix = text.rstrip("/").partition("/")
        match = _HOST.fullmatch(host)
        if not match or int(match["port"] or 1) not in range(1, 65536) or (prefix and not _PREFIX.fullmatch(prefix)):
            raise UsageError(
                f"{text!r} is not a registry.",
                remedy="Write HOST[:PORT]/PREFIX, the prefix in lower case, e.g. registry.internal:5000/feast.",
            )
        return cls(host, prefix or None)

    def repository(self, path: str) -> str:
        """Return the repository of what lies at ``path`` below the registry of a bundle."""
        return "/".join(filter(None, (self.prefix, flattened(path) if self.flat else path)))

    def __str__(self) -> str:
        return f"{self.host}/{self.prefix}" if self.prefix else self.host


def _this_environment() -> Mapping[str, str]:
    return dict(os.environ)


@dataclass(frozen=True)
class Connection:
    """How a registry is used: as whom, through what, with which timeouts (seconds).

    ``logins`` (the ``auths`` of a file of logins) stand in the place of all files. ``token_servers`` (``HOST[:PORT]``)
    may get a login of a registry in another domain. ``timeout`` is for a registry that says nothing, ``completing`` for
    one that has all of a blob and stores it, which it may do in another storage.
    """

    logins: Mapping[str, Json] | None = field(default=None, repr=False)
    auth_file: Path | None = None
    token_servers: tuple[str, ...] = ()
    parallel: int = 8
    attempts: int = 6
    timeout: float = 60.0
    completing: float = 300.0
    environment: Mapping[str, str] = field(default_factory=_this_environment, repr=False)


@dataclass(frozen=True)
class Access:
    """How the user wants registries to be reached; the same in every command, and for skopeo.

    ``retry_times`` says how often what failed is tried again; None leaves it to who tries.
    """

    connection: Connection = field(default_factory=Connection)
    tls: TlsSettings = field(default_factory=TlsSettings)
    plain_http: bool = False
    retry_times: int | None = None

    @classmethod
    def of(
        cls,
        *,
        auth_file: Path | None,
        tls: TlsSettings,
        plain_http: bool,
        retry_times: int | None,
        timeout: float | None = None,
        token_servers: tuple[str, ...] = (),
    ) -> Access:
        """Make it of what the command line was given."""
        connection = Connection(auth_file=auth_file, token_servers=token_servers)
        if timeout is not None:
            connection = replace(connection, timeout=timeout)
        if retry_times is not None:
            connection = replace(connection, attempts=retry_times + 1)
        return cls(connection, tls, plain_http, retry_times)

    def endpoint(self, host: str) -> Endpoint:
        """Return a registry (``HOST[:PORT]``) as it is to be spoken to."""
        return Endpoint(host, self.plain_http, self.tls)

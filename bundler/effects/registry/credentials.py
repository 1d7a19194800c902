"""Logins for registries: those that Docker, Podman or the user have stored, and credential helpers."""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bundler.effects import files, user_config
from bundler.effects.registry.endpoint import Connection
from bundler.errors import ToolFailedError, ToolMissingError, UsageError
from bundler.model.descriptor import Json
from bundler.model.json_document import mapping, text
from bundler.model.reference import DOCKER_HUB

_DOCKER_HUB_KEY = "index.docker.io"
_HELPER_TIMEOUT = 60.0  # seconds; some helpers ask a person to unlock a key ring
_IDENTITY_USER = "<token>"  # a helper's way to say that the secret is an identity token

_LOG = logging.getLogger(__name__)

AskHelper = Callable[[str, str], str]
"""Ask the helper of this name for this host; returns its output."""


@dataclass(frozen=True)
class Credential:
    """A login; where ``identity_token`` is set it stands instead of the password (OAuth 2 refresh token)."""

    username: str
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)
    source: str = ""

    @property
    def basic(self) -> str:
        """Value of the ``Authorization`` header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def find(
    host: str, repository: str, connection: Connection, *, ask_helper: AskHelper | None = None
) -> Credential | None:
    """Return the login for a repository, or None: then we come as anybody.

    The first file that knows the registry wins: the one asked for, else ``$REGISTRY_AUTH_FILE``, Podman's, Docker's.
    Keys may name a namespace, the longest that fits wins (containers-auth.json(5)).

    Raises:
        UsageError: a file that was named is missing, or a file is not JSON.
    """
    ask = ask_helper or _ask_helper
    if connection.logins is not None:
        return _look_up({"auths": dict(connection.logins)}, host, repository, "the logins given", ask)
    for path, required in _files(connection):
        config = _read(path, required=required)
        if config and (credential := _look_up(config, host, repository, str(path), ask)):
            return credential
    return None


def _files(connection: Connection) -> Iterator[tuple[Path, bool]]:
    environment = connection.environment
    if connection.auth_file:
        yield connection.auth_file, True
        return
    if named := environment.get("REGISTRY_AUTH_FILE"):
        yield Path(named), False  # `podman login` creates it, so it may be absent
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        yield Path(runtime, "containers/auth.json"), False
    if containers := user_config.containers(environment):
        yield containers / "auth.json", False
    if docker := user_config.docker(environment):
        yield docker / user_config.DOCKER_FILE, False


def _read(path: Path, *, required: bool) -> dict[str, Json]:
    try:
        value = json.loads(files.read_bytes(path) or b"{}")
    except (FileNotFoundError, NotADirectoryError) as error:
        if required:
            raise UsageError(f"The file of logins {path} does not exist.", remedy="Correct --authfile.") from error
        return {}
    except OSError as error:
        raise UsageError(f"Cannot read the logins in {path}: {error.strerror}.", remedy="Give --authfile.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"The logins in {path} are not JSON.", remedy="Log in again, e.g. podman login REGISTRY."
        ) from error
    return value if isinstance(value, dict) else {}


def _look_up(config: Mapping[str, Json], host: str, repository: str, source: str, ask: AskHelper) -> Credential | None:
    helpers = mapping(config.get("credHelpers"))
    logins = mapping(config.get("auths"))
    for key in _keys(host, repository):
        for written, helper in helpers.items():
            if _normal(written) == key and isinstance(helper, str):
                return _from_helper(helper, written, ask)
        for written, login in logins.items():
            if _normal(written) == key and (credential := _from_login(mapping(login), source)):
                return credential
    store = config.get("credsStore")
    if not isinstance(store, str) or not store:
        return None
    try:
        return _from_helper(store, _server_name(host), ask)
    except ToolMissingError:
        # Docker Desktop writes it for every registry, on machines too where only the file was copied to.
        _LOG.warning("%s names docker-credential-%s, which is not on PATH: no login for %s.", source, store, host)
        return None


def _keys(host: str, repository: str) -> Iterator[str]:
    """Yield what a login may be filed under, from narrow to wide."""
    for name in (DOCKER_HUB, _DOCKER_HUB_KEY) if host == DOCKER_HUB else (host,):
        path = repository
        while path:
            yield f"{name}/{path}"
            path = path.rpartition("/")[0]
        yield name


def _normal(key: str) -> str:
    """Drop what Docker's older keys carry: ``https://index.docker.io/v1/``."""
    bare = key.partition("://")[2] if "://" in key else key
    bare = bare.rstrip("/")
    host, _, path = bare.partition("/")
    return host if path in ("v1", "v2") or "://" in key else bare


def _server_name(host: str) -> str:
    return f"https://{_DOCKER_HUB_KEY}/v1/" if host == DOCKER_HUB else host


def _from_login(login: Mapping[str, Json], source: str) -> Credential | None:
    username, password = text(login.get("username")), text(login.get("password"))
    if encoded := text(login.get("auth")):
        try:
            username, _, password = base64.b64decode("".join(encoded.split()), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise UsageError(
                f"A login in {source} is not base64 of USER:PASSWORD.",
                remedy="Log in again, e.g. podman login REGISTRY.",
            ) from error
        password = password.rstrip("\0")  # Docker pads
    identity = text(login.get("identitytoken"))
    return Credential(username, password, identity, source) if username or identity else None


def _from_helper(helper: str, server: str, ask: AskHelper) -> Credential | None:
    source = f"docker-credential-{helper}"
    try:
        answer = json.loads(ask(helper, server))
    except ToolFailedError as error:
        # The protocol has no status for "not found" but this sentence.
        if any("credentials not found" in line for line in error.details):
            return None
        raise
    except (ValueError, RecursionError) as error:
        raise ToolFailedError(
            f"{source} did not answer with JSON when asked for {server}.",
            remedy="Log in again, or name a file of logins without this helper: --authfile FILE.",
        ) from error
    fields = mapping(answer)
    username, secret = text(fields.get("Username")), text(fields.get("Secret"))
    if username == _IDENTITY_USER:
        return Credential("", "", secret, source)
    return Credential(username, secret, source=source) if username else None


def _ask_helper(helper: str, server: str) -> str:
    from bundler.effects import process  # noqa: PLC0415  (most logins are in a file)

    return process.run(
        [f"docker-credential-{helper}", "get"],
        purpose=f"looking up the login for {server}",
        remedy="Install the helper that the file of logins names, or give --authfile with a plain login.",
        stdin=server.encode(),
        timeout=_HELPER_TIMEOUT,
    ).stdout

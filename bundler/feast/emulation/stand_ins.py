"""What a feature_store.yaml needs beside its pods, and what stands in where a rehearsal has no such thing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from bundler.model.descriptor import Json

_REDIS_PORT: Final = 6379
_POSTGRES_PORT: Final = 5432
_NOBODY: Final = "no_auth"
# Settings of every kind of registry.
_KEPT: Final = ("cache_ttl_seconds", "cache_mode")


@dataclass(frozen=True)
class StoreLogin:
    """Who a store connects as, and (PostgreSQL) to which database."""

    user: str = ""
    password: str = field(default="", repr=False)
    database: str = ""


@dataclass(frozen=True)
class StoreServer:
    """A server that stores connect to; ``kind`` is ``redis`` or ``postgres``."""

    kind: str
    host: str
    port: int
    accounts: tuple[StoreLogin, ...]


@dataclass(frozen=True)
class StoreNeeds:
    """Servers to be run beside the pods; ``unknown`` are the stores that need something else, in words."""

    servers: tuple[StoreServer, ...]
    unknown: tuple[str, ...]


def merged(servers: Iterable[StoreServer]) -> tuple[StoreServer, ...]:
    """Return one server for each address, with the accounts of all that connect to it."""
    found: dict[tuple[str, str, int], tuple[StoreLogin, ...]] = {}
    for server in servers:
        address = (server.kind, server.host, server.port)
        found[address] = tuple(dict.fromkeys((*found.get(address, ()), *server.accounts)))
    return tuple(StoreServer(*address, accounts) for address, accounts in found.items())


def needed(config: Mapping[str, Json]) -> StoreNeeds:
    """Return what a feature_store.yaml, its variables expanded, connects to."""
    found: list[StoreServer] = []
    unknown: list[str] = []
    for key in ("registry", "online_store", "offline_store"):
        for outcome in _of(key, config.get(key)):
            if isinstance(outcome, StoreServer):
                found.append(outcome)
            else:
                unknown.append(outcome)
    return StoreNeeds(merged(found), tuple(unknown))


def with_files(config: Mapping[str, Json], folder: str) -> dict[str, Json]:
    """Return the configuration with stores in files below ``folder`` instead of servers; a remote registry stays."""
    value = dict(config)
    registry = value.get("registry")
    if not (isinstance(registry, dict) and registry.get("registry_type") == "remote"):
        file: dict[str, Json] = {"registry_type": "file", "path": f"{folder}/registry.db"}
        if isinstance(registry, dict):
            file |= {key: registry[key] for key in _KEPT if key in registry}
        value["registry"] = file
    value["online_store"] = {"type": "sqlite", "path": f"{folder}/online_store.db"}
    offline = value.get("offline_store")
    if isinstance(offline, dict) and offline.get("type") not in ("dask", "file", "duckdb"):
        value["offline_store"] = {"type": "dask"}
    return value


def authentication(config: Mapping[str, Json]) -> str:
    """Return who authenticates callers: ``kubernetes``, ``oidc``, or nobody (``no_auth``)."""
    auth = config.get("auth")
    kind = auth.get("type") if isinstance(auth, dict) else auth
    return str(kind or _NOBODY)


def without_authentication(config: Mapping[str, Json]) -> dict[str, Json]:
    """Return the configuration with nobody who would have to be asked about callers; as it is where nobody would."""
    return dict(config) if authentication(config) == _NOBODY else {**config, "auth": {"type": _NOBODY}}


def _of(key: str, store: Json) -> Iterator[StoreServer | str]:
    settings = store if isinstance(store, dict) else {}
    kind = settings.get("registry_type" if key == "registry" else "type")
    match kind:
        case "redis":
            yield _redis(key, settings)
        case "postgres":
            account = StoreLogin(*(str(settings.get(name, "")) for name in ("user", "password", "database")))
            port = _port(settings.get("port"), _POSTGRES_PORT)
            yield StoreServer("postgres", str(settings.get("host", "")), port, (account,))
        case "sql":
            yield _sql(key, str(settings.get("path", "")))
        case None | "file" | "sqlite" | "dask" | "duckdb" | "remote":
            return
        case _:
            yield f"{key}: {kind}"


def _redis(key: str, settings: Mapping[str, Json]) -> StoreServer | str:
    address, *options = str(settings.get("connection_string", "")).split(",")
    given = dict(option.split("=", 1) for option in options if "=" in option)
    if settings.get("redis_type", "redis") != "redis":
        return f"{key}: redis as {settings['redis_type']}"
    if given.get("ssl", "false").lower() == "true":
        return f"{key}: redis with TLS"
    host, _, port = address.partition(":")
    account = StoreLogin(given.get("username", ""), given.get("password", ""))
    return StoreServer("redis", host, _port(port, _REDIS_PORT), (account,))


def _sql(key: str, path: str) -> StoreServer | str:
    try:
        url = urlsplit(path)
        port = url.port
    except ValueError:
        return f"{key}: sql at an address that cannot be read"
    if url.scheme.partition("+")[0] not in ("postgresql", "postgres"):
        return f"{key}: sql on {url.scheme or 'a file'}"
    account = StoreLogin(unquote(url.username or ""), unquote(url.password or ""), url.path.lstrip("/"))
    return StoreServer("postgres", url.hostname or "", port or _POSTGRES_PORT, (account,))


def _port(value: Json, default: int) -> int:
    text = str(value or "")
    return int(text) if text.isdecimal() else default

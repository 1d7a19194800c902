"""The database servers that the stores of a feature_store.yaml connect to, for an emulation that runs them itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from bundler.model.descriptor import Json

_REDIS_PORT: Final = 6379
_POSTGRES_PORT: Final = 5432


@dataclass(frozen=True)
class StoreLogin:
    """The account that a store connects with, and (PostgreSQL) the database."""

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
    """Servers to run beside the pods; ``unknown`` describes each store whose server cannot be run here."""

    servers: tuple[StoreServer, ...]
    unknown: tuple[str, ...]


def merged(servers: Iterable[StoreServer]) -> tuple[StoreServer, ...]:
    """Return one server for each address, with the accounts of all that connect to it."""
    accounts: dict[tuple[str, str, int], tuple[StoreLogin, ...]] = {}
    for server in servers:
        address = (server.kind, server.host, server.port)
        accounts[address] = tuple(dict.fromkeys((*accounts.get(address, ()), *server.accounts)))
    return tuple(StoreServer(*address, logins) for address, logins in accounts.items())


def needed(config: Mapping[str, Json], hosts: Collection[str]) -> StoreNeeds:
    """Return what a feature_store.yaml, its variables expanded, connects to; ``hosts`` are the servers of pods."""
    servers: list[StoreServer] = []
    unknown: list[str] = []
    for section in ("registry", "online_store", "offline_store"):
        remote = remote_host(section, config.get(section))
        if remote is not None and remote not in hosts:
            unknown.append(f"{section}: remote at {remote or 'an address that cannot be read'}, not in these manifests")
        for need in _needs(section, config.get(section)):
            if isinstance(need, StoreServer):
                servers.append(need)
            else:
                unknown.append(need)
    return StoreNeeds(merged(servers), tuple(unknown))


def _needs(section: str, store: Json) -> Iterator[StoreServer | str]:
    settings = store if isinstance(store, dict) else {}
    kind = settings.get("registry_type" if section == "registry" else "type")
    match kind:
        case "redis":
            yield _redis(section, settings)
        case "postgres" if settings.get("sslmode") in ("verify-ca", "verify-full"):
            yield f"{section}: postgres with sslmode {settings['sslmode']}"
        case "postgres" if settings.get("vector_enabled") is True:
            yield f"{section}: postgres with the extension pgvector"
        case "postgres":
            account = StoreLogin(*(str(settings.get(name, "")) for name in ("user", "password", "database")))
            port = _port(settings.get("port"), _POSTGRES_PORT)
            yield StoreServer("postgres", str(settings.get("host", "")), port, (account,))
        case "sql":
            yield _sql(section, str(settings.get("path", "")))
        case None | "file" | "sqlite" | "dask" | "duckdb" | "remote":
            return
        case _:
            yield f"{section}: {kind}"


def remote_host(section: str, store: Json) -> str | None:
    """Return the host of a remote registry or store, empty where its address cannot be read; None where it is local."""
    settings = store if isinstance(store, dict) else {}
    if settings.get("registry_type" if section == "registry" else "type") != "remote":
        return None
    address = str(settings.get("host" if section == "offline_store" else "path") or "")
    try:
        return urlsplit(address if "://" in address else f"//{address}").hostname or ""
    except ValueError:
        return ""


def _redis(section: str, settings: Mapping[str, Json]) -> StoreServer | str:
    address, *options = str(settings.get("connection_string", "")).split(",")
    given = dict(option.split("=", 1) for option in options if "=" in option)
    if settings.get("redis_type", "redis") != "redis":
        return f"{section}: redis as {settings['redis_type']}"
    if given.get("ssl", "false").lower() == "true":
        return f"{section}: redis with TLS"
    host, _, port = address.partition(":")
    account = StoreLogin(given.get("username", ""), given.get("password", ""))
    return StoreServer("redis", host, _port(port, _REDIS_PORT), (account,))


def _sql(section: str, path: str) -> StoreServer | str:
    try:
        url = urlsplit(path)
        port = url.port
    except ValueError:
        return f"{section}: sql at an address that cannot be read"
    if url.scheme.partition("+")[0] not in ("postgresql", "postgres"):
        return f"{section}: sql on {url.scheme or 'a file'}"
    account = StoreLogin(unquote(url.username or ""), unquote(url.password or ""), url.path.lstrip("/"))
    return StoreServer("postgres", url.hostname or "", port or _POSTGRES_PORT, (account,))


def _port(value: Json, default: int) -> int:
    text = str(value or "")
    return int(text) if text.isdecimal() else default

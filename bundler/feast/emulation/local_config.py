"""A feature_store.yaml that needs no server outside the pods: stores in files, callers without authentication."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from bundler.feast.emulation import store_servers
from bundler.model.descriptor import Json

_NO_AUTH: Final = "no_auth"
# Settings of every kind of Feast registry.
_CACHE_SETTINGS: Final = ("cache_ttl_seconds", "cache_mode")


def with_files(config: Mapping[str, Json], folder: str, hosts: Collection[str]) -> dict[str, Json]:
    """Return the configuration with stores in files below ``folder`` instead of servers.

    A remote registry stays where it is one of ``hosts``.
    """
    value = dict(config)
    registry = value.get("registry")
    if not (isinstance(registry, dict) and store_servers.remote_host("registry", registry) in hosts):
        file: dict[str, Json] = {"registry_type": "file", "path": f"{folder}/registry.db"}
        if isinstance(registry, dict):
            file |= {key: registry[key] for key in _CACHE_SETTINGS if key in registry}
        value["registry"] = file
    value["online_store"] = {"type": "sqlite", "path": f"{folder}/online_store.db"}
    offline = value.get("offline_store")
    if isinstance(offline, dict) and offline.get("type") not in ("dask", "file", "duckdb"):
        value["offline_store"] = {"type": "dask"}
    return value


def authentication(config: Mapping[str, Json]) -> str:
    """Return how callers are authenticated: ``kubernetes``, ``oidc`` or ``no_auth``."""
    auth = config.get("auth")
    kind = auth.get("type") if isinstance(auth, dict) else auth
    return str(kind or _NO_AUTH)


def without_authentication(config: Mapping[str, Json]) -> dict[str, Json]:
    """Return the configuration with ``no_auth``: an emulation has no token issuer that servers could ask."""
    return dict(config) if authentication(config) == _NO_AUTH else {**config, "auth": {"type": _NO_AUTH}}

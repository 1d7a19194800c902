"""The stores of a feature_store.yaml in the operator's form: persistence of the CR, and the Secrets it refers to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bundler.errors import SpecError
from bundler.feast.feature_store import FILE_NAME
from bundler.feast.tenant import Tenant
from bundler.model.descriptor import Json
from bundler.model.spec import StoreSecret

_OFFLINE_FILES: Final = frozenset({"file", "dask", "duckdb"})
# Reached over the network: the only paths that do not lie in the pod.
_BUCKETS: Final = ("s3://", "gs://")


@dataclass(frozen=True)
class StoreSecretKey:
    """One key of a Secret that the operator reads: the store's parameters as in feature_store.yaml."""

    secret: str
    key: str
    parameters: Mapping[str, Json]


@dataclass(frozen=True)
class Store:
    """A store as the CR says it.

    ``persistence`` is None where the operator cannot be told of the store (a remote one, a class of one's own, a type
    that this release does not know); ``secret`` is there where the parameters are in one.
    """

    role: str
    type: str
    persistence: dict[str, Json] | None
    secret: StoreSecretKey | None = None

    @property
    def is_database(self) -> bool:
        """Whether several pods can share it, as the CRD's scaling rules understand that."""
        return self.persistence is not None and "store" in self.persistence


@dataclass(frozen=True)
class Stores:
    """The stores of one FeatureStore; the offline store is None where feature_store.yaml leaves it to Feast."""

    online: Store
    offline: Store | None
    registry: Store

    @property
    def secrets(self) -> Mapping[str, Sequence[StoreSecretKey]]:
        """Secret name -> its keys, in the order registry, online, offline."""
        found: dict[str, list[StoreSecretKey]] = {}
        for store in (self.registry, self.online, self.offline):
            if store and store.secret:
                found.setdefault(store.secret.secret, []).append(store.secret)
        return found


def stores(tenant: Tenant) -> Stores:
    """Return how the CR says the stores of a tenant.

    Raises:
        SpecError: a file store lies in the image, or a parameter would crash the operator.
    """
    online, offline, registry = _online(tenant), _offline(tenant), _registry(tenant)
    if offline and offline.secret and online.secret and _same_place(offline.secret, online.secret):
        # One Secret for two stores of one type: the operator takes any key that it is told of.
        offline = _with_key(offline, f"offline.{offline.type}")
    return Stores(online, offline, registry)


def _same_place(one: StoreSecretKey, other: StoreSecretKey) -> bool:
    return (one.secret, one.key) == (other.secret, other.key)


def _online(tenant: Tenant) -> Store:
    config = tenant.config
    if config.online_type == "sqlite":
        path = _file_path(config.online_store, "online_store", "data/online.db")
        return Store("online", "sqlite", {"file": {"path": path}})
    named = tenant.deployment.online_store
    return _database(
        "online", config.online_type, config.online_store, "type", _secret(named, tenant, "online-store"),
        known=tenant.capabilities.online_stores,
    )  # fmt: skip


def _offline(tenant: Tenant) -> Store | None:
    config = tenant.config
    if not config.offline_store:
        return None
    if config.offline_type in _OFFLINE_FILES:
        return Store("offline", config.offline_type, {"file": {"type": config.offline_type}})
    port = config.offline_store.get("port")
    if port is not None and not isinstance(port, int):
        raise SpecError(
            f"{FILE_NAME}: offline_store.port: {port!r} is not a number, and the operator ends with a panic on it.",
            remedy="Write the port as a bare number, e.g. 5432, without quotes and not as a ${VARIABLE}.",
        )
    named = tenant.deployment.offline_store
    return _database(
        "offline", config.offline_type, config.offline_store, "type", _secret(named, tenant, "offline-store"),
        known=tenant.capabilities.offline_stores,
    )  # fmt: skip


def _registry(tenant: Tenant) -> Store:
    config = tenant.config
    if config.registry_type == "remote":
        return Store("registry", "remote", None)
    if config.registry_type == "file":
        path = _file_path(config.registry, "registry", "data/registry.db")
        return Store("registry", "file", {"file": {"path": path, **_registry_cache(config.registry)}})
    named = tenant.deployment.registry
    return _database(
        "registry", config.registry_type, config.registry, "registry_type", _secret(named, tenant, "registry"),
        known=tenant.capabilities.registry_stores,
    )  # fmt: skip


def _registry_cache(registry: Mapping[str, Json]) -> dict[str, Json]:
    keys = ("cache_ttl_seconds", "cache_mode", "s3_additional_kwargs")
    return {key: registry[key] for key in keys if key in registry}


def _secret(named: StoreSecret | None, tenant: Tenant, suffix: str) -> str:
    return named.secret if named else f"{tenant.deployment.name}-{suffix}"


def _database(
    role: str, kind: str, parameters: Mapping[str, Json], type_key: str, secret: str, *, known: frozenset[str]
) -> Store:
    if kind not in known:
        return Store(role, kind, None)
    key = StoreSecretKey(secret, kind, {name: value for name, value in parameters.items() if name != type_key})
    return Store(role, kind, {"store": {"type": kind, "secretRef": {"name": secret}}}, key)


def _with_key(store: Store, key: str) -> Store:
    if store.secret is None:
        return store
    reference: dict[str, Json] = {
        "type": store.type,
        "secretRef": {"name": store.secret.secret},
        "secretKeyName": key,
    }
    return replace(store, persistence={"store": reference}, secret=replace(store.secret, key=key))


def _file_path(store: Mapping[str, Json], section: str, default: str) -> str:
    path = store.get("path", default)
    if isinstance(path, str) and path.startswith(("/", *_BUCKETS)):
        return path
    raise SpecError(
        f"{FILE_NAME}: {section}.path: {path!r} is relative: it would lie in the image, which is read-only.",
        remedy="Use a path below /feast-data, or a database.",
    )

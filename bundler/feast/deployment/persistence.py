"""The stores of a feature_store.yaml in the operator's form: persistence of the CR, and the Secrets it refers to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bundler.errors import SpecError
from bundler.feast.deployment.tenant import Tenant
from bundler.feast.stores.feature_store_yaml import FeatureStoreConfig
from bundler.model import deployment_spec
from bundler.model.deployment_spec import VolumeSpec
from bundler.model.descriptor import Json

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
class StoreDeclaration:
    """A store as the CR says it.

    ``persistence`` is None where the operator cannot be told of the store (a remote one, a class of one's own, a type
    that this release does not know); ``secret`` is there where the parameters are in one.
    """

    role: str
    type: str
    persistence: dict[str, Json] | None
    secret: StoreSecretKey | None = None

    @property
    def has_volume(self) -> bool:
        """Whether its file lies on a persistent volume."""
        file = (self.persistence or {}).get("file")
        return isinstance(file, dict) and "pvc" in file

    @property
    def is_shared(self) -> bool:
        """Whether several pods can use it at once, as the CRD's rules for scaling understand that."""
        if self.type == "remote" and self.role == "registry":
            return True
        value = self.persistence or {}
        file = value.get("file")
        path = file.get("path") if isinstance(file, dict) else None
        return "store" in value or (self.role == "registry" and isinstance(path, str) and path.startswith(_BUCKETS))


@dataclass(frozen=True)
class Stores:
    """The stores of one FeatureStore; the offline store is None where feature_store.yaml leaves it to Feast."""

    online: StoreDeclaration
    offline: StoreDeclaration | None
    registry: StoreDeclaration

    @property
    def secrets(self) -> Mapping[str, Sequence[StoreSecretKey]]:
        """Secret name -> its keys, in the order registry, online, offline."""
        by_secret: dict[str, list[StoreSecretKey]] = {}
        for store in (self.registry, self.online, self.offline):
            if store and store.secret:
                by_secret.setdefault(store.secret.secret, []).append(store.secret)
        return by_secret


def stores(tenant: Tenant) -> Stores:
    """Return how the CR says the stores of a tenant.

    Raises:
        SpecError: a file store lies in the image, or a parameter would crash the operator.
    """
    _refuse_all(tenant)
    online, offline, registry = _online(tenant), _offline(tenant), _registry(tenant)
    if offline and offline.secret and online.secret and _same_place(offline.secret, online.secret):
        # One Secret for two stores of one type: the operator takes any key that it is told of.
        offline = _with_key(offline, f"offline.{offline.type}")
    return Stores(online, offline, registry)


def _refuse_all(tenant: Tenant) -> None:
    """Raise ``SpecError`` with what is wrong with every store, not only with the first."""
    errors = [error for read in (_registry, _online, _offline) if (error := _error_of(read, tenant))]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        details = tuple(f"{error.problem} {error.remedy}" for error in errors)
        raise SpecError(
            f"The stores of {tenant.deployment.name} cannot be used, for {len(errors)} reasons.", details=details
        )


def _error_of(read: Callable[[Tenant], object], tenant: Tenant) -> SpecError | None:
    try:
        read(tenant)
    except SpecError as error:
        return error
    return None


def _same_place(first: StoreSecretKey, second: StoreSecretKey) -> bool:
    return (first.secret, first.key) == (second.secret, second.key)


def _online(tenant: Tenant) -> StoreDeclaration:
    config, named = tenant.config, tenant.deployment.online_store
    if config.online_type == "sqlite":
        if _is_known_at_the_site(config, "online_store", named.volume):
            return StoreDeclaration("online", "sqlite", None)
        file = _file(config, "online_store", "data/online.db", named.volume)
        return StoreDeclaration("online", "sqlite", {"file": file})
    _refuse_volume(named, "onlineStore", config.online_type)
    secret = _secret(named, tenant, "online-store")
    known = tenant.capabilities.online_stores
    return _database("online", config.online_type, config.online_store, secret, known)


def _offline(tenant: Tenant) -> StoreDeclaration | None:
    config, named = tenant.config, tenant.deployment.offline_store
    if config.offline_type in _OFFLINE_FILES:
        return _offline_file(tenant, named.volume)
    _refuse_volume(named, "offlineStore", config.offline_type)
    port = config.offline_store.get("port")
    if port is not None and (isinstance(port, bool) or not isinstance(port, int)):
        raise SpecError(
            f"{config.place('offline_store', 'port')}: {port!r} is not a number, and the operator ends with "
            "a panic on it.",
            remedy="Write the port as a bare number, e.g. 5432, without quotes and not as a ${VARIABLE}.",
        )
    secret = _secret(named, tenant, "offline-store")
    known = tenant.capabilities.offline_stores
    return _database("offline", config.offline_type, config.offline_store, secret, known)


def _offline_file(tenant: Tenant, volume: VolumeSpec | None) -> StoreDeclaration | None:
    """Return the offline store where it has to be said: Feast's default is not, nor is it a store that pods share."""
    kind = tenant.config.offline_type
    wanted = bool(tenant.config.offline_store) or "offline" in tenant.servers or volume is not None
    default = kind != "duckdb" and "offline" not in tenant.servers and volume is None
    if not wanted or (tenant.scaled and default):
        return None
    claim: dict[str, Json] = {"pvc": _claim(volume)} if volume else {}
    return StoreDeclaration("offline", kind, {"file": {"type": kind, **claim}})


def _registry(tenant: Tenant) -> StoreDeclaration:
    config, named = tenant.config, tenant.deployment.registry
    if config.registry_type == "remote":
        return StoreDeclaration("registry", "remote", None)
    if config.registry_type == "file" and _is_known_at_the_site(config, "registry", named.volume):
        return StoreDeclaration("registry", "file", None)
    if config.registry_type == "file":
        file = _file(config, "registry", "data/registry.db", named.volume)
        return StoreDeclaration("registry", "file", {"file": {**file, **_registry_cache(config.registry)}})
    _refuse_volume(named, "registry", config.registry_type)
    secret = _secret(named, tenant, "registry")
    known = tenant.capabilities.registry_stores
    return _database("registry", config.registry_type, config.registry, secret, known)


def _registry_cache(registry: Mapping[str, Json]) -> dict[str, Json]:
    keys = ("cache_ttl_seconds", "cache_mode", "s3_additional_kwargs")
    return {key: registry[key] for key in keys if key in registry}


def _secret(named: deployment_spec.StoreSpec, tenant: Tenant, suffix: str) -> str:
    return named.secret or f"{tenant.deployment.name}-{suffix}"


def _database(
    role: str, kind: str, parameters: Mapping[str, Json], secret: str, known: frozenset[str]
) -> StoreDeclaration:
    if kind not in known:
        return StoreDeclaration(role, kind, None)
    type_key = "registry_type" if role == "registry" else "type"
    key = StoreSecretKey(secret, kind, {name: value for name, value in parameters.items() if name != type_key})
    return StoreDeclaration(role, kind, {"store": {"type": kind, "secretRef": {"name": secret}}}, key)


def _with_key(store: StoreDeclaration, key: str) -> StoreDeclaration:
    if store.secret is None:
        return store
    reference: dict[str, Json] = {
        "type": store.type,
        "secretRef": {"name": store.secret.secret},
        "secretKeyName": key,
    }
    return replace(store, persistence={"store": reference}, secret=replace(store.secret, key=key))


def _is_known_at_the_site(config: FeatureStoreConfig, section: str, volume: VolumeSpec | None) -> bool:
    """Tell whether a path begins with a variable: the operator takes none, and the baked file alone is read then."""
    path = config.section(section).get("path")
    return isinstance(path, str) and path.startswith("$") and volume is None


def _file(config: FeatureStoreConfig, section: str, default: str, volume: VolumeSpec | None) -> dict[str, Json]:
    path = config.section(section).get("path", default)
    if not isinstance(path, str) or not path.startswith(("/", *_BUCKETS)):
        raise SpecError(
            f"{config.place(section, 'path')}: {path!r} is relative: it would lie in the image, which is read-only.",
            remedy="Use a path below /feast-data, or a database.",
        )
    if volume is None:
        return {"path": path}
    folder, _, name = path.rpartition("/")
    if folder != volume.mount_path.rstrip("/") or not name:
        raise SpecError(
            f"{config.place(section, 'path')}: {path!r} does not lie directly in the volume at {volume.mount_path}.",
            remedy=f"Write e.g. {volume.mount_path.rstrip('/')}/{default.rpartition('/')[2]}, or move the volume.",
        )
    return {"path": name, "pvc": _claim(volume)}


def _claim(volume: VolumeSpec) -> dict[str, Json]:
    mount: dict[str, Json] = {"mountPath": volume.mount_path.rstrip("/") or "/"}
    if volume.claim:
        return {**mount, "ref": {"name": volume.claim}}
    create: dict[str, Json] = {}
    if volume.access_modes:
        create["accessModes"] = list(volume.access_modes)
    if volume.storage_class:
        create["storageClassName"] = volume.storage_class
    if volume.size:
        create["resources"] = {"requests": {"storage": volume.size}}
    return {**mount, "create": create}


def _refuse_volume(named: deployment_spec.StoreSpec, section: str, kind: str) -> None:
    if named.volume is not None:
        raise SpecError(
            f"deployment.{section}.volume: a store of type {kind} is not a file, so it cannot be on a volume.",
            remedy="Leave the volume out.",
        )

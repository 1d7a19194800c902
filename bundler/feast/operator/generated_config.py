"""The feature_store.yaml that the operator generates from a FeatureStore and its Secrets (its ``repo_config.go``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import yaml

from bundler.errors import SpecError
from bundler.feast.operator.capabilities import Capabilities
from bundler.model.descriptor import Json
from bundler.model.json_document import mapping

DATA_FOLDER: Final = "/feast-data"
# What the operator, or Feast where the operator is silent, takes for granted.
_DEFAULTS: Final[dict[str, Json]] = {
    "provider": "local",
    "offline_store": {"type": "dask"},
    "auth": {"type": "no_auth"},
    "entity_key_serialization_version": 3,
}
_LIFTED: Final[tuple[str, ...]] = ("cache_ttl_seconds", "cache_mode", "s3_additional_kwargs")
_TYPED_OFFLINE_TEXTS: Final = ("host", "scheme", "cert")

Secrets = Mapping[str, Mapping[str, str]]
"""Name of a Secret or ConfigMap -> key -> text."""


def generate(resource: Json, objects: Secrets, capabilities: Capabilities) -> dict[str, Json]:
    """Return what the operator writes for a FeatureStore.

    Raises:
        SpecError: the operator would refuse a Secret, in its words, or crash on it.
    """
    spec = mapping(mapping(resource).get("spec"))
    services = mapping(spec.get("services"))
    online, offline = mapping(services.get("onlineStore")), services.get("offlineStore")
    config: dict[str, Json] = {
        "project": spec.get("feastProject"),
        "provider": "local",
        "online_store": _online(mapping(online.get("persistence")), objects),
    }
    if isinstance(offline, dict):
        config["offline_store"] = _offline(mapping(offline.get("persistence")), objects)
    config["registry"] = _registry(mapping(services.get("registry")), objects)
    config["auth"] = _auth(mapping(spec.get("authz")), objects, capabilities)
    engine = mapping(spec.get("batchEngine"))
    if engine:
        name = str(mapping(engine.get("configMapRef")).get("name"))
        config["batch_engine"] = _parameters(objects, name, str(engine.get("configMapKey", "config")))
    config["entity_key_serialization_version"] = 3
    return config


def differences(baked: Mapping[str, Json], generated: Mapping[str, Json]) -> tuple[str, ...]:
    """Return in what two configurations are not the same to Feast, a line each with both values."""
    in_image, in_cluster = _normal(baked), _normal(generated)
    return tuple(
        f"{key}: feature_store.yaml has {in_image.get(key)!r}, the operator generates {in_cluster.get(key)!r}"
        for key in sorted({*in_image, *in_cluster})
        if in_image.get(key) != in_cluster.get(key)
    )


def _normal(config: Mapping[str, Json]) -> dict[str, Json]:
    """Return a configuration with its defaults written out and every spelling of one thing made the same."""
    value = {**_DEFAULTS, **{key: inner for key, inner in config.items() if inner is not None}}
    registry = value.get("registry")
    registry = {"path": registry} if isinstance(registry, str) else registry
    value["registry"] = {"registry_type": "file", **mapping(registry)}
    for store in ("online_store", "offline_store", "auth"):
        inner = value.get(store)
        value[store] = {"type": inner} if isinstance(inner, str) else inner
    value["online_store"] = {"type": "sqlite", **mapping(value.get("online_store"))}
    if mapping(value["offline_store"]).get("type") == "file":
        value["offline_store"] = {**mapping(value["offline_store"]), "type": "dask"}
    return value


def _online(persistence: dict[str, Json], objects: Secrets) -> Json:
    store = persistence.get("store")
    if isinstance(store, dict):
        return _from_secret(store, objects, "type")
    file = mapping(persistence.get("file"))
    return {"path": _path(file, "online_store.db"), "type": "sqlite"}


def _offline(persistence: dict[str, Json], objects: Secrets) -> Json:
    store = persistence.get("store")
    if not isinstance(store, dict):
        return {"type": mapping(persistence.get("file")).get("type", "dask")}
    config = _from_secret(store, objects, "type")
    port = config.get("port")
    # Set by reflection into a typed field, without conversion.
    if port is not None and (isinstance(port, bool) or not isinstance(port, int)):
        raise SpecError(f"The operator ends with a panic: offline_store.port is {port!r}, not a number.")
    for name in _TYPED_OFFLINE_TEXTS:
        if name in config and not isinstance(config[name], str):
            raise SpecError(f"The operator ends with a panic: offline_store.{name} is {config[name]!r}, not a text.")
    return config


def _registry(registry: dict[str, Json], objects: Secrets) -> Json:
    remote = registry.get("remote")
    if isinstance(remote, dict):
        config: dict[str, Json] = {"path": remote.get("hostname"), "registry_type": "remote"}
        tls = remote.get("tls")
        if isinstance(tls, dict):
            config["cert"] = f"/tls/registry/{tls.get('certName')}"
        return config
    persistence = mapping(mapping(registry.get("local")).get("persistence"))
    store = persistence.get("store")
    if isinstance(store, dict):
        return _from_secret(store, objects, "registry_type")
    file = mapping(persistence.get("file"))
    lifted: dict[str, Json] = {key: file[key] for key in _LIFTED if key in file}
    return {"path": _path(file, "registry.db"), "registry_type": "file", **lifted}


def _path(file: dict[str, Json], default: str) -> Json:
    mount = mapping(file.get("pvc")).get("mountPath")
    if mount is not None:
        return f"{mount}/{file.get('path', default)}"
    return file.get("path", f"{DATA_FOLDER}/{default}")


def _auth(authz: dict[str, Json], objects: Secrets, capabilities: Capabilities) -> Json:
    if "kubernetes" in authz:
        return {"type": "kubernetes"}
    oidc = authz.get("oidc")
    if isinstance(oidc, dict):
        name = str(mapping(oidc.get("secretRef")).get("name"))
        properties: dict[str, Json] = dict(objects.get(name, {}))
        if not capabilities.oidc_issuer:
            for needed in ("client_id", "auth_discovery_url", "client_secret", "username", "password"):
                if needed not in properties:
                    raise SpecError(f"missing OIDC secret: {needed}")
        elif issuer := oidc.get("issuerUrl"):
            properties["auth_discovery_url"] = f"{issuer}/.well-known/openid-configuration"
        return {"type": "oidc", **properties}
    if capabilities.no_auth and authz.get("noAuth") is not True:
        return {"type": "kubernetes"}
    return {"type": "no_auth"}


def _from_secret(store: dict[str, Json], objects: Secrets, type_key: str) -> dict[str, Json]:
    kind = str(store.get("type"))
    name = str(mapping(store.get("secretRef")).get("name"))
    key = str(store.get("secretKeyName", kind))
    parameters = _parameters(objects, name, key)
    for tag in ("type", "registry_type"):
        if tag in parameters and parameters[tag] != kind:
            raise SpecError(f"secret key {key} in secret {name} contains tag named {tag} with value {parameters[tag]}")
    rest = {name: value for name, value in parameters.items() if name not in ("type", "registry_type")}
    return {type_key: kind, **rest}


def _parameters(objects: Secrets, name: str, key: str) -> dict[str, Json]:
    if name not in objects:
        raise SpecError(f'secrets "{name}" not found')
    if key not in objects[name]:
        raise SpecError(f"secret key {key} doesn't exist in secret {name}")
    try:
        value: Json = yaml.safe_load(objects[name][key])
    except yaml.YAMLError as error:
        raise SpecError(f"secret {key} contains invalid value") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SpecError(f"secret {key} contains invalid value")
    return value

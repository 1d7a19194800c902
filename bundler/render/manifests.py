"""Kubernetes manifests of a bundle: spec, feature store and image references become YAML text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import jinja2
import yaml

from bundler import resources
from bundler.errors import SpecError
from bundler.feast.capabilities import Capabilities
from bundler.feast.feature_store import FILE_NAME, FeatureStoreConfig, literal_credentials
from bundler.model.descriptor import Json
from bundler.model.spec import BundleSpec, StoreSecret

_FILE_KINDS: Final = frozenset({"file", "dask", "duckdb"})


@dataclass(frozen=True)
class DeploymentImages:
    """Full references, by digest, of the images in the internal registry; the folder is where the baked repo lies."""

    feature_server: str
    kubectl: str
    repo_folder: str


@dataclass(frozen=True)
class _Store:
    """How the FeatureStore says a store: ``kind`` is "store", "path", "type" or "remote"."""

    kind: str
    type: str
    path: str = ""
    secret: str = ""
    parameters: str = ""


@dataclass(frozen=True)
class _Secret:
    name: str
    data: tuple[tuple[str, str], ...]


def credentials_secret(spec: BundleSpec) -> str:
    """Return the name of the one Secret that a site fills in."""
    return spec.deployment.credentials_secret or f"{spec.deployment.name}-credentials"


def service_accounts(spec: BundleSpec, capabilities: Capabilities) -> tuple[str, ...]:
    """Return the accounts that the operator's pods of this FeatureStore run under."""
    name = f"feast-{spec.deployment.name}"
    return (name, f"{name}-cronjob") if capabilities.cron_job_account else (name,)


def render(
    spec: BundleSpec,
    config: FeatureStoreConfig,
    images: DeploymentImages,
    capabilities: Capabilities,
    operator_manifest: str | None = None,
) -> Mapping[str, str]:
    """Return path below ``manifests/`` -> YAML text, in the order in which the objects are applied.

    Raises:
        SpecError: feature_store.yaml holds a credential, or a store that the operator cannot be told of.
    """
    if places := literal_credentials(config):
        raise SpecError(
            f"{FILE_NAME} holds a credential at {', '.join(places)}; it would be baked into the image.",
            remedy="Replace it with a ${VARIABLE}, which a Secret fills in on the cluster.",
        )
    values = _values(spec, config, images, capabilities)
    names = ["namespace.yaml", "serviceaccounts.yaml"]
    names += ["store-secrets.yaml"] if values["store_secrets"] else []
    names.append("featurestore.yaml")
    rendered = {name: _render(f"{name}.j2", values) for name in names}
    rendered["kustomization.yaml"] = _render("kustomization.yaml.j2", {"resources": names})
    if config.variables:
        rendered[f"secrets/{values['credentials_secret']}.yaml"] = _render("credentials.yaml.j2", values)
    if operator_manifest is not None:
        rendered["operator/install.yaml"] = operator_manifest
        rendered["operator/kustomization.yaml"] = _render("operator-kustomization.yaml.j2", values)
    return rendered


def _values(
    spec: BundleSpec, config: FeatureStoreConfig, images: DeploymentImages, capabilities: Capabilities
) -> dict[str, object]:
    deployment = spec.deployment
    registry = _registry(config, deployment.registry, deployment.name)
    online = _database(
        config.online_store, "type", config.online_type, deployment.online_store, f"{deployment.name}-online-store"
    )
    offline = _offline(config, deployment.offline_store, deployment.name)
    stores = [store for store in (registry, online, offline) if store is not None and store.kind == "store"]
    secrets: dict[str, list[tuple[str, str]]] = {}
    for store in stores:
        secrets.setdefault(store.secret, []).append((store.type, store.parameters))
    return {
        "name": deployment.name,
        "namespace": deployment.namespace,
        "project": config.project,
        "auth": config.auth,
        "capabilities": capabilities,
        "feature_server": images.feature_server,
        "kubectl": images.kubectl,
        "repo_folder": images.repo_folder,
        "pull_policy": deployment.image_pull_policy,
        "pull_secrets": deployment.image_pull_secrets,
        "service_accounts": service_accounts(spec, capabilities),
        "credentials_secret": credentials_secret(spec),
        "variables": config.variables,
        "store_secrets": [_Secret(name, tuple(data)) for name, data in secrets.items()],
        "registry": registry,
        "online": online,
        "offline": offline,
        "cron": deployment.cron_job,
    }


def _registry(config: FeatureStoreConfig, secret: StoreSecret | None, name: str) -> _Store:
    path = config.registry.get("path")
    if config.registry_type == "remote":
        return _Store("remote", "remote", path=str(path))
    return _database(config.registry, "registry_type", config.registry_type, secret, f"{name}-registry")


def _offline(config: FeatureStoreConfig, secret: StoreSecret | None, name: str) -> _Store | None:
    if config.offline_type == "remote":
        return None
    if config.offline_type in _FILE_KINDS:
        return _Store("type", config.offline_type) if config.offline_store else None
    return _database(config.offline_store, "type", config.offline_type, secret, f"{name}-offline-store")


def _database(store: Mapping[str, Json], type_key: str, kind: str, secret: StoreSecret | None, default: str) -> _Store:
    if kind in ("sqlite", "file"):
        path = store.get("path")
        if path is None:
            path = "/feast-data/registry.db" if type_key == "registry_type" else "/feast-data/online_store.db"
        if not isinstance(path, str) or not path.startswith(("/", "s3://", "gs://")):
            raise SpecError(
                f"{FILE_NAME}: {type_key.replace('registry_type', 'registry').replace('type', 'online_store')}.path: "
                f"{path!r} is relative: it would lie in the image, which is read-only and has no memory.",
                remedy="Use a path below /feast-data, or a database.",
            )
        return _Store("path", kind, path=path)
    parameters = {key: value for key, value in store.items() if key != type_key}
    text = yaml.safe_dump(parameters, sort_keys=False, allow_unicode=True)
    return _Store("store", kind, secret=secret.secret if secret else default, parameters=text)


def _render(template: str, values: Mapping[str, object]) -> str:
    environment = jinja2.Environment(  # noqa: S701  (YAML, not HTML: the yaml filter escapes)
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    environment.filters["yaml"] = scalar
    source = (resources.folder("manifests") / template).read_text(encoding="utf-8")
    text = environment.from_string(source).render(values).rstrip() + "\n"
    list(yaml.safe_load_all(text))
    return text


def scalar(value: object) -> str:
    """Write a value as a YAML scalar on one line that reads back as that value, whatever it looks like."""
    if isinstance(value, (bool, int)):
        return str(value).lower()
    if not isinstance(value, str):
        raise TypeError(f"a template writes {value!r}")
    if _plain(value):
        return value
    text: str = yaml.safe_dump(value, default_style='"', width=float("inf"), allow_unicode=True)
    return text.rstrip("\n")


def _plain(value: str) -> bool:
    """Whether a text reads as itself without quotes, anywhere: letters, digits and a few marks, and no other type."""
    return (
        bool(value)
        and value[0].isascii()
        and value[0].isalpha()
        and all(mark.isascii() and (mark.isalnum() or mark in "-_./") for mark in value)
        and yaml.safe_load(value) == value
    )

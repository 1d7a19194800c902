"""The FeatureStore resource that makes the operator run what a bundle holds."""

from __future__ import annotations

from typing import Final

from bundler.errors import SpecError
from bundler.feast.crd import API_VERSION
from bundler.feast.feature_store import FILE_NAME
from bundler.feast.stores import Store, Stores
from bundler.feast.tenant import Tenant
from bundler.feast.wiring import Wiring
from bundler.model.descriptor import Json

# Each item is one `kubectl exec deploy/feast-NAME -i -- bash -c ITEM`; the next is not run where one fails.
APPLY: Final = "feast apply"
MATERIALIZE: Final = "feast materialize-incremental $(date -u +'%Y-%m-%dT%H:%M:%S')"


def feature_store(tenant: Tenant, stores: Stores, wiring: Wiring) -> dict[str, Json]:
    """Return the FeatureStore (feast.dev/v1) of a tenant.

    Raises:
        SpecError: what feature_store.yaml asks for cannot be said to this operator release.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": "FeatureStore",
        "metadata": {"name": tenant.deployment.name, "namespace": tenant.deployment.namespace},
        "spec": {
            "feastProject": tenant.config.project,
            "feastProjectDir": wiring.project_dir,
            **_authz(tenant),
            "services": _services(tenant, stores, wiring),
            "cronJob": _cron_job(tenant),
        },
    }


def _authz(tenant: Tenant) -> dict[str, Json]:
    match tenant.config.auth:
        case "no_auth":
            # Left out, it means none before noAuth was there, and Kubernetes tokens since.
            return {"authz": {"noAuth": True}} if tenant.capabilities.no_auth else {}
        case "kubernetes":
            return {"authz": {"kubernetes": {}}}
        case other:
            raise SpecError(
                f"{FILE_NAME}: auth.type: {other!r} cannot be deployed.", remedy="Use no_auth or kubernetes."
            )


def _services(tenant: Tenant, stores: Stores, wiring: Wiring) -> dict[str, Json]:
    services: dict[str, Json] = {**wiring.services, "registry": _registry(tenant, stores.registry, wiring)}
    services["onlineStore"] = {"server": server(tenant, wiring), **_persistence(stores.online)}
    if stores.offline and stores.offline.persistence is not None:
        services["offlineStore"] = _persistence(stores.offline)
    return services


def _registry(tenant: Tenant, store: Store, wiring: Wiring) -> dict[str, Json]:
    if store.type == "remote":
        return {"remote": {"hostname": _remote_path(tenant)}}
    return {"local": {"server": {**server(tenant, wiring), "grpc": True}, **_persistence(store)}}


def _remote_path(tenant: Tenant) -> str:
    path = tenant.config.registry.get("path")
    if not isinstance(path, str) or not path:
        raise SpecError(
            f"{FILE_NAME}: registry.path: {path!r} does not name a remote registry.", remedy="Write HOST:PORT."
        )
    return path


def _persistence(store: Store) -> dict[str, Json]:
    return {} if store.persistence is None else {"persistence": store.persistence}


def server(tenant: Tenant, wiring: Wiring) -> dict[str, Json]:
    """Return what every server has: the baked image, the wiring, and the credentials.

    They are the same everywhere, because the CronJob runs its commands in whichever server comes first in the pod.
    """
    deployment = tenant.deployment
    value: dict[str, Json] = {
        "image": tenant.images.feature_server,
        "imagePullPolicy": deployment.image_pull_policy,
    }
    if wiring.env:
        value["env"] = [variable(name, text) for name, text in wiring.env.items()]
    if tenant.config.variables:
        value["envFrom"] = [{"secretRef": {"name": tenant.credentials_secret}}]
    return value


def variable(name: str, text: str) -> dict[str, Json]:
    """Return a variable that has exactly this text, where Kubernetes would expand ``$(NAME)`` and halve ``$$``."""
    return {"name": name, "value": text.replace("$", "$$")}


def _cron_job(tenant: Tenant) -> dict[str, Json]:
    cron = tenant.deployment.cron_job
    value: dict[str, Json] = {"schedule": cron.schedule}
    if cron.time_zone:
        value["timeZone"] = cron.time_zone
    commands: list[Json] = [APPLY, MATERIALIZE]
    return {
        **value,
        "concurrencyPolicy": cron.concurrency_policy,
        "suspend": cron.suspend,
        "containerConfigs": {
            "image": tenant.images.kubectl,
            "imagePullPolicy": tenant.deployment.image_pull_policy,
            "commands": commands,
        },
    }

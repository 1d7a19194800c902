"""The FeatureStore resource that makes the operator run what a bundle holds."""

from __future__ import annotations

from typing import Any

from bundler.errors import SpecError
from bundler.feast.deployment import servers
from bundler.feast.deployment.cron_job import cron_job
from bundler.feast.deployment.persistence import StoreDeclaration, Stores
from bundler.feast.deployment.tenant import Tenant
from bundler.feast.deployment.topology import FeatureStoreRole
from bundler.feast.deployment.wiring import Wiring
from bundler.feast.operator.crd import API_VERSION
from bundler.model.deployment_spec import Oidc
from bundler.model.descriptor import Json


def feature_store(tenant: Tenant, stores: Stores, wiring: Wiring) -> dict[str, Json]:
    """Return the FeatureStore (feast.dev/v1) of a tenant.

    Raises:
        SpecError: what feature_store.yaml asks for cannot be said to this operator release.
    """
    scaling = tenant.deployment.scaling
    replicas: dict[str, Json] = {"replicas": scaling.replicas} if scaling and scaling.replicas else {}
    engine: dict[str, Json] = {"batchEngine": _batch_engine(tenant)} if tenant.deployment.batch_engine else {}
    return {
        "apiVersion": API_VERSION,
        "kind": "FeatureStore",
        "metadata": {"name": tenant.deployment.name, "namespace": tenant.deployment.namespace},
        "spec": {
            "feastProject": tenant.config.project,
            "feastProjectDir": wiring.project_dir,
            **replicas,
            **_authz(tenant),
            **engine,
            "services": _services(tenant, stores, wiring),
            "cronJob": cron_job(tenant),
        },
    }


def _authz(tenant: Tenant) -> dict[str, Json]:
    auth = tenant.deployment.auth
    match tenant.auth:
        case "no_auth":
            # Left out, it means none before noAuth was there, and Kubernetes tokens since.
            return {"authz": {"noAuth": True}} if tenant.capabilities.no_auth else {}
        case "kubernetes":
            return {"authz": {"kubernetes": {"roles": list[Json](auth.roles)} if auth and auth.roles else {}}}
        case "oidc" if auth and auth.oidc:
            return {"authz": {"oidc": _oidc(auth.oidc)}}
        case "oidc":
            raise SpecError(
                f"{tenant.config.place('auth', 'type')} is oidc, and the spec names no Secret with the "
                "provider's properties.",
                remedy="Add deployment.auth: {type: oidc, oidc: {secret: NAME}}.",
            )
        case other:
            raise SpecError(
                f"{tenant.config.place('auth', 'type')}: {other!r} cannot be deployed.",
                remedy="Use no_auth, kubernetes or oidc.",
            )


def _oidc(oidc: Oidc) -> dict[str, Json]:
    value: dict[str, Json] = {"secretRef": {"name": oidc.secret}}
    if oidc.issuer_url:
        value["issuerUrl"] = oidc.issuer_url
    if oidc.verify_ssl is not None:
        value["verifySSL"] = oidc.verify_ssl
    if oidc.ca_config_map:
        value["caCertConfigMap"] = {"name": oidc.ca_config_map, "key": "ca.crt"}
    return value


def _batch_engine(tenant: Tenant) -> dict[str, Json]:
    return {"configMapRef": {"name": tenant.names.batch_engine}, "configMapKey": "config"}


def _services(tenant: Tenant, stores: Stores, wiring: Wiring) -> dict[str, Json]:
    services: dict[str, Json] = {
        **wiring.services,
        **_pod(tenant, stores, wiring),
        "registry": _registry(tenant, stores.registry, wiring),
        "onlineStore": _online(tenant, stores.online, wiring),
    }
    offline = tenant.deployment.servers.offline
    if stores.offline and (stores.offline.persistence is not None or offline):
        server: dict[str, Json] = {"server": servers.other(tenant, wiring, offline)} if offline else {}
        services["offlineStore"] = {**server, **_persistence(stores.offline)}
    if tenant.deployment.servers.ui:
        services["ui"] = servers.other(tenant, wiring, tenant.deployment.servers.ui)
    return services


def _pod(tenant: Tenant, stores: Stores, wiring: Wiring) -> dict[str, Json]:
    """Return what concerns the pod that all servers share."""
    deployment = tenant.deployment
    value: dict[str, Json] = {}
    if deployment.scaling and deployment.scaling.autoscaling:
        value["scaling"] = {"autoscaling": _autoscaling(tenant)}
    budget = deployment.disruption_budget
    if budget:
        value["podDisruptionBudgets"] = budget.model_dump(by_alias=True, exclude_none=True)
    volumes: list[Any] = [*wiring.volumes, *deployment.volumes]
    if volumes:
        value["volumes"] = volumes
    if security_context := _security_context(tenant, stores):
        value["securityContext"] = security_context
    if deployment.tolerations:
        value["tolerations"] = [dict[str, Json](toleration) for toleration in deployment.tolerations]
    if deployment.pod_annotations:
        value["podAnnotations"] = dict[str, Json](deployment.pod_annotations)
    return value


def _security_context(tenant: Tenant, stores: Stores) -> dict[str, Json]:
    """Return what is asked for, and where files lie on volumes the group that may write there.

    Most volumes come as root's own, and images run as nobody in group 0. OpenShift chooses a group itself.
    """
    written = dict[str, Json](tenant.deployment.security_context or {})
    has_volumes = any(
        store is not None and store.has_volume for store in (stores.online, stores.offline, stores.registry)
    )
    return {"fsGroup": 0, **written} if has_volumes and not tenant.deployment.openshift else written


def _autoscaling(tenant: Tenant) -> dict[str, Json]:
    autoscaling = tenant.deployment.scaling.autoscaling if tenant.deployment.scaling else None
    if autoscaling is None:
        return {}
    target: dict[str, Json] = {"type": "Utilization", "averageUtilization": autoscaling.cpu_utilization}
    metric: dict[str, Json] = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    return {
        "minReplicas": autoscaling.least,
        "maxReplicas": autoscaling.max_replicas,
        "metrics": [metric],
    }


def _online(tenant: Tenant, store: StoreDeclaration, wiring: Wiring) -> dict[str, Json]:
    if tenant.role is FeatureStoreRole.SHARED_REGISTRY and tenant.capabilities.online_disabled:
        # The persistence stays: the CRD's rules for scaling ask for it all the same.
        return {"disabled": True, **_persistence(store)}
    return {"server": servers.online(tenant, wiring), **_persistence(store)}


def _registry(tenant: Tenant, store: StoreDeclaration, wiring: Wiring) -> dict[str, Json]:
    if store.type == "remote":
        return {"remote": _remote(tenant)}
    if tenant.deployment.servers.registry is None:
        return {"local": _persistence(store)}
    return {"local": {"server": servers.registry(tenant, wiring), **_persistence(store)}}


def _remote(tenant: Tenant) -> dict[str, Json]:
    path = tenant.config.registry.get("path")
    if not isinstance(path, str) or not path:
        raise SpecError(
            f"{tenant.config.place('registry', 'path')}: {path!r} does not name a remote registry.",
            remedy="Write HOST:PORT.",
        )
    # By host, not by reference to the other FeatureStore: 0.61 allows that only within one project.
    remote: dict[str, Json] = {"hostname": path}
    authority = tenant.registry_authority
    if authority:
        remote["tls"] = {"configMapRef": {"name": authority.config_map}, "certName": authority.key}
    return remote


def _persistence(store: StoreDeclaration) -> dict[str, Json]:
    return {} if store.persistence is None else {"persistence": store.persistence}

"""Combinations that the operator, Kubernetes or Feast would refuse later, or that would not work, with the reason."""

from __future__ import annotations

from collections.abc import Iterator

from bundler.errors import SpecError
from bundler.feast.deployment.persistence import StoreDeclaration, Stores
from bundler.feast.deployment.tenant import Tenant
from bundler.feast.deployment.topology import FeatureStoreRole
from bundler.feast.deployment.wiring import DATA_FOLDER
from bundler.feast.rules import feast_releases, network_refusals
from bundler.feast.stores.feature_store_yaml import literal_credentials
from bundler.model import yaml_document

_NEEDED_CPU = "an autoscaler compares the CPU that pods use with what they requested"


def check(tenant: Tenant, stores: Stores) -> None:
    """Raise ``SpecError`` with every reason why a tenant cannot work, where there is one."""
    problems = tuple(_problems(tenant, stores))
    if problems:
        count = "a reason" if len(problems) == 1 else f"{len(problems)} reasons"
        raise SpecError(f"The FeatureStore {tenant.deployment.name} cannot work, for {count}.", details=problems)


def _problems(tenant: Tenant, stores: Stores) -> Iterator[str]:
    yield from _of_the_release(tenant)
    yield from _of_scaling(tenant, stores)
    yield from _of_stores(tenant, stores)
    yield from _of_the_engine(tenant)
    yield from _of_authorization(tenant)
    yield from network_refusals.problems(tenant, stores)
    yield from _of_the_registry(tenant)
    yield from feast_releases.shared_registry_problems(tenant)


def _of_the_release(tenant: Tenant) -> Iterator[str]:
    """Yield what is asked for and what the operator's release does not have."""
    deployment, can = tenant.deployment, tenant.capabilities
    oidc = deployment.auth.oidc if deployment.auth else None
    observability = deployment.observability
    asked = (
        ("scaling", deployment.scaling is not None, can.scaling, "0.61"),
        ("disruptionBudget", deployment.disruption_budget is not None, can.scaling, "0.61"),
        ("batchEngine", deployment.batch_engine is not None, can.batch_engine, "0.60"),
        ("podAnnotations", bool(deployment.pod_annotations), can.pod_annotations, "0.62"),
        ("tolerations", bool(deployment.tolerations), can.tolerations, "0.67"),
        ("auth.oidc.issuerUrl", bool(oidc and oidc.issuer_url), can.oidc_issuer, "0.62"),
        ("auth.oidc.verifySSL", bool(oidc and oidc.verify_ssl is not None), can.oidc_issuer, "0.62"),
        ("auth.oidc.caConfigMap", bool(oidc and oidc.ca_config_map), can.oidc_issuer, "0.62"),
    )
    for key, wanted, there, since in asked:
        if wanted and not there:
            yield f"deployment.{key}: this release of the operator does not have it; {since} has. Leave it out."
    if observability and observability.labels and can.pod_annotations:
        yield (
            "deployment.observability.labels: this release makes the ServiceMonitor itself, without labels of ours. "
            "Leave them out and let Prometheus select by feast.dev/name."
        )


def _of_scaling(tenant: Tenant, stores: Stores) -> Iterator[str]:
    if not tenant.scaled:
        if tenant.deployment.disruption_budget:
            yield (
                "deployment.disruptionBudget: one pod cannot stay while its node is drained. Scale, or write "
                "disruptionBudget: null."
            )
        return
    for store in (stores.online, stores.offline, stores.registry):
        if store and not store.is_shared:
            yield f"deployment.scaling: {_not_shared(tenant, store)}"
    autoscaling = tenant.deployment.scaling.autoscaling if tenant.deployment.scaling else None
    if autoscaling:
        if autoscaling.max_replicas is None:
            yield "deployment.scaling.autoscaling.maxReplicas: is missing, and this topology has none. Add it."
        yield from _without_cpu_request(tenant)
    yield from _of_disruption(tenant)


def _of_disruption(tenant: Tenant) -> Iterator[str]:
    """Yield where a budget would never let a pod go, as Kubernetes rounds percentages: up."""
    budget, scaling = tenant.deployment.disruption_budget, tenant.deployment.scaling
    if budget is None or scaling is None:
        return
    pods = scaling.autoscaling.least if scaling.autoscaling else scaling.replicas or 1
    if budget.min_available is not None and _of_pods(budget.min_available, pods) >= pods:
        yield (
            f"deployment.disruptionBudget.minAvailable: {budget.min_available} of {pods} pods must stay, so "
            "no node could be drained. Lower it, or raise the number of pods under scaling."
        )
    if budget.max_unavailable is not None and _of_pods(budget.max_unavailable, pods) == 0:
        yield (
            "deployment.disruptionBudget.maxUnavailable: no pod may ever go, so no node could be drained. Write 1 or "
            "more."
        )


def _of_pods(written: int | str, pods: int) -> int:
    number = int(str(written).rstrip("%"))
    return -(-number * pods // 100) if str(written).endswith("%") else number


def _not_shared(tenant: Tenant, store: StoreDeclaration) -> str:
    section = {"online": "online_store", "offline": "offline_store", "registry": "registry"}[store.role]
    if store.persistence is None:
        return (
            f"the operator scales only what it knows to be shared, and it cannot be told of {section} "
            f"({store.type}). Use a store that this release has, or one pod."
        )
    cure = "a database, a remote registry, or s3:// or gs://" if store.role == "registry" else "a database"
    return f"{tenant.config.place(section)} is a file ({store.type}), which pods do not share. Use {cure}, or one pod."


def _without_cpu_request(tenant: Tenant) -> Iterator[str]:
    wanted = tenant.deployment.servers
    all_servers = {"online": wanted.online, "registry": wanted.registry, "offline": wanted.offline, "ui": wanted.ui}
    for name in sorted(tenant.servers):
        server = all_servers[name]
        resources = (server.resources if server else None) or tenant.deployment.resources
        if resources is None or "cpu" not in resources.requests:
            yield f"deployment.scaling.autoscaling: the server {name} requests no CPU: {_NEEDED_CPU}. Add resources."


def _of_the_engine(tenant: Tenant) -> Iterator[str]:
    engine = tenant.deployment.batch_engine
    for place in literal_credentials(dict(engine.config)) if engine else ():
        yield (
            f"deployment.batchEngine.config.{yaml_document.dotted(place)}: a credential would lie in a "
            "ConfigMap. Replace it with a ${VARIABLE}, which a Secret fills in."
        )


def _of_stores(tenant: Tenant, stores: Stores) -> Iterator[str]:
    deployment = tenant.deployment
    for section, store in (
        ("onlineStore", deployment.online_store),
        ("offlineStore", deployment.offline_store),
        ("registry", deployment.registry),
    ):
        if store.volume and store.volume.mount_path.rstrip("/") == DATA_FOLDER:
            yield (
                f"deployment.{section}.volume.mountPath: the operator mounts an empty volume at {DATA_FOLDER} itself. "
                "Use another folder, e.g. /feast-volume."
            )
        if store.volume and _covers(store.volume.mount_path, tenant.images.repo_folder):
            yield f"deployment.{section}.volume.mountPath: would hide the feature repo at {tenant.images.repo_folder}."
    named = (deployment.online_store, deployment.offline_store, deployment.registry)
    folders = [store.volume.mount_path.rstrip("/") for store in named if store.volume]
    for folder in sorted({folder for folder in folders if folders.count(folder) > 1}):
        yield f"volume.mountPath: {folder} is named for two stores, and every volume needs a folder of its own."
    if deployment.wiring == "operator":
        for generated in (stores.online, stores.offline, stores.registry):
            if (
                generated
                and generated.persistence is None
                and not (generated.role == "registry" and generated.type == "remote")
            ):
                yield (
                    "deployment.wiring: the operator cannot generate "
                    f"a {generated.role} store of type {generated.type}. Use the wiring baked or mounted."
                )


def _covers(mount: str, folder: str) -> bool:
    return f"{folder}/".startswith(f"{mount.rstrip('/')}/")


def _of_authorization(tenant: Tenant) -> Iterator[str]:
    auth = tenant.deployment.auth
    if auth and tenant.deployment.wiring != "operator" and auth.type != tenant.config.auth:
        place, counts = tenant.config.place("auth"), tenant.config.auth
        yield (
            f"deployment.auth.type is {auth.type}, but {place}, which counts, is {counts}. "
            f"Write there: auth: {{type: {auth.type}}}, or here auth: {{type: {counts}}}."
        )


def _of_the_registry(tenant: Tenant) -> Iterator[str]:
    shared = tenant.registry
    registry = tenant.deployment.servers.registry
    if tenant.role is FeatureStoreRole.SHARED_REGISTRY and (registry is None or not registry.grpc):
        yield "deployment.servers.registry: tenants use it by gRPC. Do not disable that."
    if tenant.role is FeatureStoreRole.SHARED_REGISTRY and tenant.config.registry_type == "remote":
        yield f"{tenant.config.place('registry')}: what tenants share is itself remote. Use a database."
    if shared is None or tenant.role is not FeatureStoreRole.REGISTRY_CLIENT:
        return
    authority = tenant.registry_authority
    config = tenant.config.registry
    written = (tenant.config.registry_type, config.get("path"), config.get("cert"))
    if written != ("remote", shared.address, authority.path if authority else None):
        lines = f"registry_type: remote, path: {shared.address}"
        lines += f", cert: {authority.path}" if authority else ""
        yield f"{tenant.config.place('registry')}: a tenant of the shared registry needs {{{lines}}}."
    if shared.tls and authority is None:
        yield "deployment.tls.caConfigMap: tenants check the registry's certificate with it. Name it, or use no TLS."

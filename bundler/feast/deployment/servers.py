"""The servers of a FeatureStore: one container each, all of one image and one environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bundler.feast.deployment.tenant import Tenant
from bundler.feast.deployment.wiring import Wiring
from bundler.model.descriptor import Json
from bundler.model.server_spec import Resources, ServerSpec, Workers


@dataclass(frozen=True)
class Ports:
    """Ports of a server's container: without and with TLS (the operator's ``services_types.go``)."""

    http: int
    https: int

    def chosen(self, *, tls: bool) -> int:
        """Return the one that is open."""
        return self.https if tls else self.http


PORTS: Final[Mapping[str, Ports]] = {
    "registry": Ports(6570, 6571),
    "registry-rest": Ports(6572, 6573),
    "online": Ports(6566, 6567),
    "offline": Ports(8815, 8816),
    "ui": Ports(8888, 8443),
}
METRICS_PORT: Final = 8000


def open_ports(tenant: Tenant) -> tuple[int, ...]:
    """Return the ports on which a pod of a tenant answers."""
    wanted = set(tenant.servers)
    registry = tenant.deployment.servers.registry
    if "registry" in wanted and registry is not None:
        wanted |= {"registry-rest"} if registry.rest_api else set()
        wanted -= set() if registry.grpc else {"registry"}
    ports = {PORTS[name].chosen(tls=tenant.tls) for name in wanted}
    if "online" in wanted and metrics(tenant):
        ports.add(METRICS_PORT)
    return tuple(sorted(ports))


def metrics(tenant: Tenant) -> bool:
    """Whether the online server offers metrics: because it was asked to, or because Prometheus shall read them."""
    observability = tenant.deployment.observability
    return tenant.deployment.servers.online.metrics or bool(observability and observability.service_monitor)


def online(tenant: Tenant, wiring: Wiring) -> dict[str, Json]:
    """Return the online server, the only one with worker processes and metrics."""
    settings = tenant.deployment.servers.online
    value = _server(tenant, wiring, settings)
    if metrics(tenant):
        value["metrics"] = True
    if settings.workers:
        value["workerConfigs"] = _workers(settings.workers)
    return value


def registry(tenant: Tenant, wiring: Wiring) -> dict[str, Json]:
    """Return the registry server."""
    settings = tenant.deployment.servers.registry
    value = _server(tenant, wiring, settings or ServerSpec())
    value["grpc"] = settings.grpc if settings else True
    if settings and settings.rest_api:
        value["restAPI"] = True
    return value


def other(tenant: Tenant, wiring: Wiring, settings: ServerSpec) -> dict[str, Json]:
    """Return the offline server or the web interface."""
    return _server(tenant, wiring, settings)


def _server(tenant: Tenant, wiring: Wiring, settings: ServerSpec) -> dict[str, Json]:
    """Return what every server has: the baked image, the wiring, and the credentials.

    They are the same everywhere, because the CronJob runs its commands in whichever server comes first in the pod.
    """
    deployment = tenant.deployment
    value: dict[str, Json] = {
        "image": tenant.images.feature_server,
        "imagePullPolicy": deployment.image_pull_policy,
    }
    env = _environment(tenant, wiring, settings)
    if env:
        value["env"] = [variable(name, text) for name, text in env.items()]
    if tenant.variables:
        value["envFrom"] = [{"secretRef": {"name": tenant.credentials_secret}}]
    mounts: list[Json] = [dict[str, Json](mount) for mount in (*wiring.mounts, *settings.volume_mounts)]
    if mounts:
        value["volumeMounts"] = mounts
    resources = settings.resources or deployment.resources
    if resources:
        value["resources"] = resources_value(resources)
    if settings.node_selector:
        value["nodeSelector"] = dict[str, Json](settings.node_selector)
    if settings.log_level:
        value["logLevel"] = settings.log_level
    return {**value, **_tls(tenant)}


def _environment(tenant: Tenant, wiring: Wiring, settings: ServerSpec) -> Mapping[str, str]:
    observability = tenant.deployment.observability
    telemetry = observability.open_telemetry if observability else None
    traces = (
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": telemetry.endpoint,
            "OTEL_SERVICE_NAME": telemetry.service_name or tenant.deployment.name,
        }
        if telemetry
        else {}
    )
    # The wiring last: nothing that a user writes may lead a server elsewhere than the CronJob's commands.
    return {**traces, **settings.env, **wiring.env}


def _tls(tenant: Tenant) -> dict[str, Json]:
    tls = tenant.deployment.tls
    if tls is None:
        # OpenShift gives every server TLS that does not refuse it.
        return {"tls": {"disable": True}} if tenant.deployment.openshift else {}
    if tenant.deployment.openshift and tls.secret is None:
        return {}
    return {"tls": {"secretRef": {"name": tls.secret or tenant.names.tls}}}


def _workers(workers: Workers) -> dict[str, Json]:
    return dict[str, Json](workers.model_dump(by_alias=True, exclude_none=True))


def resources_value(resources: Resources) -> dict[str, Json]:
    """Return resources as Kubernetes has them."""
    value: dict[str, Json] = {}
    if resources.requests:
        value["requests"] = dict[str, Json](resources.requests)
    if resources.limits:
        value["limits"] = dict[str, Json](resources.limits)
    return value


def variable(name: str, text: str) -> dict[str, Json]:
    """Return a variable that has exactly this text, where Kubernetes would expand ``$(NAME)`` and halve ``$$``."""
    return {"name": name, "value": text.replace("$", "$$")}

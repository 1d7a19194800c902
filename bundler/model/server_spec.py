"""What the spec can say of the servers of a FeatureStore, of their number, and of the network around them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, model_validator

from bundler.model.spec_parts import ABSOLUTE_PATH, KEY, PERCENT_OR_NUMBER, QUANTITY, DnsLabel, DnsSubdomain, Part

Native = dict[str, JsonValue]
"""An object exactly as Kubernetes has it."""
AbsolutePath = Annotated[str, Field(pattern=ABSOLUTE_PATH)]
Quantity = Annotated[str, Field(pattern=QUANTITY)]
Positive = Annotated[int, Field(ge=1, lt=2**31)]
NotNegative = Annotated[int, Field(ge=0, lt=2**31)]


def _checked_cidr(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        msg = f"not a range of addresses: {error} (expected e.g. 10.1.2.0/24)"
        raise ValueError(msg) from error
    return text


Cidr = Annotated[str, AfterValidator(_checked_cidr)]


class Resources(Part):
    """CPU and memory, e.g. cpu: 500m, memory: 512Mi."""

    requests: Mapping[str, Quantity] = {}
    """What is reserved for each container; an autoscaler needs the CPU request of every one."""
    limits: Mapping[str, Quantity] = {}
    """What no container may exceed."""


class ServerSpec(Part):
    """One container of the pod."""

    log_level: Literal["debug", "info", "warning", "error", "critical"] | None = Field(default=None, alias="logLevel")
    """How much it logs."""
    resources: Resources | None = None
    """CPU and memory of this server, instead of those for all."""
    env: Mapping[str, str] = {}
    """Further variables of this server; their values are not secret."""
    node_selector: Mapping[str, str] = Field(default={}, alias="nodeSelector")
    """Labels of the nodes it may run on; the operator joins those of all servers, which share one pod."""
    volume_mounts: tuple[Native, ...] = Field(default=(), strict=False, alias="volumeMounts")
    """Mounts of the deployment's volumes, as Kubernetes has them."""


class Workers(Part):
    """Processes of the online server."""

    workers: Annotated[int, Field(ge=-1, lt=2**31)] | None = None
    """Number of worker processes; -1 for one a CPU."""
    worker_connections: Positive | None = Field(default=None, alias="workerConnections")
    """Connections that each worker serves at once."""
    max_requests: NotNegative | None = Field(default=None, alias="maxRequests")
    """Requests after which a worker is replaced."""
    max_requests_jitter: NotNegative | None = Field(default=None, alias="maxRequestsJitter")
    """Random part of that number, so that workers are not replaced together."""
    keep_alive_timeout: Positive | None = Field(default=None, alias="keepAliveTimeout")
    """Seconds that an idle connection is kept."""
    registry_ttl_seconds: NotNegative | None = Field(default=None, alias="registryTTLSeconds")
    """Seconds after which each worker reads the registry again."""


class OnlineServer(ServerSpec):
    """The server of online features."""

    workers: Workers | None = None
    """Its processes."""
    metrics: bool = False
    """Serve Prometheus metrics on port 8000."""


class RegistryServer(ServerSpec):
    """The server of the registry."""

    grpc: bool = True
    """Serve gRPC, which remote registries use."""
    rest_api: bool = Field(default=False, alias="restAPI")
    """Serve HTTP as well."""

    @model_validator(mode="after")
    def _serves_something(self) -> RegistryServer:
        if not (self.grpc or self.rest_api):
            msg = "one of 'grpc' and 'restAPI' must be true"
            raise ValueError(msg)
        return self


class Servers(Part):
    """Which servers run; null leaves one out."""

    online: OnlineServer = OnlineServer()
    """Online features over HTTP; operators before 0.66 always run it."""
    registry: RegistryServer | None = RegistryServer()
    """The registry; never run where feature_store.yaml names a remote one."""
    offline: ServerSpec | None = None
    """Historical features over Arrow Flight."""
    ui: ServerSpec | None = None
    """Feast's web interface."""


class Autoscaling(Part):
    """A horizontal pod autoscaler."""

    min_replicas: Positive | None = Field(default=None, alias="minReplicas")
    """Fewest pods; 1 where neither this nor the topology says more."""
    max_replicas: Positive | None = Field(default=None, alias="maxReplicas")
    """Most pods; needed where the topology does not say."""
    cpu_utilization: Annotated[int, Field(ge=1, le=1000)] = Field(default=80, alias="cpuUtilization")
    """Percent of the requested CPU that pods use on average before more are started."""

    @model_validator(mode="after")
    def _ordered(self) -> Autoscaling:
        if self.max_replicas is not None and self.least > self.max_replicas:
            msg = f"minReplicas {self.least} is more than maxReplicas {self.max_replicas}"
            raise ValueError(msg)
        return self

    @property
    def least(self) -> int:
        """Fewest pods."""
        return self.min_replicas or 1


class Scaling(Part):
    """How many pods serve: a number, or an autoscaler."""

    replicas: Positive | None = None
    """A fixed number of pods."""
    autoscaling: Autoscaling | None = None
    """As many as the load needs."""

    @model_validator(mode="after")
    def _one_of(self) -> Scaling:
        if (self.replicas is None) == (self.autoscaling is None):
            msg = "exactly one of 'replicas' and 'autoscaling' must be given"
            raise ValueError(msg)
        return self


class DisruptionBudget(Part):
    """How many pods a drained node may take away at a time: a number, or percents such as 50%."""

    min_available: NotNegative | Annotated[str, Field(pattern=PERCENT_OR_NUMBER)] | None = Field(
        default=None, alias="minAvailable"
    )
    """Pods that must stay."""
    max_unavailable: NotNegative | Annotated[str, Field(pattern=PERCENT_OR_NUMBER)] | None = Field(
        default=None, alias="maxUnavailable"
    )
    """Pods that may go."""

    @model_validator(mode="after")
    def _one_of(self) -> DisruptionBudget:
        if (self.min_available is None) == (self.max_unavailable is None):
            msg = "exactly one of 'minAvailable' and 'maxUnavailable' must be given"
            raise ValueError(msg)
        return self


class Tls(Part):
    """TLS of every server."""

    secret: DnsSubdomain | None = None
    """Secret of type kubernetes.io/tls with names of all Services; by default NAME-tls. OpenShift makes its own."""
    ca_config_map: DnsSubdomain | None = Field(default=None, alias="caConfigMap")
    """ConfigMap with the authority's certificate, in every namespace that uses a registry of this deployment."""
    ca_key: Annotated[str, Field(pattern=KEY)] = Field(default="ca.crt", alias="caKey")
    """Key of the certificate in that ConfigMap."""


class Ingress(Part):
    """How clients outside of the cluster reach the servers: an Ingress, or Routes on OpenShift."""

    hosts: Annotated[Mapping[Literal["online", "registry-rest", "ui"], DnsSubdomain], Field(min_length=1)]
    """Server -> the host name that leads to it."""
    class_name: DnsSubdomain | None = Field(default=None, alias="className")
    """Ingress class; the cluster's default where absent."""
    tls_secret: DnsSubdomain | None = Field(default=None, alias="tlsSecret")
    """Secret with the certificate of those hosts."""
    annotations: Mapping[str, str] = {}
    """For the ingress controller, e.g. that the servers themselves speak TLS."""


class StorePeer(Part):
    """Something that the feature store may reach, besides the cluster's DNS and API."""

    cidr: Cidr | None = None
    """Addresses, e.g. 10.1.2.0/24; everything where neither this nor a namespace is given."""
    namespace: DnsLabel | None = None
    """Namespace of the cluster."""
    ports: Annotated[tuple[Annotated[int, Field(ge=1, le=65535)], ...], Field(min_length=1, strict=False)]
    """TCP ports."""


class NetworkPolicies(Part):
    """Nothing may be reached but what is named here and what Feast itself needs."""

    clients: tuple[DnsLabel, ...] = Field(default=(), strict=False)
    """Namespaces whose pods may use the servers, besides the deployment's own."""
    stores: tuple[StorePeer, ...] = Field(default=(), strict=False)
    """Databases and other stores that the servers use."""
    api_server: Annotated[tuple[Cidr, ...], Field(min_length=1)] = Field(
        default=("0.0.0.0/0", "::/0"), strict=False, alias="apiServer"
    )
    """Addresses (CIDR) of the Kubernetes API, which the CronJob and token checks need; anywhere where not said."""
    api_ports: Annotated[tuple[Annotated[int, Field(ge=1, le=65535)], ...], Field(min_length=1)] = Field(
        default=(443, 6443), strict=False, alias="apiPorts"
    )
    """Its ports, of the Service and of the API server itself, e.g. 443 and 16443 for MicroK8s."""


class OpenTelemetry(Part):
    """Where traces go."""

    endpoint: str
    """Address of the collector, e.g. http://collector.observability:4317."""
    service_name: str | None = Field(default=None, alias="serviceName")
    """Name that the traces bear; by default that of the FeatureStore."""


class Observability(Part):
    """Metrics and traces."""

    service_monitor: bool = Field(default=False, alias="serviceMonitor")
    """Let Prometheus find the online server's metrics; releases from 0.62 on make the ServiceMonitor themselves."""
    labels: Mapping[str, str] = {}
    """Labels by which Prometheus selects the ServiceMonitor."""
    open_telemetry: OpenTelemetry | None = Field(default=None, alias="openTelemetry")
    """Send traces."""

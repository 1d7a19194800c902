"""What the spec can say of a FeatureStore on the cluster."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bundler.model.server_spec import (
    AbsolutePath,
    DisruptionBudget,
    Ingress,
    Native,
    NetworkPolicies,
    NotNegative,
    Observability,
    Positive,
    Quantity,
    Resources,
    Scaling,
    Servers,
    Tls,
)
from bundler.model.spec_parts import (
    FEATURE_STORE_NAME,
    VIEW,
    DnsLabel,
    DnsSubdomain,
    Part,
    Reference,
    Schedule,
    require_one,
)

Topology = Literal["minimal", "standard", "enterprise-isolated", "enterprise-shared"]
WiringName = Literal["baked", "mounted", "operator"]


class VolumeSpec(Part):
    """A persistent volume for a store that is a file."""

    mount_path: AbsolutePath = Field(alias="mountPath")
    """Folder of the volume; the store's path in feature_store.yaml must lie directly in it."""
    claim: DnsSubdomain | None = None
    """An existing claim; by default the operator makes one."""
    size: Quantity | None = None
    """Size of the claim to make, e.g. 10Gi."""
    storage_class: DnsSubdomain | None = Field(default=None, alias="storageClass")
    """Storage class of the claim to make."""
    access_modes: tuple[Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"], ...] = Field(
        default=(), strict=False, alias="accessModes"
    )
    """Access modes of the claim to make; by default ReadWriteOnce."""

    @model_validator(mode="after")
    def _made_or_found(self) -> VolumeSpec:
        if self.claim and (self.size or self.storage_class or self.access_modes):
            msg = "an existing 'claim' has its own size, storageClass and accessModes"
            raise ValueError(msg)
        return self


class StoreSpec(Part):
    """How the operator is told of a store."""

    secret: DnsSubdomain | None = None
    """Name of the Secret with the store's parameters; its key is the store's type."""
    volume: VolumeSpec | None = None
    """Volume that a store in a file lies on."""


class KubectlImage(Part):
    """The image that the CronJob runs kubectl from."""

    debian: DnsLabel | None = None
    """Bake a minimal image from this Debian suite's packages."""
    image: Reference | None = None
    """Mirror this image, which must have kubectl on its PATH."""

    @model_validator(mode="after")
    def _one_of(self) -> KubectlImage:
        require_one(self.debian, self.image)
        return self


class CronJob(Part):
    """When features are applied and materialized."""

    schedule: Schedule = "*/30 * * * *"
    """Cron expression, in the time zone below."""
    time_zone: str | None = Field(default=None, alias="timeZone")
    """IANA name, e.g. Europe/Berlin; the cluster's own where absent."""
    concurrency_policy: Literal["Allow", "Forbid", "Replace"] = Field(default="Forbid", alias="concurrencyPolicy")
    """What happens when a run should begin while another is under way."""
    suspend: bool = False
    """Create the CronJob without letting it run by itself."""
    kubectl: KubectlImage = KubectlImage(debian="bookworm")
    """Where the CronJob's kubectl comes from."""
    apply: bool = True
    """Register the definitions of the image at every run."""
    materialize: bool = True
    """Load what is new into the online store at every run."""
    views: tuple[Annotated[str, Field(pattern=VIEW)], ...] = Field(default=(), strict=False)
    """Feature views to materialize; all where none is named."""
    starting_deadline_seconds: Positive | None = Field(default=None, alias="startingDeadlineSeconds")
    """Seconds after which a run that could not begin is left out."""
    active_deadline_seconds: Positive | None = Field(default=None, alias="activeDeadlineSeconds")
    """Seconds after which a run is ended."""
    backoff_limit: NotNegative | None = Field(default=None, alias="backoffLimit")
    """How often a failed run is tried again."""
    ttl_seconds_after_finished: NotNegative | None = Field(default=None, alias="ttlSecondsAfterFinished")
    """Seconds after which a finished run is deleted."""
    successful_jobs_history_limit: NotNegative | None = Field(default=None, alias="successfulJobsHistoryLimit")
    """How many successful runs are kept."""
    failed_jobs_history_limit: NotNegative | None = Field(default=None, alias="failedJobsHistoryLimit")
    """How many failed runs are kept."""
    resources: Resources | None = None
    """CPU and memory of kubectl; the commands use those of the server they run in."""

    @model_validator(mode="after")
    def _does_something(self) -> CronJob:
        if not (self.apply or self.materialize):
            msg = "one of 'apply' and 'materialize' must be true; 'suspend' keeps it from running by itself"
            raise ValueError(msg)
        return self


class Oidc(Part):
    """An identity provider."""

    secret: DnsSubdomain
    """Secret with client_id, auth_discovery_url and client_secret (and username, password for releases to 0.61)."""
    issuer_url: Annotated[str, Field(pattern=r"^https://\S+$")] | None = Field(default=None, alias="issuerUrl")
    """Address of the provider; releases from 0.62 on."""
    verify_ssl: bool | None = Field(default=None, alias="verifySSL")
    """Check the provider's certificate; releases from 0.62 on."""
    ca_config_map: DnsSubdomain | None = Field(default=None, alias="caConfigMap")
    """ConfigMap with the provider's certificate authority (key ca.crt); releases from 0.62 on."""


class Auth(Part):
    """Who may use the feature store."""

    type: Literal["no_auth", "kubernetes", "oidc"]
    """The same as auth.type of feature_store.yaml where that is authoritative."""
    roles: tuple[DnsSubdomain, ...] = Field(default=(), strict=False)
    """Kubernetes roles that Permissions of the feature repo name; the operator makes them."""
    oidc: Oidc | None = None
    """The identity provider of type oidc."""

    @model_validator(mode="after")
    def _fits(self) -> Auth:
        if (self.type == "oidc") != (self.oidc is not None):
            msg = "'oidc' belongs to type oidc, which needs it"
            raise ValueError(msg)
        if self.roles and self.type != "kubernetes":
            msg = "'roles' belong to type kubernetes"
            raise ValueError(msg)
        return self


class BatchEngine(Part):
    """What materializes instead of the server itself."""

    config: Native
    """batch_engine of feature_store.yaml, with its type."""

    @model_validator(mode="after")
    def _typed(self) -> BatchEngine:
        if not isinstance(self.config.get("type"), str):
            msg = "'config' must name its 'type', e.g. spark.engine"
            raise ValueError(msg)  # noqa: TRY004  (a malformed document, not a wrong argument)
        return self


class Deployment(Part):
    """The FeatureStore on the cluster."""

    name: Annotated[str, Field(pattern=FEATURE_STORE_NAME)]
    """Name of the FeatureStore; the operator derives every other name from it."""
    namespace: DnsLabel = "feast"
    """Namespace of the FeatureStore."""
    topology: Topology = "minimal"
    """What the settings below are where they are not given (docs/topologies.md)."""
    wiring: WiringName = "baked"
    """Which feature_store.yaml the servers read: the image's, one of the site's, or the operator's (docs/wiring.md)."""
    openshift: bool = False
    """The cluster is OpenShift: Routes instead of an Ingress, its own certificates, and the groups of its volumes."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", alias="imagePullPolicy"
    )
    """When nodes pull images."""
    image_pull_secrets: tuple[DnsSubdomain, ...] = Field(default=(), strict=False, alias="imagePullSecrets")
    """Names of the registry credentials, put on every ServiceAccount that starts a pod."""
    credentials_secret: DnsSubdomain | None = Field(default=None, alias="credentialsSecret")
    """Secret that holds the value of each ${VARIABLE} of feature_store.yaml; by default NAME-credentials."""
    online_store: StoreSpec = Field(default=StoreSpec(), alias="onlineStore")
    """The online store: its Secret is by default NAME-online-store."""
    offline_store: StoreSpec = Field(default=StoreSpec(), alias="offlineStore")
    """The offline store: its Secret is by default NAME-offline-store."""
    registry: StoreSpec = StoreSpec()
    """The registry: its Secret is by default NAME-registry."""
    cron_job: CronJob = Field(default=CronJob(), alias="cronJob")
    """Schedule of apply and materialize."""
    servers: Servers = Servers()
    """Which servers run, and how."""
    resources: Resources | None = None
    """CPU and memory of every server that has none of its own."""
    scaling: Scaling | None = None
    """How many pods serve; one where absent."""
    disruption_budget: DisruptionBudget | None = Field(default=None, alias="disruptionBudget")
    """How many pods a drained node may take away."""
    tls: Tls | None = None
    """TLS of every server."""
    auth: Auth | None = None
    """Who may use the feature store; by default as feature_store.yaml says."""
    ingress: Ingress | None = None
    """How clients outside of the cluster reach the servers."""
    network_policies: NetworkPolicies | None = Field(default=None, alias="networkPolicies")
    """Deny every connection that is not named."""
    observability: Observability | None = None
    """Metrics and traces."""
    batch_engine: BatchEngine | None = Field(default=None, alias="batchEngine")
    """What materializes instead of the server itself."""
    volumes: tuple[Native, ...] = Field(default=(), strict=False)
    """Further volumes of the pod, as Kubernetes has them."""
    tolerations: tuple[Native, ...] = Field(default=(), strict=False)
    """Taints of nodes that the pod may run on, as Kubernetes has them; releases after 0.66."""
    security_context: Native | None = Field(default=None, alias="securityContext")
    """Security context of the pod, as Kubernetes has it."""
    pod_annotations: dict[str, str] = Field(default={}, alias="podAnnotations")
    """Annotations of the pod; releases from 0.62 on."""

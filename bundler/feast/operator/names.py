"""The names that the operator derives from a FeatureStore's, and ours beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bundler.feast.operator.capabilities import Capabilities

# services_types.go of the operator: not configurable, not even with another cluster domain.
CLUSTER_DOMAIN: Final = "svc.cluster.local"


@dataclass(frozen=True)
class Names:
    """Names of everything that belongs to the FeatureStore ``name`` in a namespace."""

    name: str
    namespace: str

    @property
    def prefixed(self) -> str:
        """The Deployment, ServiceAccount, CronJob, HPA and PodDisruptionBudget, and the prefix of all else."""
        return f"feast-{self.name}"

    @property
    def cron_job_account(self) -> str:
        """The ServiceAccount of the CronJob's pods, where the operator gives it one of its own."""
        return f"{self.prefixed}-cronjob"

    def accounts(self, capabilities: Capabilities) -> tuple[str, ...]:
        """Return the ServiceAccounts that pods of this FeatureStore run under."""
        return (self.prefixed, self.cron_job_account) if capabilities.cron_job_account else (self.prefixed,)

    def service(self, server: str) -> str:
        """Return the Service of a server: online, offline, registry, registry-rest or ui."""
        return f"{self.prefixed}-{server}"

    def host(self, server: str) -> str:
        """Return the name by which other namespaces reach a server."""
        return f"{self.service(server)}.{self.namespace}.{CLUSTER_DOMAIN}"

    @property
    def credentials(self) -> str:
        """The Secret that a site fills in, unless the spec names another."""
        return f"{self.name}-credentials"

    @property
    def tls(self) -> str:
        """The Secret with the servers' certificate, unless the spec names another."""
        return f"{self.name}-tls"

    @property
    def service_authority(self) -> str:
        """The ConfigMap that OpenShift writes the authority of its Services' certificates into."""
        return f"{self.name}-service-ca"

    @property
    def batch_engine(self) -> str:
        """The ConfigMap of the batch engine."""
        return f"{self.name}-batch-engine"

    @property
    def feature_store_file(self) -> str:
        """The Secret that holds a whole feature_store.yaml."""
        return f"{self.name}-feature-store-yaml"

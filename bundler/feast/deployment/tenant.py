"""One FeatureStore to be: what the spec asks, what its feature_store.yaml says, the images, and the operator."""

from __future__ import annotations

from dataclasses import dataclass

from bundler.feast.deployment.topology import FeatureStoreRole, servers
from bundler.feast.operator.capabilities import Capabilities
from bundler.feast.operator.names import Names
from bundler.feast.stores.feature_store_yaml import FeatureStoreConfig, variables
from bundler.model.deployment_spec import Deployment
from bundler.model.server_spec import Tls


@dataclass(frozen=True)
class DeploymentImages:
    """Full references, by digest, of the images in the internal registry; the folder is where the baked repo lies."""

    feature_server: str
    kubectl: str
    repo_folder: str


@dataclass(frozen=True)
class RegistryAuthority:
    """Where a client of the shared registry finds the certificate that it checks the registry's with."""

    config_map: str
    key: str
    injected: bool
    """OpenShift writes the certificate into the ConfigMap; else the site does."""

    @property
    def path(self) -> str:
        """Path of the certificate in the client's servers, as the operator mounts it."""
        return f"/tls/registry/{self.key}"


@dataclass(frozen=True)
class SharedRegistry:
    """The registry of another FeatureStore of the bundle: where it is, how it speaks, and who uses it."""

    names: Names
    clients: tuple[str, ...]
    tls: Tls | None
    openshift: bool

    @property
    def address(self) -> str:
        """HOST:PORT of its gRPC Service."""
        return f"{self.names.host('registry')}:{443 if self.tls else 80}"

    def authority(self, client: Names) -> RegistryAuthority | None:
        """Return what a client checks its certificate with; None without TLS, or where nothing is known of it."""
        if self.tls is None:
            return None
        if self.tls.ca_config_map is not None:
            return RegistryAuthority(self.tls.ca_config_map, self.tls.ca_key, injected=False)
        if self.openshift and self.tls.secret is None:
            return RegistryAuthority(client.service_authority, "service-ca.crt", injected=True)
        return None


@dataclass(frozen=True)
class Tenant:
    """Everything that decides what one FeatureStore looks like; ``registry`` is the shared one, where there is one."""

    deployment: Deployment
    config: FeatureStoreConfig
    images: DeploymentImages
    capabilities: Capabilities
    role: FeatureStoreRole = FeatureStoreRole.ALONE
    registry: SharedRegistry | None = None
    feast_version: str = ""
    """The release of Feast in the image, e.g. 0.61.0."""

    @property
    def names(self) -> Names:
        """The names derived from the FeatureStore's."""
        return Names(self.deployment.name, self.deployment.namespace)

    @property
    def credentials_secret(self) -> str:
        """The one Secret that a site fills in."""
        return self.deployment.credentials_secret or self.names.credentials

    @property
    def variables(self) -> tuple[str, ...]:
        """The ``${VARIABLES}`` that Feast reads from the environment: of feature_store.yaml and of the batch engine."""
        engine = self.deployment.batch_engine
        return tuple(sorted({*self.config.variables, *(variables(dict(engine.config)) if engine else ())}))

    @property
    def registry_authority(self) -> RegistryAuthority | None:
        """What a client of the shared registry checks its certificate with."""
        if self.registry is None or self.role is not FeatureStoreRole.REGISTRY_CLIENT:
            return None
        return self.registry.authority(self.names)

    @property
    def servers(self) -> frozenset[str]:
        """The servers that run: of registry, online, offline and ui."""
        wanted = servers(self.deployment, self.config)
        # Before this could be said, the operator made an online server whether wanted or not.
        idle = self.role is FeatureStoreRole.SHARED_REGISTRY and self.capabilities.online_disabled
        return wanted - {"online"} if idle else wanted

    @property
    def auth(self) -> str:
        """The kind of authorization: no_auth, kubernetes or oidc."""
        return self.deployment.auth.type if self.deployment.auth else self.config.auth

    @property
    def scaled(self) -> bool:
        """Whether more than one pod serves, as the CRD's rules understand that."""
        scaling = self.deployment.scaling
        return scaling is not None and (scaling.autoscaling is not None or (scaling.replicas or 1) > 1)

    @property
    def tls(self) -> bool:
        """Whether servers speak TLS."""
        return self.deployment.tls is not None

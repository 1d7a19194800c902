"""One FeatureStore to be: what the spec asks, what its feature_store.yaml says, the images, and the operator."""

from __future__ import annotations

from dataclasses import dataclass

from bundler.feast.capabilities import Capabilities
from bundler.feast.feature_store import FeatureStoreConfig
from bundler.feast.names import Names
from bundler.model.spec import Deployment


@dataclass(frozen=True)
class DeploymentImages:
    """Full references, by digest, of the images in the internal registry; the folder is where the baked repo lies."""

    feature_server: str
    kubectl: str
    repo_folder: str


@dataclass(frozen=True)
class Tenant:
    """Everything that decides what one FeatureStore looks like."""

    deployment: Deployment
    config: FeatureStoreConfig
    images: DeploymentImages
    capabilities: Capabilities

    @property
    def names(self) -> Names:
        """The names derived from the FeatureStore's."""
        return Names(self.deployment.name, self.deployment.namespace)

    @property
    def credentials_secret(self) -> str:
        """The one Secret that a site fills in."""
        return self.deployment.credentials_secret or self.names.credentials

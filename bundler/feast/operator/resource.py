"""A FeatureStore as the operator sees it: with its defaults applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bundler.feast.operator.capabilities import Capabilities
from bundler.feast.operator.generated_config import DATA_FOLDER
from bundler.feast.operator.names import Names
from bundler.kube.objects import KubeObject
from bundler.model.descriptor import Json
from bundler.model.json_document import mapping, rows

# In the order of their containers.
_SERVERS: Final = {
    "registry": "services.registry.local.server",
    "online": "services.onlineStore.server",
    "offline": "services.offlineStore.server",
    "ui": "services.ui",
}
_PERSISTENCE: Final = {
    "registry": "services.registry.local.persistence",
    "online": "services.onlineStore.persistence",
    "offline": "services.offlineStore.persistence",
}


@dataclass(frozen=True)
class Resource:
    """A FeatureStore; ``openshift`` says that the operator found itself on OpenShift."""

    document: Json
    capabilities: Capabilities
    openshift: bool = False

    def get(self, path: str) -> Json:
        """Return what stands at a dotted path below spec, None where nothing does."""
        return self._object.get("spec", *path.split("."))

    def mapping(self, path: str) -> Mapping[str, Json]:
        """Return the mapping at a path, an empty one where there is none."""
        return mapping(self.get(path))

    def rows(self, path: str) -> tuple[Mapping[str, Json], ...]:
        """Return the mappings of the list at a path."""
        return rows(self.get(path))

    @property
    def _object(self) -> KubeObject:
        return KubeObject(mapping(self.document))

    @property
    def name(self) -> str:
        """The FeatureStore's own name."""
        return str(self._object.get("metadata", "name"))

    @property
    def namespace(self) -> str:
        """The namespace of everything that is made of it."""
        return self._object.namespace or "default"

    @property
    def prefixed(self) -> str:
        """The name of its Deployment."""
        return Names(self.name, self.namespace).prefixed

    @property
    def project(self) -> str:
        """The Feast project."""
        return str(self.get("feastProject"))

    @property
    def servers(self) -> tuple[str, ...]:
        """The servers that run, in the order of their containers; online is made unasked, unless it is disabled."""
        disabled = self.capabilities.online_disabled and self.get("services.onlineStore.disabled") is True
        wanted = {name for name, path in _SERVERS.items() if isinstance(self.get(path), dict)}
        wanted = wanted - {"online"} if disabled else wanted | {"online"}
        return tuple(name for name in _SERVERS if name in wanted)

    def settings(self, server: str) -> Mapping[str, Json]:
        """Return the settings of a server."""
        return self.mapping(_SERVERS[server])

    def tls_secret(self, server: str) -> str | None:
        """Return the Secret with a server's certificate, None where it speaks without TLS."""
        tls = self.settings(server).get("tls")
        if not isinstance(tls, dict):
            service = "registry-rest" if server == "registry" and not self.grpc else server
            return f"{self.prefixed}-{service}-tls" if self.openshift else None
        reference = tls.get("secretRef")
        if tls.get("disable") is True or not isinstance(reference, dict):
            return None
        return str(reference.get("name"))

    @property
    def grpc(self) -> bool:
        """Whether the registry server speaks gRPC."""
        return self.settings("registry").get("grpc") is not False

    @property
    def rest(self) -> bool:
        """Whether the registry server speaks HTTP."""
        return self.settings("registry").get("restAPI") is True

    def claim(self, store: str) -> Mapping[str, Json]:
        """Return the volume claim of a store, nothing where it has none."""
        return self.mapping(f"{_PERSISTENCE[store]}.file.pvc")

    @property
    def packaged_image(self) -> str | None:
        """The image of a packaged repo, where the operator knows such."""
        image = self.get("feastProjectDir.packaged.image") if self.capabilities.packaged else None
        return image if isinstance(image, str) else None

    @property
    def packaged_folder(self) -> str | None:
        """Where the packaged repo lies in its image, where the operator knows such."""
        folder = self.get("feastProjectDir.packaged.featureRepoPath") if self.capabilities.packaged else None
        return folder if isinstance(folder, str) else None

    @property
    def initialises(self) -> bool:
        """Whether init containers fill the repo's folder."""
        return self.get("services.disableInitContainers") is not True

    @property
    def data_folder(self) -> str:
        """The folder below which the operator puts the repo."""
        mount = self.claim("offline").get("mountPath")
        return mount if isinstance(mount, str) else DATA_FOLDER

    @property
    def staged_folder(self) -> str:
        """Where init containers put the repo."""
        folder = self.get("feastProjectDir.git.featureRepoPath") or "feature_repo"
        return f"{self.data_folder}/{self.project}/{folder}"

    @property
    def repo_folder(self) -> str:
        """Where every server starts."""
        if self.packaged_folder and not self.initialises:
            return self.packaged_folder
        return self.staged_folder

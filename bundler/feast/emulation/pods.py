"""The pods that the operator makes of a FeatureStore, container by container (its ``services.go``, ``cronjob.go``)."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import yaml

from bundler.feast.emulation import init_containers, server_commands
from bundler.feast.emulation.container import Container, Mount, mounts_of, overridden, sources_of, variables_of
from bundler.feast.emulation.kubelet import ClusterObjects, Variable
from bundler.feast.operator import generated_config as operator_config
from bundler.feast.operator.capabilities import Capabilities
from bundler.feast.operator.generated_config import DATA_FOLDER
from bundler.feast.operator.resource import Resource
from bundler.model.descriptor import Json

CONFIG_VARIABLE: Final = "TMP_FEATURE_STORE_YAML_BASE64"
_DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
_DATA_VOLUME: Final = "feast-data"
_STORES: Final = ("offline", "online", "registry")


@dataclass(frozen=True)
class OperatorImages:
    """What the operator takes where a FeatureStore names no image: its RELATED_IMAGE_* variables."""

    feature_server: str
    cron_job: str


@dataclass(frozen=True)
class Pod:
    """A pod: ``volumes`` is name -> source as Kubernetes has it."""

    name: str
    namespace: str
    account: str
    init_containers: tuple[Container, ...]
    containers: tuple[Container, ...]
    volumes: Mapping[str, Mapping[str, Json]]
    annotations: Mapping[str, str] = field(default_factory=dict)
    security_context: Mapping[str, Json] = field(default_factory=dict)

    @property
    def exec_target(self) -> Container:
        """The container that `kubectl exec deploy/NAME` without ``-c`` runs in."""
        wanted = self.annotations.get(_DEFAULT_CONTAINER)
        return next((container for container in self.containers if container.name == wanted), self.containers[0])

    @property
    def fields(self) -> Mapping[str, str]:
        """What ``fieldRef`` of a variable may ask for."""
        return {
            "metadata.name": f"{self.name}-rehearsal",
            "metadata.namespace": self.namespace,
            "spec.serviceAccountName": self.account,
            "status.podIP": "127.0.0.1",
        }


@dataclass(frozen=True)
class EmulatedService:
    """A Service in front of a pod: ``host`` is its full name, ``port`` leads to ``target`` of the pod."""

    server: str
    name: str
    namespace: str
    port: int
    target: int
    tls: bool

    @property
    def host(self) -> str:
        """Its full name in the cluster."""
        return f"{self.name}.{self.namespace}.svc.cluster.local"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every name that leads to it from other namespaces, the full one first."""
        return self.host, f"{self.name}.{self.namespace}.svc", f"{self.name}.{self.namespace}"


@dataclass(frozen=True)
class CronRun:
    """What the CronJob does: each command runs by `kubectl exec` in a container of its own, in order."""

    image: str
    account: str
    schedule: str
    suspended: bool
    commands: tuple[str, ...]
    variables: tuple[Variable, ...]


def pod(
    document: Json,
    objects: ClusterObjects,
    capabilities: Capabilities,
    images: OperatorImages,
    *,
    openshift: bool = False,
) -> Pod:
    """Return the one pod that serves a FeatureStore.

    Raises:
        SpecError: the operator would refuse a Secret that the stores need, so that there would be no pod.
    """
    resource = Resource(document, capabilities, openshift=openshift)
    generated = operator_config.generate(document, {**objects.config_maps, **objects.secrets}, capabilities)
    text = yaml.safe_dump(generated, sort_keys=False, indent=4, allow_unicode=True)
    variable = Variable(CONFIG_VARIABLE, base64.b64encode(text.encode()).decode())
    servers = tuple(_server(resource, name, variable, images) for name in resource.servers)
    init = init_containers.made(resource, variable, images.feature_server)
    shared = tuple(_shared_mounts(resource))
    # Until init containers could apply, they got the claim of the offline store only.
    late: set[str] = set() if capabilities.apply_on_init else {_claim("online"), _claim("registry"), "registry-tls"}
    early = tuple(mount for mount in shared if mount.volume not in late)
    annotations = resource.mapping("services.podAnnotations")
    return Pod(
        name=resource.prefixed,
        namespace=resource.namespace,
        account=resource.prefixed,
        init_containers=tuple(replace(container, mounts=(*container.mounts, *early)) for container in init),
        containers=tuple(replace(container, mounts=(*container.mounts, *shared)) for container in servers),
        volumes=dict(_volumes(resource)),
        annotations={key: str(value) for key, value in annotations.items()},
        security_context=resource.mapping("services.securityContext"),
    )


def services(document: Json, capabilities: Capabilities, *, openshift: bool = False) -> tuple[EmulatedService, ...]:
    """Return the Services of a FeatureStore, without that of metrics."""
    resource = Resource(document, capabilities, openshift=openshift)
    emulated: list[EmulatedService] = []
    for server in resource.servers:
        tls = resource.tls_secret(server) is not None
        for name, port in server_commands.service_ports(resource, server).items():
            service = f"{resource.prefixed}-{name}"
            emulated.append(EmulatedService(name, service, resource.namespace, 443 if tls else 80, port, tls))
    return tuple(emulated)


def cron_run(document: Json, capabilities: Capabilities, images: OperatorImages) -> CronRun:
    """Return what the CronJob runs; there always is one, even where the FeatureStore says nothing of it."""
    resource = Resource(document, capabilities)
    settings = resource.mapping("cronJob.containerConfigs")
    given = settings.get("commands")
    commands = (
        tuple(str(command) for command in given) if isinstance(given, list) and given else server_commands.CRON_DEFAULT
    )
    schedule = resource.get("cronJob.schedule")
    image = settings.get("image")
    return CronRun(
        image=image if isinstance(image, str) else images.cron_job,
        account=resource.prefixed + ("-cronjob" if capabilities.cron_job_account else ""),
        schedule=str(schedule or "@yearly"),
        suspended=resource.get("cronJob.suspend") is True or not schedule,
        commands=commands,
        variables=variables_of(settings),
    )


def _server(resource: Resource, server: str, config: Variable, images: OperatorImages) -> Container:
    settings = resource.settings(server)
    image = settings.get("image") or resource.packaged_image or images.feature_server
    tls = resource.tls_secret(server)
    mounts = (*mounts_of(settings), *((Mount(f"{server}-tls", f"/tls/{server}/", read_only=True),) if tls else ()))
    policy = settings.get("imagePullPolicy")
    return Container(
        name=server,
        image=str(image),
        command=server_commands.command(resource, server),
        working_folder=resource.repo_folder,
        variables=overridden((config,), variables_of(settings)),
        sources=sources_of(settings),
        mounts=mounts,
        ports=server_commands.container_ports(resource, server),
        probe=server_commands.probe(resource, server),
        pull_policy=policy if isinstance(policy, str) else "",
    )


def _claim(store: str) -> str:
    return f"{store}-data"


def _volumes(resource: Resource) -> Iterator[tuple[str, Mapping[str, Json]]]:
    for server in resource.servers:
        secret = resource.tls_secret(server)
        if secret:
            yield f"{server}-tls", {"secret": {"secretName": secret}}
    authority = resource.mapping("services.registry.remote.tls.configMapRef").get("name")
    if isinstance(authority, str):
        yield "registry-tls", {"configMap": {"name": authority}}
    for store in _STORES:
        claim = resource.claim(store)
        if claim:
            reference = claim.get("ref")
            name = reference.get("name") if isinstance(reference, dict) else f"{resource.prefixed}-{store}"
            yield _claim(store), {"persistentVolumeClaim": {"claimName": str(name)}}
    if not all(resource.claim(store) for store in _STORES):
        yield _DATA_VOLUME, {"emptyDir": {}}
    for volume in resource.rows("services.volumes"):
        yield str(volume.get("name")), {key: value for key, value in volume.items() if key != "name"}


def _shared_mounts(resource: Resource) -> Iterator[Mount]:
    """Yield what every container mounts."""
    if resource.mapping("services.registry.remote.tls"):
        yield Mount("registry-tls", "/tls/registry/", read_only=True)
    for store in _STORES:
        claim = resource.claim(store)
        if claim:
            yield Mount(_claim(store), str(claim.get("mountPath")))
    if not all(resource.claim(store) for store in _STORES):
        yield Mount(_DATA_VOLUME, DATA_FOLDER)

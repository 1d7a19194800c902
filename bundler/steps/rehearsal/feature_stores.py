"""Emulate a FeatureStore: the pod that the operator makes of it, and the feature_store.yaml that its servers read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

import yaml

from bundler.feast.deployment.wiring import FILE_VARIABLE, REPO_FOLDER_VARIABLE
from bundler.feast.emulation import kubelet, local_config, pods
from bundler.feast.emulation.container import Container, Mount, overridden
from bundler.feast.emulation.kubelet import ClusterObjects, Variable
from bundler.feast.emulation.pods import CronRun, EmulatedService, OperatorImages, Pod
from bundler.feast.operator import generated_config as operator_config
from bundler.feast.operator.capabilities import Capabilities
from bundler.feast.operator.generated_config import DATA_FOLDER
from bundler.feast.stores import feature_store_yaml as feature_store
from bundler.model.descriptor import Json
from bundler.steps.rehearsal.filled_manifests import FilledManifests, place_of

_VOLUME: Final = "rehearsal-file"
_FOLDER: Final = "/rehearsal-files"
_FILE: Final = "feature_store.yaml"


@dataclass(frozen=True)
class EmulatedFeatureStore:
    """A FeatureStore in a rehearsal: its pod, Services, CronJob, and feature_store.yaml with variables expanded.

    ``replaced`` is the file that the servers would have read, where the rehearsal gives them another; empty for that of
    their repo's folder.
    """

    pod: Pod
    objects: ClusterObjects
    services: tuple[EmulatedService, ...]
    cron: CronRun
    config: Mapping[str, Json]
    replaced: str | None = None

    @property
    def cron_environment(self) -> Mapping[str, str]:
        """The variables that Kubernetes expands in the CronJob's commands."""
        return kubelet.environment((), self.cron.variables, self.objects, self.pod.fields)


def emulate(resource: dict[str, Json], manifests: FilledManifests, default: str) -> EmulatedFeatureStore:
    """Return the pod and configuration of a FeatureStore; ``default`` is the operator's own feature-server image.

    Raises:
        SpecError: the operator would create no pod, or the pod would never start; the reason is in the error.
    """
    namespace, _ = place_of(resource)
    objects, known = manifests.objects[namespace], manifests.capabilities
    # An operator of the bundle takes the images that its own manifest names: those of the bundle.
    images = OperatorImages(default, default)
    pod = pods.pod(resource, objects, known, images)
    text = _text(pod, resource, objects, known)
    server = pod.containers[0]
    values = kubelet.environment(server.sources, server.variables, objects, pod.fields)
    config: dict[str, Json] = yaml.safe_load(feature_store.expand(text, values))
    return EmulatedFeatureStore(
        pod, objects, pods.services(resource, known), pods.cron_run(resource, known, images), config
    )


def with_local_config(
    emulated: EmulatedFeatureStore, *, file_stores: bool, hosts: Collection[str] = ()
) -> EmulatedFeatureStore:
    """Return the FeatureStore with a feature_store.yaml without authentication and, if asked, with stores in files.

    A remote registry at one of ``hosts``, which run in the rehearsal, stays. A pod that finds no configuration at all
    stays as it is: it fails as it would on the cluster.
    """
    config = local_config.without_authentication(emulated.config)
    if file_stores:
        config = local_config.with_files(config, DATA_FOLDER, hosts)
    if config == emulated.config or not finds_configuration(emulated.pod):
        return emulated
    name = f"{emulated.pod.name}-{_VOLUME}"
    text = yaml.safe_dump(config, sort_keys=False)
    objects = replace(emulated.objects, secrets={**emulated.objects.secrets, name: {_FILE: text}})
    source: Mapping[str, Json] = {"secret": {"secretName": name}}
    volumes = {**emulated.pod.volumes, _VOLUME: source}
    containers = tuple(_reading(container) for container in emulated.pod.containers)
    # Init containers that apply must agree with the servers; those that only copy do not read it.
    init = tuple(_reading(container) for container in emulated.pod.init_containers)
    return replace(
        emulated,
        pod=replace(emulated.pod, containers=containers, init_containers=init, volumes=volumes),
        objects=objects,
        config=config,
        replaced=next(
            (variable.value for variable in emulated.pod.exec_target.variables if variable.name == FILE_VARIABLE), ""
        ),
    )


def finds_configuration(pod: Pod) -> bool:
    """Tell whether every server is told where a feature_store.yaml is, whether or not it is the right one."""
    if pod.init_containers:
        return True
    return all(
        not container.working_folder.startswith(DATA_FOLDER)
        or {REPO_FOLDER_VARIABLE, FILE_VARIABLE} & {variable.name for variable in container.variables}
        for container in pod.containers
    )


def _reading(container: Container) -> Container:
    variable = (Variable(FILE_VARIABLE, f"{_FOLDER}/{_FILE}"),)
    mounts = (*container.mounts, Mount(_VOLUME, _FOLDER, read_only=True))
    return replace(container, variables=overridden(container.variables, variable), mounts=mounts)


def _text(pod: Pod, resource: Json, objects: ClusterObjects, known: Capabilities) -> str:
    """Return the feature_store.yaml that servers read: a mounted one where a variable names it, else the generated one.

    The one in the image is not looked at: a build checks that it says the same.
    """
    server = pod.containers[0]
    path = next((variable.value for variable in server.variables if variable.name == FILE_VARIABLE), "")
    for mount in server.mounts:
        folder = mount.path.rstrip("/") + "/"
        files = kubelet.volume_files(pod.volumes.get(mount.volume, {}), objects) or {}
        if path.startswith(folder) and path.removeprefix(folder) in files:
            return files[path.removeprefix(folder)]
    generated = operator_config.generate(resource, {**objects.config_maps, **objects.secrets}, known)
    return yaml.safe_dump(generated, sort_keys=False)

"""The roles of a rehearsal: the pod that the operator makes of each FeatureStore, and the configuration it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import yaml

from bundler.feast.deployment.wiring import FILE_VARIABLE, REPO_FOLDER_VARIABLE
from bundler.feast.emulation import kubelet, pods, stand_ins
from bundler.feast.emulation.container import Container, Mount, overridden
from bundler.feast.emulation.kubelet import ClusterObjects, Variable
from bundler.feast.emulation.pods import CronRun, EmulatedService, OperatorImages, Pod
from bundler.feast.operator import generated_config as operator_config
from bundler.feast.operator.capabilities import Capabilities
from bundler.feast.operator.generated_config import DATA_FOLDER
from bundler.feast.stores import feature_store_yaml as feature_store
from bundler.model.descriptor import Json
from bundler.steps.rehearsal.script import Script, place_of

_VOLUME: Final = "rehearsal-file"
_FOLDER: Final = "/rehearsal-files"
_FILE: Final = "feature_store.yaml"


@dataclass(frozen=True)
class EmulatedFeatureStore:
    """A FeatureStore as it is played: its pod, what leads to it, its CronJob, and its feature_store.yaml, expanded."""

    pod: Pod
    objects: ClusterObjects
    services: tuple[EmulatedService, ...]
    cron: CronRun
    config: Mapping[str, Json]

    @property
    def cron_environment(self) -> Mapping[str, str]:
        """The variables that Kubernetes expands in the CronJob's commands."""
        return kubelet.environment((), self.cron.variables, self.objects, self.pod.fields)


def role(resource: dict[str, Json], script: Script, default: str) -> EmulatedFeatureStore:
    """Return the role of a FeatureStore; the operator's own feature-server image is ``default``.

    Raises:
        SpecError: the operator would make no pod of it, or the pod would never start; why.
    """
    namespace, _ = place_of(resource)
    objects, known = script.objects[namespace], script.capabilities
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


def with_stand_ins(one: EmulatedFeatureStore, *, stores: bool) -> EmulatedFeatureStore:
    """Return the role with another feature_store.yaml: stores in files (``stores``), nobody to ask about callers.

    A pod that finds no configuration at all stays as it is: it fails as it would on the cluster.
    """
    config = stand_ins.without_authentication(one.config)
    if stores:
        config = stand_ins.with_files(config, DATA_FOLDER)
    if config == one.config or not finds_configuration(one.pod):
        return one
    name = f"{one.pod.name}-{_VOLUME}"
    text = yaml.safe_dump(config, sort_keys=False)
    objects = replace(one.objects, secrets={**one.objects.secrets, name: {_FILE: text}})
    source: Mapping[str, Json] = {"secret": {"secretName": name}}
    volumes = {**one.pod.volumes, _VOLUME: source}
    containers = tuple(_reading(container) for container in one.pod.containers)
    # Init containers that apply must agree with the servers; those that only copy do not read it.
    init = tuple(_reading(container) for container in one.pod.init_containers)
    return replace(
        one,
        pod=replace(one.pod, containers=containers, init_containers=init, volumes=volumes),
        objects=objects,
        config=config,
    )


def finds_configuration(pod: Pod) -> bool:
    """Tell whether anything leads the servers to a feature_store.yaml, rightly or not."""
    if pod.init_containers:
        return True
    return all(
        not one.working_folder.startswith(DATA_FOLDER)
        or {REPO_FOLDER_VARIABLE, FILE_VARIABLE} & {variable.name for variable in one.variables}
        for one in pod.containers
    )


def _reading(container: Container) -> Container:
    variable = (Variable(FILE_VARIABLE, f"{_FOLDER}/{_FILE}"),)
    mounts = (*container.mounts, Mount(_VOLUME, _FOLDER, read_only=True))
    return replace(container, variables=overridden(container.variables, variable), mounts=mounts)


def _text(pod: Pod, resource: Json, objects: ClusterObjects, known: Capabilities) -> str:
    """Return the feature_store.yaml that servers read: a mounted one where they are led to it, else the generated one.

    The one in the image is not looked at: that it says the same is what a build makes sure of.
    """
    server = pod.containers[0]
    path = next((one.value for one in server.variables if one.name == FILE_VARIABLE), "")
    for mount in server.mounts:
        folder = mount.path.rstrip("/") + "/"
        files = kubelet.volume_files(pod.volumes.get(mount.volume, {}), objects) or {}
        if path.startswith(folder) and path.removeprefix(folder) in files:
            return files[path.removeprefix(folder)]
    generated = operator_config.generate(resource, {**objects.config_maps, **objects.secrets}, known)
    return yaml.safe_dump(generated, sort_keys=False)

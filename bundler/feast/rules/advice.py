"""Advice on a FeatureStore that the cluster accepts, but that would not start, lose data or delete registered objects.

Works on any FeatureStore, whoever wrote it. Each check is a finding with its evidence and its remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bundler.feast.deployment.wiring import FILE_VARIABLE, REPO_FOLDER_VARIABLE
from bundler.feast.operator.capabilities import Capabilities
from bundler.feast.operator.generated_config import DATA_FOLDER
from bundler.feast.operator.resource import Resource
from bundler.model.descriptor import Json
from bundler.model.findings import Finding, Status
from bundler.model.json_document import rows

_BASE64_VARIABLE: Final = "FEATURE_STORE_YAML_BASE64"


@dataclass(frozen=True)
class _Server:
    """A container of the pod: ``env`` is what the resource itself says, in the order of the pod."""

    role: str
    settings: Mapping[str, Json]

    @property
    def env(self) -> Mapping[str, str]:
        variables = rows(self.settings.get("env"))
        return {str(row.get("name")): str(row.get("value", "(from elsewhere)")) for row in variables}

    @property
    def sources(self) -> frozenset[str]:
        """The Secrets and ConfigMaps that it takes variables from."""
        sources = self.settings.get("envFrom")
        return frozenset(map(str, sources)) if isinstance(sources, list) else frozenset()


def _servers(store: Resource) -> tuple[_Server, ...]:
    """Return the containers of the pod."""
    return tuple(_Server(role, store.settings(role)) for role in store.servers)


def advise(resource: Json, capabilities: Capabilities) -> tuple[Finding, ...]:
    """Return a finding for each thing that is known to go wrong on this release of the operator."""
    store = Resource(resource, capabilities)
    return tuple(check(store) for check in _CHECKS)


def _finds_its_repo(store: Resource) -> Finding:
    title = "Every server finds a feature repo when it starts"
    if store.initialises:
        return _passed("feature-store.starts", title, f"init containers prepare {store.repo_folder}")
    if store.packaged_folder:
        return _passed(
            "feature-store.starts", title, f"the image's own {store.packaged_folder} is the working directory"
        )
    lost = [server.role for server in _servers(store) if not _led_to_a_repo(server)]
    if not lost:
        places = sorted({server.env.get(REPO_FOLDER_VARIABLE, _BASE64_VARIABLE) for server in _servers(store)})
        return _passed("feature-store.starts", title, f"servers read {', '.join(places)}" if places else "no servers")
    cure = (
        "feastProjectDir.packaged with the path of the repo in the image"
        if store.capabilities.packaged
        else f"env {REPO_FOLDER_VARIABLE} with the path of the repo in the image to every server"
    )
    missing = f"Can't find feature repo configuration file at {store.repo_folder}/feature_store.yaml"
    evidence = (
        f'{", ".join(lost)}: will end with "{missing}"',
        "disableInitContainers is true, so that folder is an empty volume, which hides the files of the image",
    )
    return Finding("feature-store.starts", title, Status.FAIL, evidence, remedy=f"Add {cure}.")


def _led_to_a_repo(server: _Server) -> bool:
    folder = server.env.get(REPO_FOLDER_VARIABLE, "")
    hidden = folder == DATA_FOLDER or folder.startswith(f"{DATA_FOLDER}/")
    return (bool(folder) and not hidden) or _BASE64_VARIABLE in server.env or FILE_VARIABLE in server.env


def _apply_keeps_what_is_registered(store: Resource) -> Finding:
    title = "`feast apply` registers the repo of the image, and deletes nothing else"
    problems: list[str] = []
    for server in _servers(store):
        if FILE_VARIABLE in server.env and REPO_FOLDER_VARIABLE not in server.env and not store.packaged_folder:
            problems.append(
                f"{server.role}: {FILE_VARIABLE} without {REPO_FOLDER_VARIABLE}: `feast apply` finds no definitions "
                "and deletes every registered object"
            )
        if _BASE64_VARIABLE in server.env:
            problems.append(f"{server.role}: `feast apply` ignores {_BASE64_VARIABLE}, which every server obeys")
    demo = store.get("feastProjectDir") is None and store.initialises
    if demo and store.capabilities.apply_on_init and store.get("services.runFeastApplyOnInit") is not False:
        problems.append("feastProjectDir is left out: the operator makes a demo repo and applies it when a pod starts")
    if problems:
        return Finding(
            "feature-store.apply",
            title,
            Status.FAIL,
            tuple(problems),
            remedy=f"Set the path of the repo: feastProjectDir, or {REPO_FOLDER_VARIABLE} on every server.",
        )
    where = store.packaged_folder or next(
        (server.env[REPO_FOLDER_VARIABLE] for server in _servers(store) if REPO_FOLDER_VARIABLE in server.env),
        store.repo_folder,
    )
    return _passed("feature-store.apply", title, f"definitions are those of {where}")


def _cron_job_can_run(store: Resource) -> Finding:
    title = "The CronJob's image has kubectl"
    image = store.get("cronJob.containerConfigs.image")
    if not isinstance(image, str):
        evidence = ("no image is given, so it is the operator's RELATED_IMAGE_CRON_JOB, which must be mirrored",)
        return Finding(
            "feature-store.cron-job.image", title, Status.MANUAL, evidence, remedy="Give an image by digest."
        )
    served = {server.settings.get("image") for server in _servers(store)}
    name = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    if image in served or name == "feature-server":
        return Finding(
            "feature-store.cron-job.image",
            title,
            Status.FAIL,
            (f"{image} is a feature server: the CronJob runs `kubectl exec` from this image, which has no kubectl",),
            remedy="Use an image with kubectl on its PATH.",
        )
    return _passed("feature-store.cron-job.image", title, image)


def _first_container_is_complete(store: Resource) -> Finding:
    title = "The CronJob's commands run in a container with the settings of all servers"
    if not _servers(store):
        evidence = ("no server is left: the operator refuses this (at least one local server must be configured)",)
        remedy = "Enable the online server, or another."
        return Finding("feature-store.cron-job.target", title, Status.FAIL, evidence, remedy=remedy)
    first, *others = _servers(store)
    lacking = [
        f"{first.role} (the first container, where the commands run) lacks {what} of {other.role}"
        for other in others
        for what in _lacking(first, other)
    ]
    if lacking:
        return Finding(
            "feature-store.cron-job.target",
            title,
            Status.FAIL,
            tuple(dict.fromkeys(lacking)),
            remedy="Give every server the same image, env and envFrom.",
        )
    return _passed("feature-store.cron-job.target", title, f"commands run in {first.role}")


def _lacking(first: _Server, other: _Server) -> Iterator[str]:
    yield from (f"env {name}" for name in other.env if name not in first.env)
    yield from (f"envFrom {source}" for source in sorted(other.sources - first.sources))
    if other.settings.get("image") is not None and other.settings.get("image") != first.settings.get("image"):
        yield f"the image {other.settings['image']}"


def _authorization_is_said(store: Resource) -> Finding:
    title = "The authorization of the feature store is set explicitly"
    authz = store.get("authz")
    if isinstance(authz, dict) and authz.get("noAuth") is False:
        problem = "authz.noAuth is false: servers require Kubernetes tokens, and no role exists that could grant access"
    elif authz is None and store.capabilities.no_auth:
        problem = "authz is left out, which means Kubernetes tokens on this release: requests without one get 401"
    else:
        kind = next(iter(authz)) if isinstance(authz, dict) and authz else "none, the default of this release"
        return _passed("feature-store.authorization", title, f"authorization: {kind}")
    return Finding(
        "feature-store.authorization",
        title,
        Status.FAIL,
        (problem,),
        remedy="Write authz: {noAuth: true}, {kubernetes: {}} or {oidc: ...}.",
    )


def _state_outlives_the_pod(store: Resource) -> Finding:
    title = "Registry and online features outlive the pod"
    remote = isinstance(store.get("services.registry.remote"), dict)
    lost = [] if remote else list(_on_empty_dir(store, "registry", "services.registry.local.persistence"))
    if "online" in store.servers:
        lost += _on_empty_dir(store, "online store", "services.onlineStore.persistence")
    if lost:
        return Finding(
            "feature-store.state",
            title,
            Status.MANUAL,
            tuple(lost),
            remedy="Use databases or volumes, unless the feature_store.yaml in the image already names other stores.",
        )
    return _passed("feature-store.state", title, "databases, volumes or buckets")


def _on_empty_dir(store: Resource, what: str, path: str) -> Iterator[str]:
    settings = store.mapping(f"{path}.file")
    bucket = str(settings.get("path", "")).startswith(("s3://", "gs://"))
    if "store" not in store.mapping(path) and "pvc" not in settings and not bucket:
        yield f"{what}: {settings.get('path', 'the default file')} lies on an emptyDir, which is lost with the pod"


def _passed(check: str, title: str, evidence: str) -> Finding:
    return Finding(check, title, Status.PASS, (evidence,))


_CHECKS: Final[tuple[Callable[[Resource], Finding], ...]] = (
    _finds_its_repo,
    _apply_keeps_what_is_registered,
    _cron_job_can_run,
    _first_container_is_complete,
    _authorization_is_said,
    _state_outlives_the_pod,
)

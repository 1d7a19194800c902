"""Advice on a FeatureStore that the cluster accepts, but that would not start, lose data or delete registered objects.

Works on any FeatureStore, whoever wrote it. Each check is a finding with its evidence and its remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bundler.feast.deployment.wiring import FILE_VARIABLE, REPO_FOLDER_VARIABLE
from bundler.feast.operator.capabilities import Capabilities
from bundler.model.descriptor import Json
from bundler.model.findings import Finding, Status

_BASE64_VARIABLE: Final = "FEATURE_STORE_YAML_BASE64"
_DATA_FOLDER: Final = "/feast-data"
_SERVERS: Final = (
    ("registry", "services.registry.local.server"),
    ("online", "services.onlineStore.server"),
    ("offline", "services.offlineStore.server"),
    ("ui", "services.ui"),
)


@dataclass(frozen=True)
class _Server:
    """A container of the pod: ``env`` is what the resource itself says, in the order of the pod."""

    role: str
    settings: Mapping[str, Json]

    @property
    def env(self) -> Mapping[str, str]:
        rows = self.settings.get("env")
        variables = [row for row in (rows if isinstance(rows, list) else []) if isinstance(row, dict)]
        return {str(row.get("name")): str(row.get("value", "(from elsewhere)")) for row in variables}

    @property
    def sources(self) -> frozenset[str]:
        """The Secrets and ConfigMaps that it takes variables from."""
        rows = self.settings.get("envFrom")
        return frozenset(str(row) for row in (rows if isinstance(rows, list) else []))


@dataclass(frozen=True)
class _Subject:
    """The FeatureStore under review, with what the operator would make of it."""

    resource: Json
    capabilities: Capabilities

    def get(self, path: str) -> Json:
        """Return what stands at a dotted path below spec, None where nothing does."""
        value: Json = self.resource
        for key in ("spec", *path.split(".")):
            value = value.get(key) if isinstance(value, dict) else None
        return value

    @property
    def servers(self) -> tuple[_Server, ...]:
        """The containers of the pod. An online server is made even where none is declared, unless it is disabled."""
        by_role = {role: settings for role, path in _SERVERS if isinstance(settings := self.get(path), dict)}
        if "online" not in by_role and self.get("services.onlineStore.disabled") is not True:
            by_role["online"] = {}
        return tuple(_Server(role, by_role[role]) for role, _ in _SERVERS if role in by_role)

    @property
    def without_init_containers(self) -> bool:
        return self.get("services.disableInitContainers") is True

    @property
    def packaged(self) -> str | None:
        path = self.get("feastProjectDir.packaged.featureRepoPath")
        return path if isinstance(path, str) and self.capabilities.packaged else None

    @property
    def working_folder(self) -> str:
        """Where the operator starts every server."""
        if self.packaged and self.without_init_containers:
            return self.packaged
        volume = self.get("services.offlineStore.persistence.file.pvc.mountPath") or _DATA_FOLDER
        inner = self.get("feastProjectDir.git.featureRepoPath") or "feature_repo"
        return f"{volume}/{self.get('feastProject')}/{inner}"


def advise(resource: Json, capabilities: Capabilities) -> tuple[Finding, ...]:
    """Return a finding for each thing that is known to go wrong on this release of the operator."""
    subject = _Subject(resource, capabilities)
    return tuple(check(subject) for check in _CHECKS)


def _finds_its_repo(subject: _Subject) -> Finding:
    title = "Every server finds a feature repo when it starts"
    if not subject.without_init_containers:
        return _passed("feature-store.starts", title, f"init containers prepare {subject.working_folder}")
    if subject.packaged:
        return _passed("feature-store.starts", title, f"the image's own {subject.packaged} is the working directory")
    lost = [server.role for server in subject.servers if not _led_to_a_repo(server)]
    if not lost:
        places = sorted({server.env.get(REPO_FOLDER_VARIABLE, _BASE64_VARIABLE) for server in subject.servers})
        return _passed("feature-store.starts", title, f"servers read {', '.join(places)}" if places else "no servers")
    cure = (
        "feastProjectDir.packaged with the path of the repo in the image"
        if subject.capabilities.packaged
        else f"env {REPO_FOLDER_VARIABLE} with the path of the repo in the image to every server"
    )
    missing = f"Can't find feature repo configuration file at {subject.working_folder}/feature_store.yaml"
    evidence = (
        f'{", ".join(lost)}: will end with "{missing}"',
        "disableInitContainers is true, so that folder is an empty volume, which hides the files of the image",
    )
    return Finding("feature-store.starts", title, Status.FAIL, evidence, remedy=f"Add {cure}.")


def _led_to_a_repo(server: _Server) -> bool:
    folder = server.env.get(REPO_FOLDER_VARIABLE, "")
    hidden = folder == _DATA_FOLDER or folder.startswith(f"{_DATA_FOLDER}/")
    return (bool(folder) and not hidden) or _BASE64_VARIABLE in server.env or FILE_VARIABLE in server.env


def _apply_keeps_what_is_registered(subject: _Subject) -> Finding:
    title = "`feast apply` registers the repo of the image, and deletes nothing else"
    problems: list[str] = []
    for server in subject.servers:
        if FILE_VARIABLE in server.env and REPO_FOLDER_VARIABLE not in server.env and not subject.packaged:
            problems.append(
                f"{server.role}: {FILE_VARIABLE} without {REPO_FOLDER_VARIABLE}: `feast apply` finds no definitions "
                "and deletes every registered object"
            )
        if _BASE64_VARIABLE in server.env:
            problems.append(f"{server.role}: `feast apply` ignores {_BASE64_VARIABLE}, which every server obeys")
    demo = subject.get("feastProjectDir") is None and not subject.without_init_containers
    if demo and subject.capabilities.apply_on_init and subject.get("services.runFeastApplyOnInit") is not False:
        problems.append("feastProjectDir is left out: the operator makes a demo repo and applies it when a pod starts")
    if problems:
        return Finding(
            "feature-store.apply",
            title,
            Status.FAIL,
            tuple(problems),
            remedy=f"Set the path of the repo: feastProjectDir, or {REPO_FOLDER_VARIABLE} on every server.",
        )
    where = subject.packaged or next(
        (server.env[REPO_FOLDER_VARIABLE] for server in subject.servers if REPO_FOLDER_VARIABLE in server.env),
        subject.working_folder,
    )
    return _passed("feature-store.apply", title, f"definitions are those of {where}")


def _cron_job_can_run(subject: _Subject) -> Finding:
    title = "The CronJob's image has kubectl"
    image = subject.get("cronJob.containerConfigs.image")
    if not isinstance(image, str):
        evidence = ("no image is given, so it is the operator's RELATED_IMAGE_CRON_JOB, which must be mirrored",)
        return Finding(
            "feature-store.cron-job.image", title, Status.MANUAL, evidence, remedy="Give an image by digest."
        )
    served = {server.settings.get("image") for server in subject.servers}
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


def _first_container_is_complete(subject: _Subject) -> Finding:
    title = "The CronJob's commands run in a container with the settings of all servers"
    if not subject.servers:
        evidence = ("no server is left: the operator refuses this (at least one local server must be configured)",)
        remedy = "Enable the online server, or another."
        return Finding("feature-store.cron-job.target", title, Status.FAIL, evidence, remedy=remedy)
    first, *others = subject.servers
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


def _authorization_is_said(subject: _Subject) -> Finding:
    title = "The authorization of the feature store is set explicitly"
    authz = subject.get("authz")
    if isinstance(authz, dict) and authz.get("noAuth") is False:
        problem = "authz.noAuth is false: servers require Kubernetes tokens, and no role exists that could grant access"
    elif authz is None and subject.capabilities.no_auth:
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


def _state_outlives_the_pod(subject: _Subject) -> Finding:
    title = "Registry and online features outlive the pod"
    remote = isinstance(subject.get("services.registry.remote"), dict)
    lost = [] if remote else list(_on_empty_dir(subject, "registry", "services.registry.local.persistence"))
    if subject.get("services.onlineStore.disabled") is not True:
        lost += _on_empty_dir(subject, "online store", "services.onlineStore.persistence")
    if lost:
        return Finding(
            "feature-store.state",
            title,
            Status.MANUAL,
            tuple(lost),
            remedy="Use databases or volumes, unless the feature_store.yaml in the image already names other stores.",
        )
    return _passed("feature-store.state", title, "databases, volumes or buckets")


def _on_empty_dir(subject: _Subject, what: str, path: str) -> Iterator[str]:
    persistence = subject.get(path)
    value = persistence if isinstance(persistence, dict) else {}
    file = value.get("file")
    settings = file if isinstance(file, dict) else {}
    bucket = str(settings.get("path", "")).startswith(("s3://", "gs://"))
    if "store" not in value and "pvc" not in settings and not bucket:
        yield f"{what}: {settings.get('path', 'the default file')} lies on an emptyDir, which is lost with the pod"


def _passed(check: str, title: str, evidence: str) -> Finding:
    return Finding(check, title, Status.PASS, (evidence,))


_CHECKS: Final[tuple[Callable[[_Subject], Finding], ...]] = (
    _finds_its_repo,
    _apply_keeps_what_is_registered,
    _cron_job_can_run,
    _first_container_is_complete,
    _authorization_is_said,
    _state_outlives_the_pod,
)

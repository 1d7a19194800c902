"""Whether what was applied works: one look at the cluster each, with the reason for people where it does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from bundler.effects.kubectl import Kubectl
from bundler.kube.kustomize import Object
from bundler.model.descriptor import Json
from bundler.steps.install.release import identity

_QUANTITY: Final = re.compile(r"[0-9]*\.?[0-9]+([EPTGMK]i?|[numk]|[eE][+-]?[0-9]+)?")
# Reasons for which a container waits that pass by themselves.
_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing", ""})


@dataclass(frozen=True)
class Readiness:
    """What one look showed: ``seen`` in a few words; ``failed`` is why waiting is of no use, empty where it may be.

    ``explain`` asks the cluster for details, which only somebody who has waited in vain needs.
    """

    reached: bool
    seen: str
    failed: str = ""
    explain: Callable[[], Sequence[str]] = field(default=tuple[str, ...])


def established(kubectl: Kubectl, name: str) -> Callable[[], Readiness]:
    """Look whether the API server serves a CustomResourceDefinition."""

    def look() -> Readiness:
        found = kubectl.get("customresourcedefinitions.apiextensions.k8s.io", name)
        conditions = _conditions(found)
        reached = conditions.get("Established", ("", ""))[0] == "True"
        return Readiness(reached, "not established", explain=lambda: _told(conditions))

    return look


def rolled_out(kubectl: Kubectl, namespace: str, name: str) -> Callable[[], Readiness]:
    """Look whether every pod of a Deployment is of its newest template and available."""

    def look() -> Readiness:
        found = kubectl.get("deployments.apps", name, namespace)
        if found is None:
            return Readiness(reached=False, seen="no Deployment yet")
        reached, seen = _rollout(found)
        return Readiness(reached, seen, explain=lambda: list(_pods(kubectl, namespace, found)))

    return look


def serving(kubectl: Kubectl, store: Object) -> Callable[[], Readiness]:
    """Look whether a feature store serves.

    Its phase alone says too little: Ready may be of an earlier generation, and is said before pods crash. So the
    operator must have taken up what the resource says now, the Deployment must have its images, and all its pods must
    be available.
    """
    _, namespace, name = identity(store)
    wanted = frozenset(_images(store.get("spec")))

    def look() -> Readiness:
        found = kubectl.get("featurestores.feast.dev", name, namespace)
        status = _mapping(found, "status")
        phase = str(status.get("phase") or "no phase yet")
        deployment = kubectl.get("deployments.apps", f"feast-{name}", namespace)
        conditions = _conditions(found)
        if deployment is None:
            return Readiness(reached=False, seen=f"{phase}, no Deployment yet", explain=lambda: _told(conditions))
        used = frozenset(_images(_mapping(deployment, "spec").get("template")))
        done, seen = _rollout(deployment)
        current = bool(used & wanted)
        seen = f"{phase}, {seen}" if current else f"{phase}, the Deployment still has other images"
        applied = _mapping(status, "applied")
        if applied and not _holds(applied, _mapping(found, "spec")):
            current, seen = False, f"{phase}, the operator has not seen the change yet"
        details = lambda: [*_told(conditions), *_pods(kubectl, namespace, deployment)]  # noqa: E731
        return Readiness(phase == "Ready" and done and current, seen, explain=details)

    return look


def _holds(applied: Json, spec: Json) -> bool:
    """Tell whether every text of a spec is in what the operator says that it applied, which holds defaults besides.

    Quantities it may write otherwise (1024Mi, 1Gi), and what is false or nothing it leaves out.
    """
    if isinstance(spec, dict):
        return all(
            _holds(applied.get(key) if isinstance(applied, dict) else None, inner) for key, inner in spec.items()
        )
    if isinstance(spec, list):
        found = applied if isinstance(applied, list) else []
        return all(any(_holds(one, inner) for one in found) for inner in spec)
    return not isinstance(spec, str) or not spec or spec == applied or bool(_QUANTITY.fullmatch(spec))


def completed(kubectl: Kubectl, namespace: str, name: str) -> Callable[[], Readiness]:
    """Look whether a Job has completed; one that failed is not waited for."""

    def look() -> Readiness:
        found = kubectl.get("jobs.batch", name, namespace)
        conditions = _conditions(found)
        failed = "The first run failed" if conditions.get("Failed", ("", ""))[0] == "True" else ""
        reached = conditions.get("Complete", ("", ""))[0] == "True"
        details = lambda: [*_told(conditions), *_pods_of(kubectl, namespace, f"job-name={name}", everything=True)]  # noqa: E731
        return Readiness(reached, "running", failed, details)

    return look


def job_of(cron_job: Object, name: str) -> Object:
    """Return the Job that a CronJob would start, as ``kubectl create job --from`` makes it, under a name."""
    metadata, template = _mapping(cron_job, "metadata"), _mapping(_mapping(cron_job, "spec"), "jobTemplate")
    owned = _mapping(template, "metadata")
    annotations: dict[str, Json] = {**_mapping(owned, "annotations"), "cronjob.kubernetes.io/instantiate": "manual"}
    made: dict[str, Json] = {"name": name, "namespace": metadata.get("namespace"), "annotations": annotations}
    if owned.get("labels"):
        made["labels"] = owned["labels"]
    # One that is gone as soon as it has ended could not be told from one that never was.
    spec = {key: value for key, value in _mapping(template, "spec").items() if key != "ttlSecondsAfterFinished"}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": made, "spec": spec}


def _rollout(deployment: Object) -> tuple[bool, str]:
    spec, status, metadata = (_mapping(deployment, key) for key in ("spec", "status", "metadata"))
    wanted = _number(spec.get("replicas"), 1)
    updated, available = _number(status.get("updatedReplicas")), _number(status.get("availableReplicas"))
    seen = _number(status.get("observedGeneration")) >= _number(metadata.get("generation"))
    total = _number(status.get("replicas"))
    return seen and updated >= wanted and available >= wanted and total <= updated, f"{available} of {wanted} pods"


def _pods(kubectl: Kubectl, namespace: str, deployment: Object) -> Iterator[str]:
    labels = _mapping(_mapping(_mapping(deployment, "spec"), "selector"), "matchLabels")
    yield from _pods_of(kubectl, namespace, ",".join(f"{key}={value}" for key, value in labels.items()))


def _pods_of(kubectl: Kubectl, namespace: str, selector: str, *, everything: bool = False) -> Iterator[str]:
    """Yield why containers of pods do not run, with their last words; ``everything``: also of those that ended well."""
    for pod in kubectl.listed("pods", namespace, selector):
        name = str(_mapping(pod, "metadata").get("name"))
        status = _mapping(pod, "status")
        if status.get("message"):
            yield f"pod {name}: {status.get('reason')}: {status['message']}"
        for key in ("initContainerStatuses", "containerStatuses"):
            rows = status.get(key)
            for row in rows if isinstance(rows, list) else []:
                if isinstance(row, dict):
                    yield from _container(kubectl, namespace, name, row, everything=everything)


def _container(kubectl: Kubectl, namespace: str, pod: str, row: Object, *, everything: bool) -> Iterator[str]:
    container, state = str(row.get("name")), _mapping(row, "state")
    waiting, ended = _mapping(state, "waiting"), _mapping(state, "terminated")
    last = _mapping(_mapping(row, "lastState"), "terminated")
    reason = str(waiting.get("reason") or "")
    failed = ended or last
    if failed.get("exitCode") not in (None, 0) or everything:
        why = f"exit code {failed.get('exitCode')} {failed.get('reason') or ''}"
        yield f"pod {pod}, container {container}: {why}".rstrip()
        restarted = not ended and bool(last)
        yield from (f"  {line}" for line in kubectl.logs(pod, container, namespace, previous=restarted))
    elif reason not in _STARTING:
        yield f"pod {pod}, container {container}: {reason}: {waiting.get('message') or ''}"


def _told(conditions: dict[str, tuple[str, str]]) -> list[str]:
    return [f"{kind} is {status}: {message}" for kind, (status, message) in conditions.items() if message]


def _conditions(found: Object | None) -> dict[str, tuple[str, str]]:
    rows = _mapping(found, "status").get("conditions")
    return {
        str(row.get("type")): (str(row.get("status")), str(row.get("message") or row.get("reason") or ""))
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict)
    }


def _images(value: Json) -> Iterator[str]:
    if isinstance(value, dict):
        image = value.get("image")
        if isinstance(image, str):
            yield image
        for child in value.values():
            yield from _images(child)
    elif isinstance(value, list):
        for child in value:
            yield from _images(child)


def _mapping(value: Json, key: str) -> dict[str, Json]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _number(value: Json, default: int = 0) -> int:
    return value if isinstance(value, int) else default

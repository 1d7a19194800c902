"""Whether what was applied works: one look at the cluster each, with the reason for people where it does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from bundler.effects.kubectl import Kubectl
from bundler.kube.objects import KubeObject, mappings
from bundler.model.descriptor import Json

_QUANTITY: Final = re.compile(r"[0-9]*\.?[0-9]+([EPTGMK]i?|[numk]|[eE][+-]?[0-9]+)?")
# Reasons for which a container waits while it starts normally.
_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing", ""})


@dataclass(frozen=True)
class Readiness:
    """What one look showed: ``seen`` in a few words; ``failed`` is why waiting cannot help, empty where it may.

    ``explain`` asks the cluster for details, which are needed only after a timeout.
    """

    reached: bool
    seen: str
    failed: str = ""
    explain: Callable[[], Sequence[str]] = field(default=tuple[str, ...])


def established(kubectl: Kubectl, name: str) -> Callable[[], Readiness]:
    """Look whether the API server serves a CustomResourceDefinition."""

    def look() -> Readiness:
        definition = kubectl.get("customresourcedefinitions.apiextensions.k8s.io", name) or KubeObject({})
        condition = definition.conditions.get("Established")
        reached = condition is not None and condition.is_true
        return Readiness(reached, "not established", explain=lambda: _messages(definition))

    return look


def rolled_out(kubectl: Kubectl, namespace: str, name: str) -> Callable[[], Readiness]:
    """Look whether every pod of a Deployment is of its newest template and available."""

    def look() -> Readiness:
        deployment = kubectl.get("deployments.apps", name, namespace)
        if deployment is None:
            return Readiness(reached=False, seen="no Deployment yet")
        reached, seen = _rollout(deployment)
        return Readiness(reached, seen, explain=lambda: list(_pods_of_deployment(kubectl, deployment)))

    return look


def serving(kubectl: Kubectl, store: KubeObject) -> Callable[[], Readiness]:
    """Look whether a feature store serves.

    Its phase alone is not enough: Ready may be of an earlier generation, and the operator sets it before pods crash. So
    the operator must have seen the present spec, the Deployment must have its images, and all its pods must be
    available.
    """
    images = frozenset(_images(store.get("spec")))

    def look() -> Readiness:
        live = kubectl.get("featurestores.feast.dev", store.name, store.namespace) or KubeObject({})
        phase = live.text("status", "phase") or "no phase yet"
        deployment = kubectl.get("deployments.apps", f"feast-{store.name}", store.namespace)
        if deployment is None:
            return Readiness(reached=False, seen=f"{phase}, no Deployment yet", explain=lambda: _messages(live))
        done, pods = _rollout(deployment)
        current, seen = True, f"{phase}, {pods}"
        if not images.intersection(_images(deployment.get("spec", "template"))):
            current, seen = False, f"{phase}, the Deployment still has other images"
        applied = live.get("status", "applied")
        if applied and not _holds(applied, live.get("spec")):
            current, seen = False, f"{phase}, the operator has not seen the change yet"
        details = lambda: [*_messages(live), *_pods_of_deployment(kubectl, deployment)]  # noqa: E731
        return Readiness(phase == "Ready" and done and current, seen, explain=details)

    return look


def _holds(applied: Json, spec: Json) -> bool:
    """Tell whether every text of a spec is in what the operator applied, which also has the defaults.

    The operator may write a quantity otherwise (1024Mi, 1Gi), and leaves out what is false or empty.
    """
    if isinstance(spec, dict):
        return all(
            _holds(applied.get(key) if isinstance(applied, dict) else None, child) for key, child in spec.items()
        )
    if isinstance(spec, list):
        items = applied if isinstance(applied, list) else []
        return all(any(_holds(item, child) for item in items) for child in spec)
    return not isinstance(spec, str) or not spec or spec == applied or bool(_QUANTITY.fullmatch(spec))


def completed(kubectl: Kubectl, namespace: str, name: str) -> Callable[[], Readiness]:
    """Look whether a Job has completed; one that failed is not waited for."""

    def look() -> Readiness:
        job = kubectl.get("jobs.batch", name, namespace) or KubeObject({})
        true = {kind for kind, condition in job.conditions.items() if condition.is_true}
        failed = "The first run failed" if "Failed" in true else ""
        details = lambda: [*_messages(job), *_pods(kubectl, namespace, f"job-name={name}", ended_too=True)]  # noqa: E731
        return Readiness("Complete" in true, "running", failed, details)

    return look


def job_of(cron_job: KubeObject, name: str) -> KubeObject:
    """Return the Job that a CronJob would start, as ``kubectl create job --from`` makes it, under a name."""
    template = cron_job.inner("spec", "jobTemplate")
    annotations: dict[str, Json] = {**template.annotations, "cronjob.kubernetes.io/instantiate": "manual"}
    metadata: dict[str, Json] = {"name": name, "namespace": cron_job.namespace, "annotations": annotations}
    if template.labels:
        metadata["labels"] = dict[str, Json](template.labels)
    # A Job that the cluster deletes as soon as it ends cannot be told from one that never ran.
    spec = template.inner("spec").without("ttlSecondsAfterFinished").to_json()
    return KubeObject({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})


def _rollout(deployment: KubeObject) -> tuple[bool, str]:
    wanted = deployment.number("spec", "replicas", default=1)
    total, updated, available = (
        deployment.number("status", key) for key in ("replicas", "updatedReplicas", "availableReplicas")
    )
    observed = deployment.number("status", "observedGeneration") >= deployment.number("metadata", "generation")
    seen = f"{available} of {wanted} pods"
    failure = deployment.conditions.get("ReplicaFailure")
    if failure and failure.is_true:
        seen += f", the cluster refuses to create pods ({failure.reason or failure.message})"
    return observed and updated >= wanted and available >= wanted and total <= updated, seen


def _pods_of_deployment(kubectl: Kubectl, deployment: KubeObject) -> Iterator[str]:
    """Yield why a Deployment has no pods, and why those that it has do not run."""
    failure = deployment.conditions.get("ReplicaFailure")
    if failure and failure.is_true:
        # There is no pod that could say it: quotas, Pod Security and admission webhooks refuse before one is created.
        yield f"Deployment {deployment.name}: {failure.reason}: {failure.message}"
    labels = deployment.texts("spec", "selector", "matchLabels")
    yield from _pods(kubectl, deployment.namespace, ",".join(f"{key}={value}" for key, value in labels.items()))


def _pods(kubectl: Kubectl, namespace: str, selector: str, *, ended_too: bool = False) -> Iterator[str]:
    """Yield why containers do not run, with their last log lines; ``ended_too``: also of those that ended well."""
    for pod in kubectl.listed("pods", namespace, selector):
        if pod.text("status", "message"):
            yield f"pod {pod.name}: {pod.text('status', 'reason')}: {pod.text('status', 'message')}"
        for key in ("initContainerStatuses", "containerStatuses"):
            for container in pod.rows("status", key):
                yield from _container(kubectl, pod, container, ended_too=ended_too)


def _container(kubectl: Kubectl, pod: KubeObject, status: KubeObject, *, ended_too: bool) -> Iterator[str]:
    container, waiting = status.text("name"), status.inner("state", "waiting")
    restarted = not status.mapping("state", "terminated")
    ended = status.inner("lastState" if restarted else "state", "terminated")
    if ended.number("exitCode") or ended_too:
        why = f"exit code {ended.get('exitCode')} {ended.text('reason')}"
        yield f"pod {pod.name}, container {container}: {why}".rstrip()
        previous = restarted and bool(ended.content)
        yield from (f"  {line}" for line in kubectl.logs(pod.name, container, pod.namespace, previous=previous))
    elif waiting.text("reason") not in _STARTING:
        yield f"pod {pod.name}, container {container}: {waiting.text('reason')}: {waiting.text('message')}"


def _messages(resource: KubeObject) -> list[str]:
    return [str(condition) for condition in resource.conditions.values() if condition.message or condition.reason]


def _images(value: Json) -> Iterator[str]:
    return filter(None, (inner.text("image") for inner in mappings(value)))

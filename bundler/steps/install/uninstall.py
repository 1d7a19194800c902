"""Uninstall: delete what a bundle brought, in the reverse order; what a site made or others may use stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundler.effects.kubectl import Kubectl
from bundler.kube.kustomize import Object
from bundler.model.descriptor import Json
from bundler.model.progress import Progress
from bundler.steps.install import plan as install_plan
from bundler.steps.install.release import Release, first_run, identity


@dataclass(frozen=True)
class UninstallPlan:
    """What is deleted, in order, and what stays, each with the reason."""

    title: str
    objects: tuple[Object, ...]
    kept: tuple[str, ...]

    def lines(self) -> tuple[str, ...]:
        """Return what is deleted, an object a line."""
        return tuple("/".join(part for part in identity(one) if part) for one in self.objects)


@dataclass(frozen=True)
class Uninstalled:
    """What was deleted, and what stays."""

    title: str
    deleted: tuple[str, ...]
    kept: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """Return the result for scripts."""
        return {"bundle": self.title, "deleted": list(self.deleted), "kept": list(self.kept)}


def plan(bundle: Path) -> UninstallPlan:
    """Say what would be deleted.

    Raises:
        VerificationError: the bundle is damaged.
    """
    subject = Release.of(bundle)
    found = install_plan.plan(subject.manifests)
    runs = [
        _named("batch/v1", "Job", _namespace(one), first_run(identity(one)[2], subject.digest)) for one in found.stores
    ]
    record = [_named("v1", "ConfigMap", _namespace(one), subject.record_name) for one in found.stores[:1]]
    kept = (
        *(f"namespace {identity(one)[2]}: other things may live there" for one in found.namespaces),
        *(f"Secret {one.namespace}/{one.name}: the site filled it in" for one in found.secrets if not one.of_operator),
        "what is in databases and online stores: data",
        "operator and CRDs: deleting a CRD deletes every feature store of the cluster",
    )
    # The operator cleans up after a feature store with the rights of its accounts, so that goes before them.
    return UninstallPlan(subject.title, (*found.after, *found.stores, *runs, *reversed(found.before), *record), kept)


def _named(version: str, kind: str, namespace: str, name: str) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"namespace": namespace, "name": name}}


def _namespace(found: Object) -> str:
    return identity(found)[1]


def run(
    asked: UninstallPlan, kubectl: Kubectl, progress: Progress, *, timeout: float, delete_volumes: bool = False
) -> Uninstalled:
    """Delete what a plan says; what is gone already is no error.

    The operator makes its feature store the owner of the volumes' claims, so these would go with it: they are taken
    from it first, unless ``delete_volumes``. An operator that finds such a claim later uses it again.

    Raises:
        ClusterError: an object was not gone in ``timeout`` seconds, or the cluster refused; the next run goes on.
    """
    deleted: list[str] = []
    kept: list[str] = []
    with progress.task("Deleting", total=len(asked.objects)) as task:
        for one in asked.objects:
            task.note("/".join(identity(one)))
            if one["kind"] == "FeatureStore" and not delete_volumes:
                kept += _keep_volumes(kubectl, one)
            deleted += kubectl.delete([one], timeout=timeout)
            task.advance(1)
    return Uninstalled(asked.title, tuple(deleted), (*kept, *asked.kept))


def _keep_volumes(kubectl: Kubectl, store: Object) -> Iterator[str]:
    _, namespace, name = identity(store)
    for server in ("online", "offline", "registry"):
        claim = f"feast-{name}-{server}"
        if kubectl.disown("persistentvolumeclaims", claim, namespace):
            yield f"PersistentVolumeClaim {namespace}/{claim}: data; the next install finds it again"

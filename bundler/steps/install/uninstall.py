"""Uninstall: delete what a bundle brought, in the reverse order; what a site made or others may use stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bundler.effects.kubectl import Kubectl
from bundler.errors import ForbiddenError
from bundler.kube.objects import KubeObject
from bundler.model.descriptor import Json
from bundler.model.progress import Progress
from bundler.steps.install.plan import Stage
from bundler.steps.install.release import Release, first_run

_TOKEN_REVIEW = "feast-token-review-cluster-role"  # noqa: S105  (the name of a ClusterRole)
_SERVERS = ("online", "offline", "registry")


@dataclass(frozen=True)
class UninstallPlan:
    """What is deleted, in order, and what stays, each with the reason."""

    title: str
    objects: tuple[KubeObject, ...]
    kept: tuple[str, ...]

    def lines(self) -> tuple[str, ...]:
        """Return what is deleted, an object a line."""
        return tuple(str(resource.identity) for resource in self.objects)


@dataclass(frozen=True)
class Uninstalled:
    """What was deleted, and what stays."""

    title: str
    deleted: tuple[str, ...]
    kept: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """Return the result for scripts."""
        return {"bundle": self.title, "deleted": list(self.deleted), "kept": list(self.kept)}


def plan(release: Release) -> UninstallPlan:
    """Say what would be deleted."""
    planned = release.plan
    objects: list[KubeObject] = []
    # The operator cleans up after a feature store with the rights of its accounts, so that goes before them.
    for group in reversed(planned.groups("tenant")):
        if group.stage is not Stage.RECORD:  # last, so that an uninstall that was interrupted shows
            objects += reversed(group.objects)
        if group.stage is Stage.STORES:
            objects += [
                KubeObject.named("batch/v1", "Job", store.namespace, first_run(store.name, release.digest))
                for store in group.objects
            ]
    kept = (
        *(f"namespace {namespace.name}: other things may live there" for namespace in planned.namespaces),
        *(f"Secret {secret.place}: the site filled it in" for secret in planned.secrets if not secret.of_operator),
        "what is in databases and online stores: data",
        "operator and CRDs: deleting a CRD deletes every feature store of the cluster",
    )
    return UninstallPlan(release.title, (*objects, *planned.record), kept)


def run(
    planned: UninstallPlan, kubectl: Kubectl, progress: Progress, *, timeout: float, delete_volumes: bool = False
) -> Uninstalled:
    """Delete what a plan says; an object that is gone already is not an error.

    The operator makes its feature store the owner of the volumes' claims, so that the cluster deletes them with it: the
    owner is removed first, unless ``delete_volumes``. An operator that finds such a claim later uses it again.

    Raises:
        ClusterError: an object was not gone in ``timeout`` seconds, or the cluster refused; the next run continues.
    """
    deleted: list[str] = []
    kept: list[str] = []
    stores = [resource for resource in planned.objects if resource.kind == "FeatureStore"]
    with progress.task("Deleting", total=len(planned.objects)) as task:
        for resource in planned.objects:
            task.note(str(resource.identity))
            if resource.kind == "FeatureStore":
                kept += _claims_kept(kubectl, resource, delete_volumes=delete_volumes)
            deleted += kubectl.delete([resource], timeout=timeout)
            task.advance(1)
    kept += _cluster_roles_kept(kubectl, stores)
    return Uninstalled(planned.title, tuple(deleted), (*kept, *planned.kept))


def _claims_kept(kubectl: Kubectl, store: KubeObject, *, delete_volumes: bool) -> Iterator[str]:
    """Yield the claims of a feature store that stay when it is deleted, and see to it that those to keep do."""
    namespace = store.namespace
    for name in (f"feast-{store.name}-{server}" for server in _SERVERS):
        if delete_volumes:
            claim = kubectl.get("persistentvolumeclaims", name, namespace)
            # An earlier uninstall removed the owner, so that the cluster does not delete this one with it.
            stays = claim is not None and not _is_owned(claim, store)
        else:
            stays = kubectl.disown("persistentvolumeclaims", name, namespace)
        if stays:
            reason = "the feature store does not own it" if delete_volumes else "the next install finds it again"
            command = f"kubectl --namespace={namespace} delete persistentvolumeclaim {name}"
            yield f"PersistentVolumeClaim {namespace}/{name}: data; {reason}; to delete it: {command}"


def _is_owned(claim: KubeObject, store: KubeObject) -> bool:
    owners = claim.rows("metadata", "ownerReferences")
    return any((owner.kind, owner.text("name")) == ("FeatureStore", store.name) for owner in owners)


def _cluster_roles_kept(kubectl: Kubectl, stores: list[KubeObject]) -> Iterator[str]:
    """Yield what the operator made for Kubernetes authentication and does not delete; it is of the whole cluster."""
    names = [("clusterrolebinding", f"feast-{store.name}-cluster-binding") for store in stores]
    shared = "every feature store with Kubernetes authentication uses it; where none is left, delete it"
    for kind, name in (*names, ("clusterrole", _TOKEN_REVIEW)):
        title = f"{'ClusterRole' if kind == 'clusterrole' else 'ClusterRoleBinding'} {name}"
        reason = shared if kind == "clusterrole" else "the operator does not delete it; to delete it"
        try:
            there = kubectl.get(f"{kind}s.rbac.authorization.k8s.io", name) is not None
        except ForbiddenError:
            # Where nothing of the kind was made there is nothing to say to those who may not look.
            there = any(store.get("spec", "authz", "kubernetes") is not None for store in stores)
            reason = f"you may not see whether it is there; {reason}"
        if there:
            yield f"{title}: {reason}: kubectl delete {kind} {name}"

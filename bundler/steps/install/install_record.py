"""The record of the last install in the cluster: its digest, and the objects that a newer bundle no longer has."""

from __future__ import annotations

from dataclasses import dataclass

from bundler.effects.kubectl import Kubectl
from bundler.kube.objects import KubeObject
from bundler.steps.install.plan import InstallPlan
from bundler.steps.install.release import Release

_FIELDS = 4
# The record never leads to deleting these: other objects live in them or depend on them, or they hold data.
_KEPT = frozenset({"Namespace", "CustomResourceDefinition", "PersistentVolumeClaim"})


@dataclass(frozen=True)
class InstallRecord:
    """What was installed last: its digest, and its objects, which say nothing but their identity."""

    digest: str
    objects: tuple[KubeObject, ...]

    def without(self, plan: InstallPlan) -> tuple[KubeObject, ...]:
        """Return the objects that a plan does not have, last applied first."""
        planned = {resource.identity for resource in plan.of_stores}
        gone = [applied for applied in self.objects if applied.identity not in planned and applied.kind not in _KEPT]
        return tuple(reversed(gone))


def find(kubectl: Kubectl, release: Release) -> InstallRecord | None:
    """Return the record in the cluster, None where no install was completed.

    Raises:
        ClusterError: the cluster refuses or cannot be reached.
    """
    stores = release.plan.stores
    record = kubectl.get("configmaps", release.record_name, stores[0].namespace) if stores else None
    data = record.texts("data") if record else None
    if not data:
        return None
    objects = [_object(line) for line in data.get("objects", "").splitlines()]
    # A record that somebody edited deletes nothing outside of the bundle's namespaces.
    namespaces = release.plan.store_namespaces
    return InstallRecord(
        data.get("digest", ""), tuple(recorded for recorded in objects if recorded and recorded.namespace in namespaces)
    )


def _object(line: str) -> KubeObject | None:
    fields = line.split(" ")
    if len(fields) != _FIELDS or not all(fields):
        return None
    api_version, kind, namespace, name = fields
    return KubeObject.named(api_version, kind, namespace, name)

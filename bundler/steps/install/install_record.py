"""The bundle that was installed before: what its record says, and which of its objects a newer one no longer has."""

from __future__ import annotations

from dataclasses import dataclass

from bundler.effects.kubectl import Kubectl
from bundler.kube.kustomize import Object
from bundler.model.descriptor import Json
from bundler.steps.install.plan import InstallPlan
from bundler.steps.install.release import Release, identity

_FIELDS = 4
# Never deleted because a list says so: what others may live in or depend on, and data.
_KEPT = frozenset({"Namespace", "CustomResourceDefinition", "PersistentVolumeClaim"})


@dataclass(frozen=True)
class Previous:
    """What was installed last: its digest, and the identity of each of its objects."""

    digest: str
    objects: tuple[Object, ...]

    def without(self, plan: InstallPlan) -> tuple[Object, ...]:
        """Return the objects that a plan does not have, last applied first."""
        wanted = {identity(one) for one in plan.of_stores}
        gone = [one for one in self.objects if identity(one) not in wanted and one["kind"] not in _KEPT]
        return tuple(reversed(gone))


def find(kubectl: Kubectl, subject: Release, plan: InstallPlan) -> Previous | None:
    """Return what the record in the cluster says, None where no install has come to its end.

    Raises:
        ClusterError: the cluster refuses or cannot be reached.
    """
    if not plan.stores:
        return None
    record = kubectl.get("configmaps", subject.record_name, identity(plan.stores[0])[1])
    data = record.get("data") if record else None
    if not isinstance(data, dict):
        return None
    namespaces = {identity(one)[1] for one in plan.stores}
    objects = [_object(line) for line in str(data.get("objects", "")).splitlines()]
    # A record that somebody wrote into leads no further than the namespaces of the bundle.
    return Previous(str(data.get("digest")), tuple(one for one in objects if one and identity(one)[1] in namespaces))


def _object(line: str) -> Object | None:
    fields = line.split(" ")
    if len(fields) != _FIELDS or not all(fields):
        return None
    version, kind, namespace, name = fields
    metadata: dict[str, Json] = {"namespace": namespace, "name": name}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}

"""Whether the person may do what an install does, asked right by right before any of it is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bundler.model.descriptor import Json
from bundler.model.findings import Finding, Status
from bundler.steps.install.preflight.case import Case
from bundler.steps.install.release import identity

_APPLY = ("get", "create", "patch")  # server-side apply creates by patching, and asks for both
# What is looked at and done while an install waits, in the namespace of a feature store.
_FOLLOW = (
    ("get", "apps", "deployments"),
    ("get", "batch", "cronjobs"),
    ("get", "batch", "jobs"),
    ("create", "batch", "jobs"),
    ("patch", "batch", "jobs"),
    ("delete", "batch", "jobs"),
    ("list", "", "pods"),
    ("get", "", "pods/log"),
    ("create", "", "pods/exec"),
)


@dataclass(frozen=True, order=True)
class Right:
    """A verb on a resource (``pods/log`` names a subresource); the namespace is empty for what has none."""

    namespace: str
    group: str
    resource: str
    verb: str

    def to_attributes(self) -> dict[str, Json]:
        """Return the question as a SelfSubjectAccessReview has it."""
        resource, _, below = self.resource.partition("/")
        return {
            "namespace": self.namespace,
            "group": self.group,
            "resource": resource,
            "subresource": below,
            "verb": self.verb,
        }

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{f'.{self.group}' if self.group else ''}"


def check(case: Case) -> Iterator[Finding]:
    """Yield a finding for what the cluster does not know, and one for each namespace (or the whole cluster)."""
    known = _resources(case)
    wanted: set[Right] = set()
    unknown: set[str] = set()
    for one in case.applied:
        version, kind = str(one.get("apiVersion")), str(one.get("kind"))
        resource = known.get((version, kind))
        if resource is None:
            unknown.add(f"{kind} of {version}")
            continue
        namespace, group = identity(one)[1], version.rpartition("/")[0]
        wanted |= {Right(namespace, group, resource, verb) for verb in _APPLY}
    if unknown:
        yield Finding(
            "kinds",
            "The cluster knows every kind of object of the bundle",
            Status.FAIL,
            tuple(f"it does not serve {one}" for one in sorted(unknown)),
            "Let an admin install what defines them (for FeatureStores: the operator), or build without them.",
            "kubectl api-resources",
        )
    if case.tenant:
        # What was installed is noted in a ConfigMap beside the first feature store.
        noted = {identity(store)[1] for store in case.plan.stores[:1]}
        wanted |= {Right(namespace, "", "configmaps", verb) for namespace in noted for verb in _APPLY}
        wanted |= {Right(namespace, *right) for namespace in case.namespaces for right in _followed()}
        wanted |= {Right(one.namespace, "", "secrets", "get") for one in case.secrets if one not in case.filled}
    asked = sorted(wanted)
    allowed = dict(zip(asked, case.kubectl.reviewed([one.to_attributes() for one in asked]), strict=True))
    for namespace in sorted({one.namespace for one in asked}):
        yield _of_namespace(namespace, {one: may for one, may in allowed.items() if one.namespace == namespace})


def _followed() -> Iterator[tuple[str, str, str]]:
    for verb, group, resource in _FOLLOW:
        yield group, resource, verb


def _of_namespace(namespace: str, allowed: Mapping[Right, bool]) -> Finding:
    place = f"in namespace {namespace}" if namespace else "in the whole cluster"
    check, title = f"rights-{namespace or 'cluster'}", f"You may do what an install does {place}"
    refused = tuple(f"you may not {one}" for one, may in allowed.items() if not may)
    if not refused:
        return Finding(check, title, Status.PASS, (f"{len(allowed)} rights",))
    remedy = "Have them granted"
    remedy += "." if namespace else ", or let an admin run: bundler install --part admin, and you --part tenant."
    command = "kubectl auth can-i --list" + (f" --namespace={namespace}" if namespace else "")
    return Finding(check, title, Status.FAIL, refused, remedy, command)


def _resources(case: Case) -> Mapping[tuple[str, str], str]:
    """Return (API version, kind) -> resource: what the cluster serves, and what the bundle's CRDs will add."""
    found: dict[tuple[str, str], str] = {}
    for version in sorted({str(one.get("apiVersion")) for one in case.applied}):
        found |= {(version, kind): name for kind, name in case.kubectl.resources(version).items()}
    for one in case.plan.definitions if case.admin else ():
        match one.get("spec"):
            case {"group": group, "names": {"kind": str(kind), "plural": str(plural)}, "versions": list(versions)}:
                rows = [row["name"] for row in versions if isinstance(row, dict)]
                found |= {(f"{group}/{name}", kind): plural for name in rows}
    return found

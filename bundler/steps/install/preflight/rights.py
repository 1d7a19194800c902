"""Whether the person may do what an install does, asked right by right before any of it is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bundler.model.descriptor import Json
from bundler.model.findings import Finding, Status
from bundler.steps.install.preflight.scope import PreflightScope

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


def check(scope: PreflightScope) -> Iterator[Finding]:
    """Yield a finding for kinds that the cluster does not serve, and one for each namespace (or the whole cluster)."""
    known = _resources(scope)
    wanted: set[Right] = set()
    unknown: set[str] = set()
    for applied in scope.applied:
        resource = known.get((applied.api_version, applied.kind))
        if resource is None:
            unknown.add(f"{applied.kind} of {applied.api_version}")
            continue
        wanted |= {Right(applied.namespace, applied.group, resource, verb) for verb in _APPLY}
    if unknown:
        yield Finding(
            "kinds",
            "The cluster serves every kind of object of the bundle",
            Status.FAIL,
            tuple(f"it does not serve {kind}" for kind in sorted(unknown)),
            "Ask an administrator to install what defines them (FeatureStores: the operator), or build without them.",
            "kubectl api-resources",
        )
    if scope.tenant:
        wanted |= {Right(record.namespace, "", "configmaps", verb) for record in scope.plan.record for verb in _APPLY}
        wanted |= {Right(namespace, *right) for namespace in scope.namespaces for right in _followed()}
        wanted |= {
            Right(secret.namespace, "", "secrets", "get") for secret in scope.secrets if secret not in scope.filled
        }
    asked = sorted(wanted)
    allowed = dict(zip(asked, scope.kubectl.reviewed([applied.to_attributes() for applied in asked]), strict=True))
    for namespace in sorted({applied.namespace for applied in asked}):
        yield _of_namespace(
            namespace, {applied: may for applied, may in allowed.items() if applied.namespace == namespace}
        )


def _followed() -> Iterator[tuple[str, str, str]]:
    for verb, group, resource in _FOLLOW:
        yield group, resource, verb


def _of_namespace(namespace: str, allowed: Mapping[Right, bool]) -> Finding:
    place = f"in namespace {namespace}" if namespace else "in the whole cluster"
    check, title = f"rights-{namespace or 'cluster'}", f"You may do what an install does {place}"
    refused = tuple(f"you may not {right}" for right, may in allowed.items() if not may)
    if not refused:
        return Finding(check, title, Status.PASS, (f"{len(allowed)} rights",))
    remedy = "Ask an administrator to grant them"
    remedy += "." if namespace else ", or to run bundler install --part admin; then run it with --part tenant."
    command = "kubectl auth can-i --list" + (f" --namespace={namespace}" if namespace else "")
    return Finding(check, title, Status.FAIL, refused, remedy, command)


def _resources(scope: PreflightScope) -> Mapping[tuple[str, str], str]:
    """Return (API version, kind) -> resource: what the cluster serves, and what the bundle's CRDs will add."""
    names: dict[tuple[str, str], str] = {}
    for version in sorted({kube_object.api_version for kube_object in scope.applied}):
        names |= {(version, kind): name for kind, name in scope.kubectl.resources(version).items()}
    for definition in scope.plan.definitions if scope.admin else ():
        group, kind = definition.text("spec", "group"), definition.text("spec", "names", "kind")
        plural = definition.text("spec", "names", "plural")
        names |= {(f"{group}/{row.text('name')}", kind): plural for row in definition.rows("spec", "versions")}
    return names

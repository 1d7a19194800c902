"""Whether the cluster will admit the pods of feature stores: Pod Security, quotas on limits, metrics of autoscalers.

The operator creates the pods, so that no dry run of the bundle's own objects shows what refuses them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bundler.kube.objects import KubeObject
from bundler.model.findings import Finding, Status
from bundler.steps.install.preflight.scope import PreflightScope

_ENFORCE: Final = "pod-security.kubernetes.io/enforce"
_METRICS: Final = "v1beta1.metrics.k8s.io"
# What a quota counts -> where a container has to set it; a request that is not set is that of the limit.
_COUNTED: Final = {
    "limits.cpu": (("limits", "cpu"),),
    "limits.memory": (("limits", "memory"),),
    "requests.cpu": (("requests", "cpu"), ("limits", "cpu")),
    "requests.memory": (("requests", "memory"), ("limits", "memory")),
    "cpu": (("requests", "cpu"), ("limits", "cpu")),
    "memory": (("requests", "memory"), ("limits", "memory")),
}
# Where a FeatureStore describes containers that the operator makes.
_CONTAINERS: Final = (
    ("services", "onlineStore", "server"),
    ("services", "offlineStore", "server"),
    ("services", "registry", "local", "server"),
    ("services", "ui"),
    ("cronJob", "containerConfigs"),
)


def check_pod_security(scope: PreflightScope) -> Iterator[Finding]:
    """Yield for each namespace whether Pod Security admits pods without a securityContext of their containers."""
    for name in scope.namespaces:
        check, title = f"pod-security-{name}", f"Pod Security of namespace {name} accepts pods of feature stores"
        namespace = scope.kubectl.get("namespaces", name)
        if namespace is None:
            yield Finding(check, title, Status.NOT_APPLICABLE, ("the namespace is not there yet",))
            continue
        level = namespace.labels.get(_ENFORCE, "")
        if level != "restricted":
            evidence = f"it enforces {level}" if level else "no label enforces a level"
            yield Finding(check, title, Status.PASS, (evidence,))
            continue
        evidence = (
            "it enforces restricted, which requires a securityContext; the Feast operator sets none for containers"
        )
        remedy = "Ask an administrator to enforce the level baseline in this namespace."
        command = f"kubectl label --overwrite namespace {name} {_ENFORCE}=baseline"
        yield Finding(check, title, Status.FAIL, (evidence,), remedy, command)


def check_limits(scope: PreflightScope) -> Iterator[Finding]:
    """Yield for each namespace whether every container sets the requests and limits that its quotas count."""
    for namespace in scope.namespaces:
        counted = {
            key
            for quota in scope.kubectl.listed("resourcequotas", namespace)
            for key in (quota.mapping("status", "hard") or quota.mapping("spec", "hard"))
            if key in _COUNTED
        }
        if not counted:
            continue
        check, title = f"limits-{namespace}", f"Containers set what the quotas of namespace {namespace} count"
        ranges = scope.kubectl.listed("limitranges", namespace)
        stores = [store for store in scope.plan.stores if store.namespace == namespace]
        lines = tuple(line for store in stores for line in _unset(store, counted, ranges))
        if not lines:
            yield Finding(check, title, Status.PASS, (f"quotas count: {', '.join(sorted(counted))}",))
            continue
        remedy = (
            "The cluster refuses pods without them: set resources of the servers in the spec and build again, "
            "or ask for a LimitRange with defaults in this namespace."
        )
        command = f"kubectl --namespace={namespace} get resourcequotas,limitranges -o yaml"
        yield Finding(check, title, Status.FAIL, lines, remedy, command)


def check_metrics(scope: PreflightScope) -> Iterator[Finding]:
    """Yield whether the cluster serves the metrics that autoscalers of feature stores read."""
    title = "Autoscalers can read metrics"
    scaled = [store.name for store in scope.plan.stores if store.mapping("spec", "services", "scaling", "autoscaling")]
    if not scaled:
        return
    service = scope.kubectl.get("apiservices.apiregistration.k8s.io", _METRICS)
    available = service.conditions.get("Available") if service else None
    if available and available.is_true:
        yield Finding("metrics", title, Status.PASS, (f"{_METRICS} is available",))
        return
    seen = (
        f"APIService {_METRICS} is not there"
        if service is None
        else f"APIService {_METRICS}: {available or 'no state'}"
    )
    evidence = (seen, f"autoscaled: {', '.join(scaled)}")
    remedy = "Ask an administrator to install metrics-server, or set a fixed number of replicas in the spec."
    yield Finding("metrics", title, Status.FAIL, evidence, remedy, f"kubectl get apiservice {_METRICS}")


def _unset(store: KubeObject, counted: set[str], ranges: tuple[KubeObject, ...]) -> Iterator[str]:
    rows = [
        row for limit_range in ranges for row in limit_range.rows("spec", "limits") if row.text("type") == "Container"
    ]
    for path in _CONTAINERS:
        container = store.inner("spec", *path)
        if not container.content:
            continue
        # A default of a LimitRange counts as set; "default" is that of limits.
        given = {(kind, key) for kind in ("limits", "requests") for key in container.mapping("resources", kind)}
        given |= {("limits", key) for row in rows for key in row.mapping("default")}
        given |= {("requests", key) for row in rows for key in row.mapping("defaultRequest")}
        if unset := sorted(key for key in counted if not given.intersection(_COUNTED[key])):
            yield f"{store.name}: {'.'.join(path)} does not set {', '.join(unset)}"

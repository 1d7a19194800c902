"""Topologies of Feast's production guide as presets, and the FeatureStores that a spec asks for.

A preset is what stands in the spec where the spec is silent, key by key; docs/topologies.md shows them to people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from pydantic import ValidationError

from bundler.errors import SpecError
from bundler.feast.stores.feature_store_yaml import FeatureStoreConfig
from bundler.model.deployment_spec import Deployment
from bundler.model.spec import BundleSpec, FeatureRepoSpec, TenantSpec

# A document of the spec, as written: pydantic checks it after it is merged.
_Written = dict[str, Any]

_RESOURCES: Final[_Written] = {
    "requests": {"cpu": "500m", "memory": "1Gi"},
    "limits": {"cpu": "2", "memory": "2Gi"},
}
_CRON_JOB: Final[_Written] = {"startingDeadlineSeconds": 300, "backoffLimit": 2, "failedJobsHistoryLimit": 3}
_STANDARD: Final[_Written] = {
    "resources": _RESOURCES,
    "scaling": {"autoscaling": {"minReplicas": 2, "maxReplicas": 10, "cpuUtilization": 70}},
    "disruptionBudget": {"minAvailable": 1},
    "tls": {},
    "cronJob": _CRON_JOB,
}
_ENTERPRISE: Final[_Written] = {
    **_STANDARD,
    "scaling": {"autoscaling": {"minReplicas": 3, "maxReplicas": 20, "cpuUtilization": 65}},
    "disruptionBudget": {"minAvailable": 2},
    "auth": {"type": "kubernetes"},
    "networkPolicies": {},
}
PRESETS: Final[Mapping[str, _Written]] = {
    "minimal": {},
    "standard": _STANDARD,
    "enterprise-isolated": _ENTERPRISE,
    "enterprise-shared": _ENTERPRISE,
}
# What the deployment with the shared registry has besides: the one UI, and no features of its own to load.
_SHARED_REGISTRY: Final[_Written] = {"servers": {"ui": {}}, "cronJob": {"suspend": True, "materialize": False}}
# Alternatives: where the spec takes another one than the preset, the preset's is not merged into it.
_ALTERNATIVES: Final = frozenset({"scaling", "disruptionBudget"})


class FeatureStoreRole(Enum):
    """What a FeatureStore is among those of its bundle."""

    ALONE = "alone"
    TENANT = "tenant"
    SHARED_REGISTRY = "shared registry"
    REGISTRY_CLIENT = "client of the shared registry"


@dataclass(frozen=True)
class FeatureStorePlan:
    """One FeatureStore of a bundle: its settings, presets filled in; ``repo`` where it has an image of its own."""

    role: FeatureStoreRole
    deployment: Deployment
    project: str | None = None
    repo: FeatureRepoSpec | None = None


def members(spec: BundleSpec) -> tuple[FeatureStorePlan, ...]:
    """Return every FeatureStore that a spec asks for, a shared registry first.

    Raises:
        SpecError: the settings of one contradict each other, or two have one name.
    """
    written = _written(spec.deployment)
    topology = spec.deployment.topology
    if not spec.tenants:
        if topology == "enterprise-shared":
            raise SpecError(
                "deployment.topology: enterprise-shared is for tenants, and there are none.",
                remedy="Name them under tenants:, or use enterprise-isolated.",
            )
        return (FeatureStorePlan(FeatureStoreRole.ALONE, _resolved(written, PRESETS[topology], "deployment")),)
    _refuse_namesakes(spec)
    if topology != "enterprise-shared":
        return tuple(_tenant(tenant, written, PRESETS[topology], FeatureStoreRole.TENANT) for tenant in spec.tenants)
    registry = _resolved(written, _merged(PRESETS[topology], _SHARED_REGISTRY), "deployment")
    # The shared UI and the shared registry are the deployment's own; their settings are not the tenants'.
    servers = {name: server for name, server in written.get("servers", {}).items() if name not in ("ui", "registry")}
    template = {**written, "servers": servers}
    clients = (
        _tenant(tenant, template, PRESETS[topology], FeatureStoreRole.REGISTRY_CLIENT) for tenant in spec.tenants
    )
    return (FeatureStorePlan(FeatureStoreRole.SHARED_REGISTRY, registry), *clients)


def servers(deployment: Deployment, config: FeatureStoreConfig) -> frozenset[str]:
    """Return which servers run: of registry, online, offline and ui."""
    wanted = deployment.servers
    configured = {"registry": wanted.registry, "offline": wanted.offline, "ui": wanted.ui}
    if config.registry_type == "remote":
        configured["registry"] = None
    return frozenset({"online", *(name for name, server in configured.items() if server is not None)})


def _written(deployment: Deployment) -> _Written:
    """Return what was written in the spec, without what is default."""
    return deployment.model_dump(exclude_unset=True, by_alias=True)


def _tenant(tenant: TenantSpec, template: _Written, preset: _Written, role: FeatureStoreRole) -> FeatureStorePlan:
    own = _written(tenant)
    if "topology" in own:
        raise SpecError(
            f"tenants: {tenant.name}: topology: all FeatureStores of a bundle have that of the deployment.",
            remedy="Write it under deployment:, and here the parts of the preset that are to differ.",
        )
    if "kubectl" in (own.get("cronJob") or {}):
        raise SpecError(
            f"tenants: {tenant.name}: cronJob.kubectl: all CronJobs of a bundle use one image.",
            remedy="Write it under deployment.cronJob.",
        )
    project, repo = own.pop("project", None), tenant.repo
    own.pop("repo", None)
    # Names of the deployment's own Secrets are derived for each tenant, unless the tenant says them.
    inherited = {key: value for key, value in template.items() if key not in ("name", "namespace")}
    written = _merged(inherited, {"namespace": tenant.name, **own})
    return FeatureStorePlan(role, _resolved(written, preset, f"tenants: {tenant.name}"), project, repo)


def _resolved(written: _Written, preset: _Written, place: str) -> Deployment:
    try:
        return Deployment.model_validate(_merged(preset, written))
    except ValidationError as error:
        problems = tuple(
            f"{'.'.join(str(key) for key in row['loc'])}: {row['msg'].removeprefix('Value error, ')}"
            for row in error.errors()
        )
        raise SpecError(
            f"{place}: what is written contradicts the preset of its topology.",
            remedy="Write null where a part of the preset is not wanted.",
            details=problems,
        ) from error


def _merged(below: _Written, above: _Written) -> _Written:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if (
            isinstance(value, dict)
            and isinstance(under, dict)
            and not (key in _ALTERNATIVES and not value.keys() & under)
        ):
            merged[key] = _merged(under, value)
        else:
            merged[key] = value
    return merged


def _refuse_namesakes(spec: BundleSpec) -> None:
    names = [tenant.name for tenant in spec.tenants]
    if spec.deployment.topology == "enterprise-shared":
        names.append(spec.deployment.name)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        # Also in different namespaces: the operator makes a ClusterRoleBinding that has only the name in its own.
        raise SpecError(
            f"tenants: the name {', '.join(twice)} occurs twice.", remedy="Give every FeatureStore its own."
        )

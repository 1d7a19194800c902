"""The FeatureStores of a bundle with everything that decides them: settings, feature_store.yaml, images, operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import yaml

from bundler.errors import SpecError
from bundler.feast.deployment.tenant import DeploymentImages, SharedRegistry, Tenant
from bundler.feast.deployment.topology import FeatureStorePlan, FeatureStoreRole, members
from bundler.feast.operator.capabilities import Capabilities
from bundler.feast.operator.names import Names
from bundler.feast.stores import feature_store_yaml as feature_store
from bundler.feast.stores.feature_store_yaml import FILE_NAME, FeatureStoreConfig
from bundler.model.descriptor import Json
from bundler.model.spec import BundleSpec


@dataclass(frozen=True)
class Baked:
    """What is in an image: the feature_store.yaml of its repo, and the references that pods use."""

    config: FeatureStoreConfig
    images: DeploymentImages


def tenants(
    spec: BundleSpec, baked: Baked, capabilities: Capabilities, own: Mapping[str, Baked] | None = None
) -> tuple[Tenant, ...]:
    """Return every FeatureStore of a bundle, a shared registry first.

    ``baked`` is the bundle's own repo and image, ``own`` those of the tenants that have one, by their name.

    Raises:
        SpecError: settings contradict each other, or a tenant that shares the image needs a file of its own.
    """
    plans = members(spec)
    registry = _shared_registry(plans)
    return tuple(
        replace(
            _tenant(plan, (own or {}).get(plan.deployment.name), baked, capabilities, registry),
            feast_version=spec.feast.version,
        )
        for plan in plans
    )


def _shared_registry(plans: tuple[FeatureStorePlan, ...]) -> SharedRegistry | None:
    shared = next((plan.deployment for plan in plans if plan.role is FeatureStoreRole.SHARED_REGISTRY), None)
    if shared is None:
        return None
    clients = tuple(
        dict.fromkeys(plan.deployment.namespace for plan in plans if plan.role is FeatureStoreRole.REGISTRY_CLIENT)
    )
    return SharedRegistry(Names(shared.name, shared.namespace), clients, shared.tls, shared.openshift)


def _tenant(
    member: FeatureStorePlan,
    own: Baked | None,
    baked: Baked,
    capabilities: Capabilities,
    registry: SharedRegistry | None,
) -> Tenant:
    if member.repo is not None and own is None:
        raise SpecError(
            f"tenants: {member.deployment.name}: has a repo of its own, which was not built.",
            remedy="Please report this.",
        )
    source = own or baked
    tenant = Tenant(member.deployment, source.config, source.images, capabilities, member.role, registry)
    return tenant if own else replace(tenant, config=_shared_config(tenant, member))


def _shared_config(tenant: Tenant, member: FeatureStorePlan) -> FeatureStoreConfig:
    """Return the feature_store.yaml of a tenant that shares the image: the baked one but for project and registry."""
    document = tenant.config.document
    changed = dict(document)
    if member.project is not None:
        changed["project"] = member.project
    shared = tenant.registry
    if shared is not None and member.role is FeatureStoreRole.REGISTRY_CLIENT:
        authority = tenant.registry_authority
        certificate: dict[str, Json] = {"cert": authority.path} if authority else {}
        changed["registry"] = {"registry_type": "remote", "path": shared.address, **certificate}
    if changed == document:
        return tenant.config
    if tenant.deployment.wiring == "baked":
        different = " and ".join(key for key in ("project", "registry") if changed.get(key) != document.get(key))
        raise SpecError(
            f"tenants: {member.deployment.name}: shares the image but not its {FILE_NAME}: {different} would differ.",
            remedy="Use the wiring mounted or operator, or give the tenant a repo of its own.",
        )
    derived = feature_store.parse(yaml.safe_dump(changed, sort_keys=False, allow_unicode=True), tenant.config.file)
    return replace(derived, source=tenant.config.source)

"""Combinations of network settings that would leave a feature store unreachable, or without its stores."""

from __future__ import annotations

from collections.abc import Iterator

from bundler.feast.deployment.persistence import Stores
from bundler.feast.deployment.tenant import Tenant


def problems(tenant: Tenant, stores: Stores) -> Iterator[str]:
    """Yield each reason why the network that is asked for cannot work."""
    yield from _of_ingress(tenant)
    yield from _of_policies(tenant, stores)


def _of_ingress(tenant: Tenant) -> Iterator[str]:
    deployment = tenant.deployment
    ingress, registry = deployment.ingress, deployment.servers.registry
    # A preset fills in what the spec leaves out, so a null that is there was written.
    if deployment.topology == "standard" and ingress is None and "ingress" not in deployment.model_fields_set:
        yield (
            "deployment.ingress: the standard topology is reached from outside. Give hosts: {online: HOST}, or "
            "ingress: null where it is not."
        )
    if ingress is None:
        return
    for name in ingress.hosts:
        if name.partition("-")[0] not in tenant.servers:
            yield f"deployment.ingress.hosts.{name}: there is no such server. Add it to servers, or leave it out."
    hosts = list(ingress.hosts.values())
    for host in sorted({host_name for host_name in hosts if hosts.count(host_name) > 1}):
        yield f"deployment.ingress.hosts: {host} is named for two servers, and leads to one. Give each its own."
    if "registry-rest" in ingress.hosts and registry and not registry.rest_api:
        yield "deployment.ingress.hosts.registry-rest: needs servers: {registry: {restAPI: true}}."
    if deployment.openshift and "ui" in ingress.hosts:
        yield "deployment.ingress.hosts.ui: on OpenShift the operator makes this Route itself. Leave it out."


def _of_policies(tenant: Tenant, stores: Stores) -> Iterator[str]:
    deployment = tenant.deployment
    policies = deployment.network_policies
    if policies is None:
        return
    all_stores = (stores.online, stores.offline, stores.registry)
    if not policies.stores and any(store and store.secret for store in all_stores):
        yield (
            "deployment.networkPolicies.stores: nothing is named, so no store could be reached. Name them, e.g. "
            "[{namespace: databases, ports: [5432, 6379]}]."
        )
    if deployment.ingress and not policies.clients and not deployment.openshift:
        yield (
            "deployment.networkPolicies.clients: name the namespace of the ingress controller, or nobody outside can "
            "reach what deployment.ingress offers."
        )

"""What a FeatureStore may reach and who may reach it: NetworkPolicies, Ingress, Routes, ServiceMonitor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bundler.feast.deployment.servers import METRICS_PORT, PORTS, open_ports
from bundler.feast.deployment.tenant import Tenant
from bundler.feast.deployment.topology import FeatureStoreRole
from bundler.model.descriptor import Json
from bundler.model.server_spec import StorePeer

# Every namespace has its own name as this label, from Kubernetes 1.22 on.
_NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"
_DNS_PORTS: Final = (53, 5353)  # 5353 is where OpenShift's DNS pods listen
_NODE_LOCAL_DNS: Final = "169.254.0.0/16"  # a cache on every node has no pod that could be selected
_OPENSHIFT_ROUTER: Final = "openshift-ingress"
_ANYONE: Final[dict[str, Json]] = {}


def network_policies(tenant: Tenant) -> list[dict[str, Json]]:
    """Return policies that deny what is not named; none where none are asked for.

    The first denies everything to every pod of the namespace, so the CronJob's pods are covered on every release, and
    whatever else runs there; the others allow what Feast needs.
    """
    if tenant.deployment.network_policies is None:
        return []
    return [
        _policy(tenant, "deny-all", _ANYONE, types=("Ingress", "Egress")),
        _policy(tenant, "clients", _servers(tenant), ingress=[_from_clients(tenant)]),
        _policy(tenant, "dns", _ANYONE, egress=[_dns()]),
        _policy(tenant, "api", _ANYONE, egress=[_api(tenant)]),
        *_stores(tenant),
        *_shared_registry(tenant),
    ]


def _policy(
    tenant: Tenant,
    name: str,
    pods: dict[str, Json],
    *,
    ingress: list[Json] | None = None,
    egress: list[Json] | None = None,
    types: tuple[str, ...] = (),
) -> dict[str, Json]:
    spec: dict[str, Json] = {"podSelector": pods}
    directions = types or tuple(kind for kind, rules in (("Ingress", ingress), ("Egress", egress)) if rules is not None)
    spec["policyTypes"] = list(directions)
    if ingress is not None:
        spec["ingress"] = ingress
    if egress is not None:
        spec["egress"] = egress
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(tenant, f"{tenant.names.prefixed}-{name}"),
        "spec": spec,
    }


def _metadata(tenant: Tenant, name: str) -> dict[str, Json]:
    return {"name": name, "namespace": tenant.deployment.namespace}


def _servers(tenant: Tenant) -> dict[str, Json]:
    return {"matchLabels": {"feast.dev/name": tenant.deployment.name}}


def _namespace(name: str) -> dict[str, Json]:
    return {"namespaceSelector": {"matchLabels": {_NAMESPACE_LABEL: name}}}


def _ports(*numbers: int, protocol: str = "TCP") -> list[Json]:
    return [{"protocol": protocol, "port": number} for number in numbers]


def _from_clients(tenant: Tenant) -> dict[str, Json]:
    policies = tenant.deployment.network_policies
    names = list(policies.clients) if policies else []
    if tenant.deployment.openshift:
        names.append(_OPENSHIFT_ROUTER)
    peers: list[Json] = [{"podSelector": {}}, *(_namespace(name) for name in dict.fromkeys(names))]
    return {"from": peers, "ports": _ports(*open_ports(tenant))}


def _dns() -> dict[str, Json]:
    return {
        "to": [{"namespaceSelector": {}}, {"ipBlock": {"cidr": _NODE_LOCAL_DNS}}],
        "ports": [*_ports(*_DNS_PORTS, protocol="UDP"), *_ports(*_DNS_PORTS)],
    }


def _api(tenant: Tenant) -> dict[str, Json]:
    policies = tenant.deployment.network_policies
    peers: list[Json] = [{"ipBlock": {"cidr": cidr}} for cidr in (policies.api_server if policies else ())]
    return {"to": peers, "ports": _ports(*(policies.api_ports if policies else ()))}


def _stores(tenant: Tenant) -> Iterator[dict[str, Json]]:
    policies = tenant.deployment.network_policies
    if policies and policies.stores:
        yield _policy(tenant, "stores", _servers(tenant), egress=[_store(peer) for peer in policies.stores])


def _store(peer: StorePeer) -> dict[str, Json]:
    to: list[Json] = []
    if peer.cidr:
        to.append({"ipBlock": {"cidr": peer.cidr}})
    if peer.namespace:
        to.append(_namespace(peer.namespace))
    return {**({"to": to} if to else {}), "ports": _ports(*peer.ports)}


def _shared_registry(tenant: Tenant) -> Iterator[dict[str, Json]]:
    """Yield the allow-list between a shared registry and the tenants that use it."""
    shared = tenant.registry
    if shared is None:
        return
    # Rules are held against pods, behind the Service: its ports play no part.
    port = _ports(PORTS["registry"].chosen(tls=shared.tls is not None))
    if tenant.role is FeatureStoreRole.SHARED_REGISTRY:
        peers: list[Json] = [_namespace(name) for name in shared.clients]
        yield _policy(tenant, "tenants", _servers(tenant), ingress=[{"from": peers, "ports": port}])
    elif tenant.role is FeatureStoreRole.REGISTRY_CLIENT:
        there: dict[str, Json] = {
            **_namespace(shared.names.namespace),
            "podSelector": {"matchLabels": {"feast.dev/name": shared.names.name}},
        }
        yield _policy(tenant, "registry", _servers(tenant), egress=[{"to": [there], "ports": port}])


def entrances(tenant: Tenant) -> list[dict[str, Json]]:
    """Return the Ingress, or on OpenShift the Routes, that lead to the servers from outside."""
    if tenant.deployment.ingress is None:
        return []
    if tenant.deployment.openshift:
        return [_route(tenant, server, host) for server, host in tenant.deployment.ingress.hosts.items()]
    return [_ingress(tenant)]


def _ingress(tenant: Tenant) -> dict[str, Json]:
    ingress = tenant.deployment.ingress
    if ingress is None:
        raise AssertionError("called where there is one")
    port = 443 if tenant.tls else 80
    rules: list[Json] = []
    for server, host in ingress.hosts.items():
        service: dict[str, Json] = {"name": tenant.names.service(server), "port": {"number": port}}
        path: dict[str, Json] = {"path": "/", "pathType": "Prefix", "backend": {"service": service}}
        rules.append({"host": host, "http": {"paths": [path]}})
    spec: dict[str, Json] = {"rules": rules}
    if ingress.class_name:
        spec["ingressClassName"] = ingress.class_name
    if ingress.tls_secret:
        spec["tls"] = [{"hosts": list(ingress.hosts.values()), "secretName": ingress.tls_secret}]
    metadata = _metadata(tenant, tenant.names.prefixed)
    if ingress.annotations:
        metadata["annotations"] = dict[str, Json](ingress.annotations)
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}


def _route(tenant: Tenant, server: str, host: str) -> dict[str, Json]:
    ingress = tenant.deployment.ingress
    metadata = _metadata(tenant, tenant.names.service(server))
    if ingress and ingress.annotations:
        metadata["annotations"] = dict[str, Json](ingress.annotations)
    return {
        "apiVersion": "route.openshift.io/v1",
        "kind": "Route",
        "metadata": metadata,
        "spec": {
            "host": host,
            "to": {"kind": "Service", "name": tenant.names.service(server)},
            "port": {"targetPort": "https" if tenant.tls else "http"},
            "tls": {
                "termination": "reencrypt" if tenant.tls else "edge",
                "insecureEdgeTerminationPolicy": "Redirect",
            },
        },
    }


def service_monitors(tenant: Tenant) -> list[dict[str, Json]]:
    """Return the ServiceMonitor of the online server's metrics, where the operator's release does not make it."""
    observability = tenant.deployment.observability
    if observability is None or not observability.service_monitor or tenant.capabilities.pod_annotations:
        return []
    metadata = _metadata(tenant, f"{tenant.names.service('online')}-metrics")
    if observability.labels:
        metadata["labels"] = dict[str, Json](observability.labels)
    return [
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "ServiceMonitor",
            "metadata": metadata,
            "spec": {"selector": _servers(tenant), "endpoints": [{"targetPort": METRICS_PORT, "path": "/metrics"}]},
        }
    ]

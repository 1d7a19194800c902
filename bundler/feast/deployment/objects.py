"""The Kubernetes objects beside a FeatureStore: namespaces, accounts, ConfigMaps, Secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bundler.feast.deployment.tenant import Tenant
from bundler.feast.stores.feature_store_yaml import FILE_NAME
from bundler.model.descriptor import Json


def namespace(name: str) -> dict[str, Json]:
    """Return a namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def service_accounts(tenant: Tenant) -> list[dict[str, Json]]:
    """Return the accounts that the operator's pods run under, with the pull secrets that its CR has no field for."""
    pull_secrets: list[Json] = [{"name": name} for name in tenant.deployment.image_pull_secrets]
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": account, "namespace": tenant.deployment.namespace},
            **({"imagePullSecrets": pull_secrets} if pull_secrets else {}),
        }
        for account in tenant.names.accounts(tenant.capabilities)
    ]


def secret(tenant: Tenant, name: str, texts: Mapping[str, str], kind: str = "Opaque") -> dict[str, Json]:
    """Return a Secret of texts."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": tenant.deployment.namespace},
        "type": kind,
        "stringData": dict[str, Json](texts),
    }


def config_maps(tenant: Tenant, batch_engine: str) -> list[dict[str, Json]]:
    """Return the ConfigMaps that the FeatureStore refers to; ``batch_engine`` is the text of that one."""
    maps: list[dict[str, Json]] = []
    if tenant.deployment.batch_engine:
        maps.append(_config_map(tenant, tenant.names.batch_engine, {"data": {"config": batch_engine}}))
    authority = tenant.registry_authority
    if authority and authority.injected:
        annotations: dict[str, Json] = {"service.beta.openshift.io/inject-cabundle": "true"}
        maps.append(_config_map(tenant, authority.config_map, {}, annotations))
    return maps


def _config_map(
    tenant: Tenant, name: str, content: dict[str, Json], annotations: dict[str, Json] | None = None
) -> dict[str, Json]:
    metadata: dict[str, Json] = {"name": name, "namespace": tenant.deployment.namespace}
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **content}


@dataclass(frozen=True)
class ToFillIn:
    """A Secret that only the site can complete: why, in words for the person who does, and what of it is known."""

    template: str
    value: dict[str, Json]
    facts: Mapping[str, object]

    @property
    def name(self) -> str:
        """The Secret's name."""
        metadata = self.value["metadata"]
        return str(metadata["name"]) if isinstance(metadata, dict) else ""


def to_fill_in(tenant: Tenant) -> Iterator[ToFillIn]:
    """Yield every Secret that a site fills in; none holds a value that is secret."""
    deployment = tenant.deployment
    if tenant.variables:
        texts = dict.fromkeys(tenant.variables, "")
        yield ToFillIn("credentials", secret(tenant, tenant.credentials_secret, texts), {})
    if deployment.wiring == "mounted":
        value = secret(tenant, tenant.names.feature_store_file, {FILE_NAME: tenant.config.text})
        yield ToFillIn("feature-store-file", value, {})
    tls = deployment.tls
    if tls and not (deployment.openshift and tls.secret is None):
        value = secret(tenant, tls.secret or tenant.names.tls, {"tls.crt": "", "tls.key": ""}, "kubernetes.io/tls")
        registry = deployment.servers.registry
        rest = {"registry-rest"} if registry and registry.rest_api and "registry" in tenant.servers else set[str]()
        hosts = tuple(tenant.names.host(server) for server in sorted(tenant.servers | rest))
        yield ToFillIn("tls", value, {"hosts": hosts})
    if deployment.auth and deployment.auth.oidc:
        keys = ["client_id", "client_secret"]
        if not deployment.auth.oidc.issuer_url:
            keys.append("auth_discovery_url")
        if not tenant.capabilities.oidc_issuer:
            keys += ["username", "password"]
        yield ToFillIn("oidc", secret(tenant, deployment.auth.oidc.secret, dict.fromkeys(sorted(keys), "")), {})

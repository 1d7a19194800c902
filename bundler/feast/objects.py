"""The Kubernetes objects beside a FeatureStore: namespace, accounts, Secrets."""

from __future__ import annotations

from bundler.feast.tenant import Tenant
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


def secret(tenant: Tenant, name: str, texts: dict[str, str]) -> dict[str, Json]:
    """Return a Secret of texts."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": tenant.deployment.namespace},
        "type": "Opaque",
        "stringData": dict[str, Json](texts),
    }


def credentials(tenant: Tenant) -> dict[str, Json]:
    """Return the Secret that a site fills in: one empty value for each variable of feature_store.yaml."""
    return secret(tenant, tenant.credentials_secret, dict.fromkeys(tenant.config.variables, ""))

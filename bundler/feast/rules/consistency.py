"""Whether the feature_store.yaml that the operator generates says what the one in the image says."""

from __future__ import annotations

from collections.abc import Mapping

from bundler.errors import SpecError
from bundler.feast.deployment.tenant import Tenant
from bundler.feast.operator import generated_config as operator_config
from bundler.model.descriptor import Json


def differences(tenant: Tenant, resource: Json, objects: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    """Return in what they differ, a line each.

    ``objects`` are the Secrets and ConfigMaps that the resource refers to: name -> key -> text. What the spec itself
    decides, authorization and batch engine, is not compared.
    """
    generated = operator_config.generate(resource, {**_filled_in(tenant), **objects}, tenant.capabilities)
    baked = tenant.config.document
    decided = {"auth"} if tenant.deployment.auth else set()
    decided |= {"batch_engine"} if tenant.deployment.batch_engine else set()
    return operator_config.differences(_without(baked, decided), _without(generated, decided))


def check(tenant: Tenant, resource: Json, objects: Mapping[str, Mapping[str, str]]) -> None:
    """Raise ``SpecError`` where the operator's file is authoritative and would silently mean something else."""
    unlike = differences(tenant, resource, objects) if tenant.deployment.wiring == "operator" else ()
    if unlike:
        raise SpecError(
            f"The operator cannot generate what {tenant.config.file} says, for {tenant.deployment.name}.",
            remedy="Use the wiring baked or mounted, or leave these settings out.",
            details=unlike,
        )


def _filled_in(tenant: Tenant) -> Mapping[str, Mapping[str, str]]:
    """Return the Secret of the identity provider as if a site had filled it in."""
    auth = tenant.deployment.auth
    if auth is None or auth.oidc is None:
        return {}
    keys = ("client_id", "auth_discovery_url", "client_secret", "username", "password")
    return {auth.oidc.secret: dict.fromkeys(keys, "")}


def _without(config: Mapping[str, Json], keys: set[str]) -> dict[str, Json]:
    return {key: value for key, value in config.items() if key not in keys}

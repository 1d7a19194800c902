"""Kubernetes manifests of a bundle: spec, feature store and image references become YAML text that explains itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import jinja2

from bundler import resources
from bundler.errors import BundlerError, SpecError
from bundler.feast import featurestore, objects
from bundler.feast.capabilities import Capabilities
from bundler.feast.feature_store import FILE_NAME, FeatureStoreConfig, literal_credentials
from bundler.feast.names import Names
from bundler.feast.stores import StoreSecretKey, stores
from bundler.feast.tenant import DeploymentImages, Tenant
from bundler.feast.wiring import wire
from bundler.model import layout
from bundler.model.descriptor import Json
from bundler.model.spec import BundleSpec
from bundler.render import yaml_text

__all__ = ["DeploymentImages", "credentials_secret", "render", "service_accounts"]

_KUSTOMIZATION: Final[dict[str, Json]] = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}


def credentials_secret(spec: BundleSpec) -> str:
    """Return the name of the one Secret that a site fills in."""
    return spec.deployment.credentials_secret or f"{spec.deployment.name}-credentials"


def service_accounts(spec: BundleSpec, capabilities: Capabilities) -> tuple[str, ...]:
    """Return the accounts that the operator's pods of this FeatureStore run under."""
    return Names(spec.deployment.name, spec.deployment.namespace).accounts(capabilities)


def render(
    spec: BundleSpec,
    config: FeatureStoreConfig,
    images: DeploymentImages,
    capabilities: Capabilities,
    operator_manifest: str | None = None,
) -> Mapping[str, str]:
    """Return path below ``manifests/`` -> YAML text, in the order in which the objects are applied.

    ``operator_manifest`` is the release's install manifest, its images already relocated.

    Raises:
        SpecError: feature_store.yaml holds a credential, or something that the operator cannot be told of.
    """
    if places := literal_credentials(config):
        raise SpecError(
            f"{FILE_NAME} holds a credential at {', '.join(places)}; it would be baked into the image.",
            remedy="Replace it with a ${VARIABLE}, which a Secret fills in on the cluster.",
        )
    tenant = Tenant(spec.deployment, config, images, capabilities)
    return {
        **_operator(operator_manifest, spec.deployment.image_pull_secrets),
        **_to_fill_in(tenant),
        **_applied(tenant),
    }


def _applied(tenant: Tenant) -> dict[str, str]:
    """Render what the kustomization holds, and the kustomization."""
    found = stores(tenant)
    files = {
        "namespace.yaml": _document("namespace", objects.namespace(tenant.deployment.namespace)),
        "serviceaccounts.yaml": _documents("serviceaccounts", objects.service_accounts(tenant)),
    }
    if found.secrets:
        secrets = [_store_secret(tenant, name, keys) for name, keys in found.secrets.items()]
        files["store-secrets.yaml"] = _documents("store-secrets", secrets)
    resource = featurestore.feature_store(tenant, found, wire(tenant))
    files["featurestore.yaml"] = _document("featurestore", resource)
    kustomization: dict[str, Json] = {**_KUSTOMIZATION, "resources": list[Json](files)}
    return {**files, "kustomization.yaml": _document("kustomization", kustomization)}


def _store_secret(tenant: Tenant, name: str, keys: Sequence[StoreSecretKey]) -> dict[str, Json]:
    return objects.secret(tenant, name, {key.key: yaml_text.dump(dict(key.parameters)) for key in keys})


def _to_fill_in(tenant: Tenant) -> dict[str, str]:
    if not tenant.config.variables:
        return {}
    path = f"secrets/{tenant.credentials_secret}.yaml"
    return {path: _document("credentials", objects.credentials(tenant), file=layout.manifest(path))}


def _operator(manifest: str | None, pull_secrets: Sequence[str]) -> dict[str, str]:
    if manifest is None:
        return {}
    kustomization: dict[str, Json] = {**_KUSTOMIZATION, "resources": ["install.yaml"]}
    if pull_secrets:
        added: list[Json] = [{"name": name} for name in pull_secrets]
        patch: list[Json] = [{"op": "add", "path": "/imagePullSecrets", "value": added}]
        target: dict[str, Json] = {"version": "v1", "kind": "ServiceAccount"}
        kustomization["patches"] = [{"target": target, "patch": yaml_text.dump(patch)}]
    return {
        "operator/install.yaml": manifest,
        "operator/kustomization.yaml": _document(
            "operator-kustomization", kustomization, folder=layout.manifest("operator")
        ),
    }


def _document(template: str, value: dict[str, Json], **facts: str) -> str:
    text = _environment().get_template(f"{template}.yaml.j2").render(object=value, **facts)
    return _checked(template, text, [value])


def _documents(template: str, values: Sequence[dict[str, Json]], **facts: str) -> str:
    text = _environment().get_template(f"{template}.yaml.j2").render(objects=values, **facts)
    return _checked(template, text, list(values))


def _checked(template: str, text: str, values: list[dict[str, Json]]) -> str:
    """Return the text where it reads back as the values; a template that loses or changes anything is a bug of ours."""
    if list(yaml_text.documents(text, template)) != values:
        raise BundlerError(f"The template {template} does not write what it was given.", remedy="Please report this.")
    return text


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(  # noqa: S701  (YAML, not HTML: the filters write scalars and blocks)
        loader=jinja2.FileSystemLoader(resources.folder("manifests")),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "yaml": lambda value: yaml_text.dump(value).rstrip("\n"),
        "scalar": yaml_text.scalar,
        "block": yaml_text.block,
        "comment": yaml_text.comment,
    }
    return environment

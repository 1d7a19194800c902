"""Kubernetes manifests of a bundle: spec, feature store and image references become YAML text with comments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from bundler.errors import SpecError, SpecProblems
from bundler.feast.deployment import network, objects
from bundler.feast.deployment import resource as featurestore
from bundler.feast.deployment.persistence import StoreSecretKey, stores
from bundler.feast.deployment.tenant import DeploymentImages, Tenant
from bundler.feast.deployment.tenants import Baked, tenants
from bundler.feast.deployment.wiring import wire
from bundler.feast.operator.capabilities import Capabilities
from bundler.feast.operator.names import Names
from bundler.feast.rules import consistency, refusals
from bundler.feast.stores.feature_store_yaml import FeatureStoreConfig, refuse_credentials
from bundler.kube import yaml_text
from bundler.kube.manifest_file import ManifestFile
from bundler.model import layout
from bundler.model.descriptor import Json
from bundler.model.spec import BundleSpec, Subscription
from bundler.render import comments, templates

__all__ = ["Baked", "DeploymentImages", "credentials_secret", "render", "service_accounts"]

_KUSTOMIZATION: Final[dict[str, Json]] = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
_NAMESPACES: Final = "namespace.yaml"


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
    *,
    own: Mapping[str, Baked] | None = None,
) -> Mapping[str, ManifestFile]:
    """Return path below ``manifests/`` -> file, in the order in which the objects are applied.

    ``operator_manifest`` is the release's install manifest, its images already relocated. ``own`` is what was baked of
    the repos of tenants that have one, by the tenant's name.

    A bundle of one FeatureStore has its files at the top, a bundle of several in a folder for each.

    Raises:
        SpecError: feature_store.yaml holds a credential, or the deployment cannot work.
    """
    planned = tenants(spec, Baked(config, images), capabilities, own)
    for tenant in planned:
        refuse_credentials(tenant.config)
    applied_of, problems = {}, SpecProblems()
    for tenant in planned:
        with problems.noted():
            applied_of[tenant.deployment.name] = _applied(
                tenant, "" if len(planned) == 1 else f"{tenant.deployment.name}/"
            )
    problems.refuse()
    namespaces = tuple(dict.fromkeys(tenant.deployment.namespace for tenant in planned))
    to_fill_in = {tenant.deployment.name: _to_fill_in(tenant, alone=len(planned) == 1) for tenant in planned}
    files = {
        **_operator(operator_manifest, spec.deployment.image_pull_secrets),
        **_subscription(spec.operator.subscription, images),
        **_by_path(file for filled in to_fill_in.values() for file in filled.values()),
        **_by_path([templates.documents("namespace", _NAMESPACES, [objects.namespace(name) for name in namespaces])]),
    }
    _refuse_shared_hosts(planned)
    if len(planned) == 1:
        applied = applied_of[spec.deployment.name]
        _refuse_duplicates({spec.deployment.name: {**applied, **to_fill_in[planned[0].deployment.name]}})
        listed = [_NAMESPACES, *applied]
    else:
        _refuse_duplicates({name: {**applied, **to_fill_in[name]} for name, applied in applied_of.items()})
        applied = _by_path(
            file
            for folder, own_files in applied_of.items()
            for file in (*own_files.values(), _kustomization(own_files, f"{folder}/"))
        )
        listed = [_NAMESPACES, *applied_of]
    return {**files, **applied, **_by_path([_kustomization(listed)])}


def _by_path(files: Iterable[ManifestFile]) -> dict[str, ManifestFile]:
    return {file.path: file for file in files}


def _refuse_duplicates(folders: Mapping[str, Mapping[str, ManifestFile]]) -> None:
    """Raise ``SpecError`` where two objects of one namespace would have one name; ``folders`` are FeatureStores."""
    owners: dict[tuple[str, ...], tuple[str, str]] = {}
    for folder, files in folders.items():
        for path, file in files.items():
            for value in file.objects:
                identity = value.kind, value.name, f"in {value.namespace}"
                owner, where = owners.setdefault(identity, (folder, path))
                if owner != folder:
                    raise SpecError(
                        f"tenants: {owner} and {folder} would both have the {' '.join(identity)}.",
                        remedy="Give them different names, or namespaces of their own.",
                    )
                if where != path:
                    raise SpecError(
                        f"{folder}: {where} and {path} would both have the {' '.join(identity)}.",
                        remedy="Give them different names.",
                    )


def _refuse_shared_hosts(planned: Sequence[Tenant]) -> None:
    """Raise ``SpecError`` where requests for one host would reach the servers of one of two FeatureStores."""
    owners: dict[str, str] = {}
    for tenant in planned:
        for host in tenant.deployment.ingress.hosts.values() if tenant.deployment.ingress else ():
            owner = owners.setdefault(host, tenant.deployment.name)
            if owner != tenant.deployment.name:
                raise SpecError(
                    f"ingress.hosts: {owner} and {tenant.deployment.name} would both have the host {host}.",
                    remedy="Give each tenant an ingress: of its own, or ingress: null.",
                )


def _applied(tenant: Tenant, folder: str = "") -> dict[str, ManifestFile]:
    """Render what the kustomization of one FeatureStore holds: name in its folder -> file."""
    tenant_stores = stores(tenant)
    refusals.check(tenant, tenant_stores)
    engine = tenant.deployment.batch_engine
    secrets = {name: _texts(keys) for name, keys in tenant_stores.secrets.items()}
    batch_engine = yaml_text.dump(dict[str, Json](engine.config)) if engine else ""
    several = {
        "serviceaccounts": objects.service_accounts(tenant),
        "configmaps": objects.config_maps(tenant, batch_engine),
        "store-secrets": [objects.secret(tenant, name, texts) for name, texts in secrets.items()],
        "networkpolicies": network.network_policies(tenant),
    }
    files = _rendered(several, folder)
    resource = featurestore.feature_store(tenant, tenant_stores, wire(tenant))
    consistency.check(tenant, resource, {**secrets, tenant.names.batch_engine: {"config": batch_engine}})
    facts = {"comments": comments.of_spec(tenant), "service_comments": comments.of_services(tenant)}
    files["featurestore.yaml"] = templates.document("featurestore", f"{folder}featurestore.yaml", resource, facts)
    after = {"entrances": network.entrances(tenant), "servicemonitor": network.service_monitors(tenant)}
    return {**files, **_rendered(after, folder)}


def _rendered(several: Mapping[str, Sequence[dict[str, Json]]], folder: str) -> dict[str, ManifestFile]:
    """Render each template that has objects: name in its folder -> file."""
    return {
        f"{name}.yaml": templates.documents(name, f"{folder}{name}.yaml", values)
        for name, values in several.items()
        if values
    }


def _texts(keys: Sequence[StoreSecretKey]) -> Mapping[str, str]:
    return {key.key: yaml_text.dump(dict(key.parameters)) for key in keys}


def _to_fill_in(tenant: Tenant, *, alone: bool) -> dict[str, ManifestFile]:
    files: dict[str, ManifestFile] = {}
    for secret in objects.to_fill_in(tenant):
        path = f"secrets/{secret.name}.yaml" if alone else f"secrets/{tenant.deployment.name}/{secret.name}.yaml"
        if path in files:
            raise SpecError(
                f"{tenant.deployment.name}: two Secrets that the site fills in are both called {secret.name}.",
                remedy="Give them different names.",
            )
        facts = {"file": layout.manifest(path), "deployment": tenant.names.prefixed, **secret.facts}
        files[path] = templates.document(secret.template, path, secret.value, facts)
    return files


def _kustomization(listed: Iterable[str], folder: str = "") -> ManifestFile:
    path = f"{folder}kustomization.yaml"
    return templates.document("kustomization", path, {**_KUSTOMIZATION, "resources": list[Json](listed)})


def _operator(manifest: str | None, pull_secrets: Sequence[str]) -> dict[str, ManifestFile]:
    if manifest is None:
        return {}
    kustomization: dict[str, Json] = {**_KUSTOMIZATION, "resources": ["install.yaml"]}
    if pull_secrets:
        added: list[Json] = [{"name": name} for name in pull_secrets]
        patch: list[Json] = [{"op": "add", "path": "/imagePullSecrets", "value": added}]
        target: dict[str, Json] = {"version": "v1", "kind": "ServiceAccount"}
        kustomization["patches"] = [{"target": target, "patch": yaml_text.dump(patch)}]
    facts = {"folder": layout.manifest("operator")}
    path = "operator/kustomization.yaml"
    listed = templates.document("operator-kustomization", path, kustomization, facts)
    return _by_path([ManifestFile("operator/install.yaml", manifest), listed])


def _subscription(subscription: Subscription | None, images: DeploymentImages) -> dict[str, ManifestFile]:
    """Render what makes an operator that OLM installed use the bundle's images where a FeatureStore names none."""
    if subscription is None:
        return {}
    defaults = {"RELATED_IMAGE_FEATURE_SERVER": images.feature_server, "RELATED_IMAGE_CRON_JOB": images.kubectl}
    patch: dict[str, Json] = {
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "Subscription",
        "metadata": {"name": subscription.name, "namespace": subscription.namespace},
        "spec": {"config": {"env": [{"name": name, "value": image} for name, image in defaults.items()]}},
    }
    path = "operator/subscription-patch.yaml"
    facts = {"file": layout.manifest(path), "name": subscription.name, "namespace": subscription.namespace}
    return _by_path([templates.document("subscription-patch", path, patch, facts)])

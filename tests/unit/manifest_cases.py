"""Specs, feature stores and images that tests of manifests render, and the golden files of what they become.

``python -m tests.unit.manifest_cases`` writes the golden files anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from bundler.feast.operator.capabilities import Capabilities
from bundler.feast.stores import feature_store_yaml as feature_store
from bundler.feast.stores.feature_store_yaml import FeatureStoreConfig
from bundler.kube.manifest_file import ManifestFile
from bundler.model.spec import BundleSpec
from bundler.render import manifests
from bundler.render.manifests import Baked

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
# The head of the operator's repository is what 0.67 will have.
VERSIONS = {"0.61.0": "0.61.0", "0.66.0": "0.66.0", "head": "0.67.0"}

FEATURE_STORE = """\
project: driver_stats
provider: local
registry:
  registry_type: sql
  path: postgresql+psycopg://${DB_USER}:${DB_PASSWORD}@postgres.stores:5432/feast
  cache_ttl_seconds: 60
online_store:
  type: redis
  connection_string: redis.stores:6379,password=${REDIS_PASSWORD}
offline_store:
  type: dask
entity_key_serialization_version: 3
"""
IMAGES = manifests.DeploymentImages(
    feature_server=f"registry.internal.example:5000/feast/driver-stats-feature-server@sha256:{'1' * 64}",
    kubectl=f"registry.internal.example:5000/feast/kubectl@sha256:{'2' * 64}",
    repo_folder="/opt/feast/feature_repo",
)


def spec(version: str = "0.61.0", **deployment: Any) -> BundleSpec:
    """Return a spec whose deployment has these keys, spelled as in bundle.yaml."""
    return BundleSpec.model_validate(
        {
            "name": "driver-stats",
            "version": "0.1.0",
            "feast": {"version": "0.61.0"},
            "base": {"debian": "bookworm"},
            "registry": {"host": "registry.internal.example:5000", "prefix": "feast"},
            "operator": {"version": version, "preinstalled": True},
            "deployment": {"name": "driver-stats", "imagePullSecrets": ["registry-credentials"], **deployment},
        }
    )


def config(text: str = FEATURE_STORE) -> FeatureStoreConfig:
    return feature_store.parse(text, "feature_store.yaml")


def render(version: str = "0.61.0", text: str = FEATURE_STORE, **deployment: Any) -> Mapping[str, str]:
    """Render the manifests of one FeatureStore for a release of the operator."""
    known = Capabilities.for_version(version)
    return texts(manifests.render(spec(version, **deployment), config(text), IMAGES, known))


def texts(files: Mapping[str, ManifestFile]) -> Mapping[str, str]:
    """Return path -> text."""
    return {path: file.text for path, file in files.items()}


def parsed(texts: Mapping[str, str]) -> Mapping[str, ManifestFile]:
    """Return path -> file of texts."""
    return {path: ManifestFile(path, text) for path, text in texts.items()}


# --- topologies -------------------------------------------------------------------------------------------------------

KUBERNETES_AUTH = FEATURE_STORE + "auth:\n  type: kubernetes\n"
STORES = {"stores": [{"namespace": "stores", "ports": [5432, 6379]}], "clients": ["ingress-nginx", "scoring"]}
INGRESS = {"hosts": {"online": "features.internal.example"}, "className": "nginx", "tlsSecret": "features-tls"}
TEAMS = ("team-a", "team-b")
SHARED_ADDRESS = "feast-driver-stats-registry.feast.svc.cluster.local:443"


def own_repo(team: str) -> Baked:
    """Return what is baked of a tenant's own repo, whose registry is the shared one."""
    document = yaml.safe_load(KUBERNETES_AUTH)
    document["project"] = team.replace("-", "_")
    document["registry"] = {"registry_type": "remote", "path": SHARED_ADDRESS, "cert": "/tls/registry/ca.crt"}
    reference = f"registry.internal.example:5000/feast/{team}-feature-server@sha256:{'4' * 64}"
    return Baked(config(yaml.safe_dump(document, sort_keys=False)), replace(IMAGES, feature_server=reference))


def topology(name: str, version: str, wiring: str, **more: Any) -> Mapping[str, str]:
    """Render a topology of Feast's production guide."""
    known = Capabilities.for_version(version)
    deployment: dict[str, Any] = {"topology": name, "wiring": wiring, **more}
    match name:
        case "standard":
            return render(version, **{"ingress": INGRESS, **deployment})
        case "enterprise-isolated":
            return render(version, KUBERNETES_AUTH, **{"networkPolicies": STORES, **deployment})
        case "enterprise-shared":
            asked = spec(version, **{"networkPolicies": STORES, "tls": {"caConfigMap": "registry-ca"}, **deployment})
            baked = wiring == "baked"
            own = {team: own_repo(team) for team in TEAMS} if baked else {}
            teams: list[dict[str, Any]] = [
                {"name": team, **({"repo": {"path": team}} if baked else {"project": team.replace("-", "_")})}
                for team in TEAMS
            ]
            rendered = manifests.render(with_tenants(asked, teams), config(KUBERNETES_AUTH), IMAGES, known, own=own)
            return texts(rendered)
    return render(version, **deployment)


def baked_text(case: str, folder: str) -> str:
    """Return the feature_store.yaml that a FeatureStore of a golden case shall read."""
    if folder in TEAMS:
        return own_repo(folder).config.text
    return KUBERNETES_AUTH if case.startswith("enterprise") else FEATURE_STORE


def with_tenants(asked: BundleSpec, teams: list[dict[str, Any]]) -> BundleSpec:
    """Return a spec with tenants."""
    return BundleSpec.model_validate({**asked.model_dump(by_alias=True, exclude_unset=True), "tenants": teams})


TOPOLOGIES = ("minimal", "standard", "enterprise-isolated", "enterprise-shared")
WIRINGS = ("baked", "mounted", "operator")


def cases() -> Iterator[tuple[Path, Mapping[str, str]]]:
    """Yield each golden file and the manifests that it holds."""
    for name in TOPOLOGIES:
        for wiring in WIRINGS:
            for folder, version in VERSIONS.items():
                yield GOLDEN / f"{name}-{wiring}" / f"{folder}.yaml", topology(name, version, wiring)


def joined(files: Mapping[str, str]) -> str:
    """Join manifests into one text for people to compare."""
    return "".join(f"# ==== {path}\n{text}" for path, text in files.items())


if __name__ == "__main__":
    for file, rendered in cases():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(joined(rendered), encoding="utf-8")

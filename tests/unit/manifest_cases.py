"""Specs, feature stores and images that tests of manifests render, and the golden files of what they become.

``python -m tests.unit.manifest_cases`` writes the golden files anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bundler.feast import feature_store
from bundler.feast.capabilities import Capabilities
from bundler.feast.feature_store import FeatureStoreConfig
from bundler.model.spec import BundleSpec
from bundler.render import manifests

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
    """Render a bundle's manifests for a release of the operator."""
    known = Capabilities.for_version(version)
    return manifests.render(spec(version, **deployment), config(text), IMAGES, known)


def cases() -> Iterator[tuple[Path, Mapping[str, str]]]:
    """Yield each golden file and the manifests that it holds."""
    for name, version in VERSIONS.items():
        yield GOLDEN / "minimal-baked" / f"{name}.yaml", render(version)


def joined(files: Mapping[str, str]) -> str:
    """Join manifests into one text for people to compare."""
    return "".join(f"# ==== {path}\n{text}" for path, text in files.items())


if __name__ == "__main__":
    for file, rendered in cases():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(joined(rendered), encoding="utf-8")

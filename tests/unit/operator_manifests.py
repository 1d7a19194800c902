"""The operator's real install manifests, which lie beside the checkout and are never part of it, and a small CRD."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import pytest

from bundler.feast.operator import crd

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "feast-operator"
RELEASES = ("0.61.0", "0.66.0", "head")


def real_manifest(release: str) -> Path:
    """Return the install manifest of a release; skip the test on a machine that has none, fail it in CI."""
    path = FOLDER / release / "install.yaml"
    if not path.is_file():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{path} is missing, and CI must have it")
        pytest.skip(f"the operator's manifest {path} is not on this machine")
    return path


@lru_cache
def _loaded(path: Path) -> crd.FeatureStoreCrd:
    return crd.load(path.read_text(encoding="utf-8"), str(path))


def real_crd(release: str) -> crd.FeatureStoreCrd:
    return _loaded(real_manifest(release))


def crd_text(field: str) -> str:
    """Return a CRD whose spec has one field."""
    return f"""\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: featurestores.feast.dev
spec:
  versions:
  - name: v1
    served: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              {field}:
                type: string
"""

"""What is wrong with the feature repos of a spec is told at once, that of every tenant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.errors import SpecError
from bundler.feast.deployment.tenant import DeploymentImages
from bundler.feast.deployment.tenants import Baked
from bundler.feast.operator.capabilities import Capabilities
from bundler.render import manifests
from bundler.steps.lock import project

SPEC = """\
name: demo
version: 1.0.0
repo: {path: main}
feast: {version: 0.63.0}
base: {debian: bookworm}
registry: {host: registry.internal.example}
operator: {version: 0.63.0, preinstalled: true}
deployment:
  name: demo
  topology: enterprise-isolated
  networkPolicies: {stores: [{namespace: stores, ports: [5432, 6379]}], clients: [scoring]}
  cronJob: {kubectl: {debian: bookworm}}
tenants: [{name: a, repo: {path: a}}, {name: b, repo: {path: b}}]
"""
STORE = """\
project: one
registry: {registry_type: sql, path: "postgresql+psycopg://u:${PASSWORD}@pg.stores/f"}
online_store: {type: redis, connection_string: "redis.stores:6379"}
offline_store: {type: dask}
auth: {type: kubernetes}
"""


def _load(folder: Path, change: Callable[[str], str]) -> project.Project:
    """Load a spec whose tenants have a changed feature_store.yaml, none where the change leaves nothing."""
    (folder / "bundle.yaml").write_text(SPEC)
    for name in ("main", "a", "b"):
        text = STORE if name == "main" else change(STORE)
        if text:
            (folder / name).mkdir()
            (folder / name / "feature_store.yaml").write_text(text)
    return project.load(folder / "bundle.yaml")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: "", "is not a folder"),
        (lambda text: text.replace("project: one", "project: [1]"), "is not a project name"),
        (lambda text: text.replace("${PASSWORD}", "hunter2hunter2"), "registry.path"),
    ],
    ids=["missing", "malformed", "a credential"],
)
def test_repos_that_cannot_be_used_are_all_named(tmp_path: Path, change: Callable[[str], str], said: str) -> None:
    with pytest.raises(SpecError, match="There are several problems") as caught:
        _load(tmp_path, change)
    for name in ("a", "b"):
        assert any(said in line and str(tmp_path / name) in line for line in caught.value.details)


def test_types_that_feast_does_not_know_are_all_named(tmp_path: Path) -> None:
    loaded = _load(tmp_path, lambda text: text.replace("type: redis", "type: rediss").replace("dask", "dusk"))
    with pytest.raises(SpecError) as caught:
        _ = loaded.requirements
    found = [line for line in caught.value.details if "is not a type that Feast knows" in line]
    assert found == list(caught.value.details)
    assert [("rediss" in line, "dusk" in line) for line in found] == [(True, False), (False, True)] * 2


def test_stores_that_cannot_be_deployed_are_all_named(tmp_path: Path) -> None:
    loaded = _load(tmp_path, lambda text: text.replace('redis, connection_string: "redis.stores:6379"', "sqlite"))
    images = DeploymentImages("a@sha256:0", "b@sha256:0", "/opt/feast/feature_repo")
    own = {name: Baked(repo.config, images) for name, repo in loaded.own.items()}
    with pytest.raises(SpecError) as caught:
        manifests.render(loaded.spec, loaded.repo.config, images, Capabilities.for_version("0.63.0"), own=own)
    for name in ("a", "b"):
        assert any(str(tmp_path / name) in line for line in caught.value.details)

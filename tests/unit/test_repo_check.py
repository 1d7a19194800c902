"""What Feast says of a repo is told with the place on this machine and with the right remedy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from bundler.effects import feature_repo
from bundler.model import spec_reader
from bundler.model.descriptor import Json
from bundler.model.findings import Status
from bundler.model.platform import Platform
from bundler.model.spec import FeatureRepoSpec
from bundler.oci.image import Image
from bundler.oci.rootfs import BaseContents
from bundler.steps.build import repo_check
from bundler.steps.build.repo_check import Remark, RepoTrial, Verdict
from bundler.steps.lock.project import Project
from bundler.steps.sources.unpacked_base import UnpackedBase

SPEC = """\
name: shop
version: 1.0.0
feast: {version: 0.66.0}
base: {debian: bookworm}
registry: {host: registry.example}
operator: {version: 0.66.0, preinstalled: true}
deployment:
  name: shop
  namespace: feast
  registry: {volume: {mountPath: /data/registry, size: 1Gi}}
  servers: {online: {volumeMounts: [{name: files, mountPath: /data/files}]}}
  cronJob: {schedule: "0 * * * *", kubectl: {debian: bookworm}}
"""
STORE = """\
project: shop
registry: /data/registry/registry.db
online_store:
  type: redis
  pool_size: 9
  connection_string: ${REDIS}
"""


@pytest.fixture
def trial(tmp_path: Path) -> RepoTrial:
    folder = tmp_path / "feature_repo"
    folder.mkdir()
    (folder / "feature_store.yaml").write_text(STORE)
    (folder / "definitions.py").write_text("import ours\n")
    contents = feature_repo.read(folder, FeatureRepoSpec())
    project = Project(spec_reader.read(SPEC, "bundle.yaml"), tmp_path / "bundle.yaml", contents)
    base = UnpackedBase(
        cast("Image", None),
        BaseContents(None, {}, None, {}, has_bash=True, os_release={"ID": "debian"}, debian_packages={}),
    )
    return RepoTrial(project, Platform.parse("linux/amd64"), cast("Image", None), base, contents)


def line(trial: RepoTrial, kind: str, place: str, what: str, name: str = "") -> str:
    (found,) = trial.lines(Verdict((Remark(kind, place, what, name),), (), 0))
    return found


def test_a_key_is_told_with_file_line_and_release(trial: RepoTrial) -> None:
    found = line(trial, "key", "online_store.pool_size", "Extra inputs are not permitted", "extra_forbidden")
    assert found.startswith(f"{trial.repo.folder}/feature_store.yaml:5: online_store.pool_size: Extra inputs")
    assert "Feast 0.66.0 forbids this key" in found


def test_a_missing_module_is_told_with_its_distribution(trial: RepoTrial) -> None:
    found = line(trial, "module", "definitions.py:1", "ModuleNotFoundError: No module named 'yaml'", "yaml")
    assert found.startswith(f"{trial.repo.folder}/definitions.py:1: ModuleNotFoundError")
    assert found.endswith("Name PyYAML in 'packages' or 'requirements' of the spec.")


def test_a_module_of_the_developers_own_is_told_by_where_it_lies(trial: RepoTrial) -> None:
    (trial.project.folder / "ours.py").write_text("")
    found = line(trial, "module", "definitions.py:1", "No module named 'ours'", "ours")
    assert f"{trial.project.folder}/ours.py lies outside of it. Move it into the feature repo" in found


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (
            "feature_repo.views",
            "That is the feature repo itself, whose folder Python starts from: leave 'feature_repo' out",
        ),
        ("shop", "It is src/shop, and Python starts from the repo's folder: import src.shop, or move it up."),
        ("names", "It is src/names.py, and Python starts from the repo's folder: import src.names, or move it up."),
    ],
)
def test_a_module_that_the_repo_has_elsewhere_is_told_with_its_name(trial: RepoTrial, module: str, said: str) -> None:
    for file in ("src/shop/__init__.py", "src/names.py"):
        (trial.repo.folder / file).parent.mkdir(parents=True, exist_ok=True)
        (trial.repo.folder / file).write_text("")
    trial = replace(trial, repo=feature_repo.read(trial.repo.folder, FeatureRepoSpec()))
    remark = Remark("module", "definitions.py:1", f"ModuleNotFoundError: No module named {module!r}", module)
    (line,) = trial.lines(Verdict((remark,), (), 0))
    assert said in line


@pytest.mark.parametrize(
    "kind", ["relative", "variable", "ignore", "path", "shadowed", "chdir", "pod", "network", "unimportable"]
)
def test_every_kind_of_problem_has_a_remedy(trial: RepoTrial, kind: str) -> None:
    (line,) = trial.lines(Verdict((Remark(kind, "definitions.py:1", "what was seen", "name"),), (), 0))
    assert not line.endswith("what was seen. ")


def test_a_shared_library_is_told_with_the_package_of_the_base(trial: RepoTrial) -> None:
    assert "system_packages: [libpq5]" in line(trial, "library", "definitions.py:1", "ImportError: ...", "libpq.so.5")


def test_volumes_of_the_deployment_hide_folders_of_the_image(trial: RepoTrial) -> None:
    assert list(repo_check.mounts(trial.project.spec)) == ["/data/registry", "/data/files"]


def test_notes_become_an_item_for_the_site(trial: RepoTrial) -> None:
    passed, site = trial.findings(Verdict((), (Remark("mounted", "a.py:3", "reads /data/a.parquet", ""),), 2))
    assert passed.status is Status.PASS
    assert "2 feature views" in passed.evidence[0]
    assert "REDIS" in passed.evidence[1]
    assert (site.status, site.evidence) == (Status.MANUAL, ("a.py:3: reads /data/a.parquet",))


def test_a_verdict_reads_back_as_it_was_written() -> None:
    verdict = Verdict((Remark("key", "a.b", "why", "c"),), (), 3)
    assert Verdict.from_json(verdict.to_json()) == verdict
    damages: tuple[Json, ...] = (None, {}, {"problems": [{}], "notes": [], "views": 1})
    for damaged in damages:
        with pytest.raises(ValueError, match="not a"):
            Verdict.from_json(damaged)

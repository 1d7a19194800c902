from __future__ import annotations

from pathlib import Path

import pytest

from bundler.cli import program
from bundler.errors import SpecError
from bundler.steps import lint

# What Feast's guide shows for air-gapped clusters, in the form of its own: no more than these fields.
GUIDE = """\
apiVersion: feast.dev/v1
kind: FeatureStore
metadata:
  name: air-gapped
spec:
  feastProject: my_project
  services:
    disableInitContainers: true
    onlineStore:
      server:
        image: registry.example/feature-server:1
"""


@pytest.mark.parametrize("version", ["0.61.0", "0.65.0", "0.66.0"])
def test_the_resource_of_the_guide_does_not_start_and_lint_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], version: str
) -> None:
    (tmp_path / "cr.yaml").write_text(GUIDE)
    with pytest.raises(SystemExit) as ended:
        program.main(["lint", str(tmp_path / "cr.yaml"), "--operator-version", version])
    assert ended.value.code == 3
    out = capsys.readouterr().out
    assert "FAIL  Every server finds a feature repo when it starts" in out
    assert "Can't find feature repo configuration file" in out


def test_a_folder_is_read_at_any_depth_and_a_repository_that_pods_clone_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "values.yaml").write_text("a: {{ template }}\n")
    (tmp_path / "base" / "cr.yml").write_text(
        "apiVersion: feast.dev/v1\nkind: FeatureStore\nmetadata: {name: shop}\nspec:\n  feastProject: shop\n"
        "  feastProjectDir: {git: {url: 'https://user:secret@github.com/shop/features.git'}}\n"
        "  authz: {noAuth: true}\n  services: {onlineStore: {server: {image: quay.io/feastdev/feature-server:1}}}\n"
    )
    with pytest.raises(SystemExit) as ended:
        program.main(["lint", str(tmp_path), "--operator-version", "0.66.0"])
    assert ended.value.code == 3
    out = capsys.readouterr().out
    assert "spec.feastProjectDir.git: an init container clones from github.com at every start" in out
    assert "spec.services.onlineStore.server.image: the image is one of quay.io" in out
    assert "secret" not in out


def test_files_without_a_feature_store_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("kind: Namespace\n")
    with pytest.raises(SpecError, match="holds a FeatureStore"):
        lint.run((tmp_path / "other.yaml",), operator_version="0.61.0", operator_manifest=None)


def test_the_operator_is_named_in_exactly_one_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main(["lint", str(tmp_path / "cr.yaml")])
    assert ended.value.code == 2
    assert "--operator-version" in capsys.readouterr().err


@pytest.mark.parametrize("spec", ["3", "{services: {}}", "{feastProject: 4}"])
def test_what_no_release_would_take_is_found(tmp_path: Path, spec: str) -> None:
    (tmp_path / "fs.yaml").write_text(f"kind: FeatureStore\nmetadata: {{name: x}}\nspec: {spec}\n")
    assert lint.run((tmp_path / "fs.yaml",), operator_version="0.61.0", operator_manifest=None).failed

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bundler.effects import feature_repo
from bundler.errors import SpecError
from bundler.model.spec import FeatureRepo
from bundler.steps import init

YAML = """\
project: fraud
registry: /feast-data/registry.db
online_store:
  type: redis
  connection_string: ${REDIS_HOST}:6379,password=$REDIS_PASSWORD  # not ${THIS}
# nor ${THAT}
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "feature_repo"
    folder.mkdir()
    (folder / "feature_store.yaml").write_text(YAML)
    (folder / "views.py").write_text("x = 1\n")
    return folder


def names(folder: Path, **rules: tuple[str, ...]) -> list[str]:
    return [file.path for file in feature_repo.read(folder, FeatureRepo(**rules)).files]  # type: ignore[arg-type]


def refusal(folder: Path) -> SpecError:
    with pytest.raises(SpecError) as caught:
        feature_repo.read(folder, FeatureRepo())
    return caught.value


def test_caches_version_control_and_secrets_are_left_out(repo: Path) -> None:
    for name in (".git/config", "__pycache__/views.cpython-311.pyc", ".env", "tls.key", ".venv/bin/python"):
        (repo / name).parent.mkdir(exist_ok=True, parents=True)
        (repo / name).write_text("")
    assert names(repo) == ["feature_store.yaml", "views.py"]


def test_patterns_of_the_spec_and_of_the_ignore_file_are_those_of_gitignore(repo: Path) -> None:
    (repo / "notebooks").mkdir()
    (repo / "notebooks" / "a.ipynb").write_text("")
    (repo / "notes.md").write_text("")
    (repo / "keep.md").write_text("")
    (repo / ".bundlerignore").write_text("*.md\n!keep.md\n")
    assert names(repo, exclude=("notebooks/",)) == ["feature_store.yaml", "keep.md", "views.py"]
    assert names(repo, include=("*.yaml",)) == ["feature_store.yaml"]


def test_the_fingerprint_depends_on_content_names_and_executability_alone(repo: Path, tmp_path: Path) -> None:
    before = feature_repo.read(repo, FeatureRepo()).fingerprint
    moved = repo.rename(tmp_path / "moved")
    os.utime(moved / "views.py", (1, 1))
    (moved / "views.py").chmod(0o600)
    assert feature_repo.read(moved, FeatureRepo()).fingerprint == before
    (moved / "views.py").chmod(0o755)
    assert feature_repo.read(moved, FeatureRepo()).fingerprint != before


def test_a_link_inside_the_repo_is_baked_as_the_file_it_names(repo: Path) -> None:
    (repo / "alias.py").symlink_to("views.py")
    contents = feature_repo.read(repo, FeatureRepo())
    assert {file.path: file.source.name for file in contents.files}["alias.py"] == "views.py"


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside.py", "nothing", "folder"])
def test_a_link_to_anything_else_is_refused(repo: Path, target: str) -> None:
    (repo.parent / "outside.py").write_text("")
    (repo / "folder").mkdir()
    (repo / "alias.py").symlink_to(target)
    assert "alias.py is a link to" in refusal(repo).problem


def test_a_pipe_is_refused(repo: Path) -> None:
    os.mkfifo(repo / "pipe")
    assert "pipe is not a regular file" in refusal(repo).problem


def test_a_repo_without_feature_store_yaml_is_refused(repo: Path) -> None:
    (repo / "feature_store.yaml").unlink()
    assert "has no feature_store.yaml" in refusal(repo).problem


def test_every_python_file_that_does_not_parse_is_named_with_its_line(repo: Path) -> None:
    (repo / "a.py").write_text("ok = 1\ndef (:\n")
    (repo / "b.py").write_bytes(b"x = '\0'\n")
    error = refusal(repo)
    assert [detail.rpartition("/")[2].split(": ")[0] for detail in error.details] == ["a.py:2", "b.py:1"]


def test_the_proposed_spec_names_what_the_repo_says_and_reads_back(repo: Path) -> None:
    (repo.parent / "requirements.txt").write_text("feast[redis]==0.63.0\npandas\n")
    text = init.propose(repo)
    assert "name: fraud\n" in text
    assert "version: 0.63.0" in text
    assert "- requirements.txt" in text
    assert "#   REDIS_PASSWORD\n" in text

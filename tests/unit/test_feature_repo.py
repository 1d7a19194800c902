from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.effects import feature_repo
from bundler.errors import SpecError
from bundler.feast import feature_store, repository
from bundler.feast.extras import extras_for
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


def test_sources_that_parse_are_no_problem() -> None:
    repository.check_sources({"a.py": b"# -*- coding: latin-1 -*-\nx = '\xe9'\n"})


def test_variables_are_found_but_not_in_comments() -> None:
    assert feature_store.parse(YAML, "f").variables == ("REDIS_HOST", "REDIS_PASSWORD")


def test_literal_credentials_are_found_by_place_and_never_shown() -> None:
    text = YAML.replace("password=$REDIS_PASSWORD", "password=hunter2") + (
        "offline_store: {type: postgres, password: hunter3}\n"
    )
    text = text.replace(
        "registry: /feast-data/registry.db", "registry: {registry_type: sql, path: 'postgresql://u:hunter4@h/d'}"
    )
    found = feature_store.literal_credentials(feature_store.parse(text, "f"))
    assert found == ("online_store.connection_string", "offline_store.password", "registry.path")
    assert feature_store.literal_credentials(feature_store.parse(YAML, "f")) == ()


@pytest.mark.parametrize("project", ["with space", "", "-x", "a-b", "~"])
def test_a_project_that_feast_or_the_operator_refuses_is_refused_with_its_line(project: str) -> None:
    with pytest.raises(SpecError, match=r"f:1: project"):
        feature_store.parse(YAML.replace("project: fraud", f"project: {project}"), "f")


@given(st.text(max_size=300))
def test_any_text_is_a_feature_store_or_a_clear_error(text: str) -> None:
    try:
        feature_store.parse(text, "feature_store.yaml")
    except SpecError as error:
        assert "feature_store.yaml" in error.problem  # noqa: PT017  (most texts are refused, some are not)


@pytest.mark.parametrize(
    ("stores", "extras"),
    [
        ("registry: /r.db", set()),
        ("registry: s3://b/r.db\nonline_store: {type: dynamodb}", {"aws"}),
        ("registry: {registry_type: sql, path: 'postgresql+psycopg://h/d'}", {"postgres"}),
        ("registry: {registry_type: sql, path: 'mysql+pymysql://h/d'}\nonline_store: redis", {"mysql", "redis"}),
        ("registry: gs://b/r.db\noffline_store: {type: bigquery}", {"gcp"}),
        ("registry: {registry_type: remote, path: 'h:80'}\noffline_store: {type: duckdb}", {"grpcio", "duckdb"}),
        ("registry: /r.db\nonline_store: {type: acme.stores.TapeStore}", set()),
        (
            "registry: /r.db\nonline_store: {type: hybrid, online_stores: [{type: redis}, {type: milvus}]}",
            {"redis", "milvus"},
        ),
    ],
)
def test_stores_bring_their_extras(stores: str, extras: set[str]) -> None:
    config = feature_store.parse(f"project: a\n{stores}\n", "f")
    assert extras_for(config, servers=frozenset(), auth="no_auth") == extras


def test_the_registry_server_brings_grpc_and_kubernetes_auth_its_client() -> None:
    config = feature_store.parse("project: a\nregistry: /r.db\n", "f")
    assert extras_for(config, servers=frozenset({"registry"}), auth="kubernetes") == {"grpcio", "k8s"}


def test_an_unknown_store_type_is_refused_with_the_nearest_known_one() -> None:
    config = feature_store.parse("project: a\nregistry: /r.db\nonline_store: {type: rediss}\n", "f")
    with pytest.raises(SpecError, match="Did you mean 'redis'"):
        extras_for(config, servers=frozenset(), auth="no_auth")


def test_the_proposed_spec_names_what_the_repo_says_and_reads_back(repo: Path) -> None:
    (repo.parent / "requirements.txt").write_text("feast[redis]==0.63.0\npandas\n")
    text = init.propose(repo)
    assert "name: fraud\n" in text
    assert "version: 0.63.0" in text
    assert "- requirements.txt" in text
    assert "#   REDIS_PASSWORD\n" in text

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundler.errors import SpecError
from bundler.model import spec_reader
from bundler.model.spec import BundleSpec
from bundler.steps.lock import init

YAML = """\
project: fraud_scores
registry: {registry_type: sql, path: "postgresql+psycopg://${PG_USER}:${PG_PASSWORD}@pg/feast"}
online_store: {type: redis, connection_string: "redis:6379,password=${REDIS_PASSWORD}"}
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make(tmp_path / "feature_repo")


def make(folder: Path, text: str = YAML) -> Path:
    folder.mkdir(parents=True)
    (folder / "feature_store.yaml").write_text(text)
    return folder


def read(text: str) -> BundleSpec:
    return spec_reader.read(text, "bundle.yaml")


def test_the_spec_says_what_the_repo_says(repo: Path) -> None:
    (repo.parent / "requirements.txt").write_text("feast[redis]==0.63.0\npandas\n")
    text = init.propose(repo).text
    spec = read(text)
    assert (spec.name, spec.deployment.name, spec.repo.path) == ("fraud-scores", "fraud-scores", "feature_repo")
    assert (spec.feast.version, spec.operator.version, spec.requirements) == ("0.63.0", "0.63.0", ("requirements.txt",))
    assert spec.deployment.credentials_secret == "fraud-scores-credentials"
    assert "  #   PG_PASSWORD\n  #   PG_USER\n  #   REDIS_PASSWORD\n" in text
    assert "for online store redis, offline store dask, registry sql:\n  #   grpcio, postgres, redis\n" in text
    assert spec.deployment.cron_job.schedule == "*/30 * * * *"


def test_a_repo_that_needs_no_variables_gets_no_secret_for_them(tmp_path: Path) -> None:
    text = init.propose(make(tmp_path / "r", "project: a\nregistry: /feast-data/registry.db\n")).text
    assert read(text).deployment.credentials_secret is None


def test_a_credential_that_is_written_out_is_named_and_not_shown(tmp_path: Path) -> None:
    text = init.propose(make(tmp_path / "r", YAML.replace("${REDIS_PASSWORD}", "hunter2"))).text
    assert "  #   online_store.connection_string\n" in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("file", "content", "version"),
    [
        ("requirements.txt", "pandas\nfeast == 0.61 ; python_version > '3'  # ours\n", "0.61"),
        ("requirements.txt", "feast==0.62.0 \\\n    --hash=sha256:00\n", "0.62.0"),
        ("feature_repo/requirements.in", "Feast==0.64.0\n", "0.64.0"),
        ("uv.lock", "[[package]]\nname = 'x'\n[[package]]\nname = 'feast'\nversion = '0.65.0'\n", "0.65.0"),
        ("poetry.lock", "[[package]]\nname = 'feast'\nversion = '0.65.0'\n", "0.65.0"),
        (".venv/lib/python3.11/site-packages/feast-0.61.0.dist-info/METADATA", "", "0.61.0"),
        ("pdm.lock", "[[package]]\nname = 'feast'\nversion = '0.65.0'\n", "0.65.0"),
        ("pylock.toml", "[[packages]]\nname = 'feast'\nversion = '0.65.0'\n", "0.65.0"),
        (
            "requirements.txt",
            "feast==0.61.0; python_version < '3.11'\nfeast==0.63.0; python_version >= '3.11'\n",
            "0.63.0",
        ),
        ("setup.py", "NEEDS = ['feast==0.62.0']\nsetup(install_requires=NEEDS)\n", "0.62.0"),
        ("requirements.txt", "feast==0.61.*\nfeast>=0.62\nfeast-extra==3.0\n-r x\n", "0.67.0"),
        ("requirements.txt", b"feast==0.61.0\xff", "0.67.0"),
        ("uv.lock", "[[package", "0.67.0"),
        ("uv.lock", "package = 'feast'", "0.67.0"),
    ],
)
def test_the_feast_release_is_the_one_that_the_repo_was_developed_with(
    repo: Path, file: str, content: str | bytes, version: str
) -> None:
    path = repo.parent / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert read(init.propose(repo).text).feast.version == version


def test_a_spec_beside_the_repos_own_files_names_the_folder_it_is_in(repo: Path) -> None:
    (repo / "requirements.txt").write_text("feast==0.61.0\n")
    spec = read(init.propose(repo, folder=repo).text)
    assert (spec.repo.path, spec.requirements) == (".", ("requirements.txt",))


def test_a_spec_elsewhere_names_the_way_to_the_repo(repo: Path) -> None:
    (repo / "requirements.txt").write_text("feast==0.61.0\n")
    spec = read(init.propose(repo, folder=repo.parent / "deploy").text)
    assert (spec.repo.path, spec.requirements) == ("../feature_repo", ("../feature_repo/requirements.txt",))


@pytest.mark.parametrize("folder", ["1.0", "yes", "a: b", "it's", "# a", "caf\u00e9", "- a", "a b", "{x}", "null"])
def test_any_folder_name_is_written_so_that_it_reads_back(tmp_path: Path, folder: str) -> None:
    assert read(init.propose(make(tmp_path / folder)).text).repo.path == folder


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=30)
@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_]{0,80}", fullmatch=True))
def test_any_project_gives_a_spec_that_reads_back(tmp_path: Path, project: str) -> None:
    folder = tmp_path / "r"
    folder.mkdir(exist_ok=True)
    (folder / "feature_store.yaml").write_text(f"project: '{project}'\nregistry: /r.db\n")
    assert read(init.propose(folder).text).deployment.namespace == "feast"


def test_a_name_that_no_feature_store_can_have_is_refused_with_a_way_out(repo: Path) -> None:
    with pytest.raises(SpecError, match="Give a name that fits with --name") as caught:
        init.propose(repo, name="Not_A_Name")
    assert "'Not_A_Name' is not a DNS label" in caught.value.details[0]


def test_a_store_that_feast_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="Did you mean 'redis'"):
        init.propose(make(tmp_path / "r", YAML.replace("type: redis", "type: rediss")))

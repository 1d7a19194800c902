from __future__ import annotations

from pathlib import Path

import pytest

from bundler.effects.blobs import BlobStore
from bundler.effects.feature_repo import RepoContents
from bundler.errors import SpecError
from bundler.feast.stores import feature_store_yaml as feature_store
from bundler.feast.stores.extras import extras_for
from bundler.model import spec_reader
from bundler.model.digest import Digest
from bundler.model.progress import SilentProgress
from bundler.steps.lock import lockfile as locking
from bundler.steps.lock import project
from bundler.steps.lock.project import Project

ALL_SERVERS = frozenset({"registry", "online", "offline", "ui"})


def extras(stores: str, servers: frozenset[str] = frozenset(), auth: str = "no_auth", release: str = "") -> set[str]:
    config = feature_store.parse(f"project: a\n{stores}\n", "f")
    return set(extras_for(config, servers=servers, auth=auth, release=release))


@pytest.mark.parametrize(
    ("stores", "expected"),
    [
        ("registry: /r.db", set()),
        ("registry: s3://b/r.db\nonline_store: {type: dynamodb}", {"aws"}),
        ("registry: gs://b/r.db\noffline_store: {type: bigquery}", {"gcp"}),
        ("registry: {path: r, registry_store_type: AzureRegistryStore}", {"azure"}),
        ("registry: {registry_type: sql, path: 'postgresql+psycopg://h/d'}", {"postgres"}),
        ("registry: {registry_type: sql, path: 'postgresql://h/d'}", {"postgres"}),
        ("registry: {registry_type: sql, path: 'sqlite:////feast-data/r.db'}", set()),
        ("registry: {registry_type: sql, path: 'mysql+pymysql://h/d'}\nonline_store: redis", {"mysql", "redis"}),
        ("registry: {registry_type: sql, path: 'mysql+pymysql://h', read_path: 'postgresql://h'}",
         {"mysql", "postgres"}),
        ("registry: {registry_type: sql, path: '${REGISTRY_URL}'}", {"mysql", "postgres"}),
        ("registry: {registry_type: sql, path: '${DIALECT}://h/d'}", {"mysql", "postgres"}),
        ("registry: {registry_type: sql, path: 'postgresql+psycopg2://h/d'}", set()),
        ("registry: {registry_type: sql, path: 'cockroachdb://h/d'}", set()),
        ("registry: {registry_type: remote, path: 'h:80'}\noffline_store: {type: duckdb}", {"grpcio", "duckdb"}),
        ("registry: /r.db\nonline_store: {type: acme.stores.TapeOnlineStore}", set()),
        ("registry: /r.db\noffline_store: {type: feast.infra.offline_stores.x.PostgreSQLOfflineStore}", {"postgres"}),
        ("registry: /r.db\noffline_store: {type: feast.infra.offline_stores.bigquery.BigQueryOfflineStore}", {"gcp"}),
        ("registry: /r.db\nonline_store: {type: hybrid, online_stores: [{type: redis}, {type: milvus}]}",
         {"redis", "milvus"}),
        ("registry: /r.db\nonline_store: null", set()),
        ("registry: /r.db\nbatch_engine: {type: spark.engine}", {"spark"}),
        ("registry: /r.db\nfeature_server: {type: mcp}", {"mcp"}),
        ("registry: {path: /r.db, mcp: {enabled: true}}", {"mcp"}),
        ("registry: /r.db\nopenlineage: {enabled: true}", {"openlineage"}),
        ("registry: /r.db\nopenlineage: {enabled: false}", set()),
    ],
)  # fmt: skip
def test_what_the_file_says_brings_its_extras(stores: str, expected: set[str]) -> None:
    assert extras(stores) == expected


@pytest.mark.parametrize(
    ("servers", "auth", "expected"),
    [
        ({"online", "offline"}, "no_auth", set()),
        ({"registry"}, "oidc", {"grpcio"}),
        ({"ui"}, "no_auth", {"grpcio"}),
        ({"online"}, "kubernetes", {"k8s"}),
    ],
)
def test_servers_and_authentication_bring_what_they_import(servers: set[str], auth: str, expected: set[str]) -> None:
    assert extras("registry: /r.db", frozenset(servers), auth) == expected


def test_the_example_needs_redis_postgres_and_grpc() -> None:
    stores = "registry: {registry_type: sql, path: 'postgresql+psycopg://h/d'}\nonline_store: redis"
    assert extras(stores, ALL_SERVERS) == {"redis", "postgres", "grpcio"}


@pytest.mark.parametrize(
    ("stores", "sentence"),
    [
        ("registry: r\nonline_store: {type: rediss}", "f:3: online_store.type: 'rediss' .* Did you mean 'redis'?"),
        ("registry: r\noffline_store: {type: postgress}", "offline_store.type: .* Did you mean 'postgres'?"),
        ("registry: {registry_type: sqll, path: x}", "registry.registry_type: .* Did you mean 'sql'?"),
        ("registry: {registry_type: acme.OwnRegistry, path: x}", "registry.registry_type: 'acme.OwnRegistry'"),
        ("registry: r\nonline_store: {type: acme.stores.Tape}", "ending in OnlineStore"),
        (
            "registry: r\nonline_store: {type: hybrid, online_stores: [{type: redis},\n {type: rediss}]}",
            "f:4: online_store.online_stores.1..type: .* Did you mean 'redis'?",
        ),
        ("registry: r\nbatch_engine: {type: spark}", "Did you mean 'spark.engine'?"),
        ("registry: {registry_type: sql, path: 'postgres://u:hunter2@h/d'}", "f:2: registry.path: postgres is not"),
        ("registry: {registry_type: sql, path: 'mysql://u:hunter2@h/d'}", "registry.path: mysql is not"),
        ("registry: {registry_type: sql, path: 'u:hunter2@h/d'}", "registry.path: this value is not"),
    ],
)
def test_what_feast_does_not_know_is_refused_with_the_nearest_it_does(stores: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence) as caught:
        extras(stores)
    assert "hunter2" not in str(caught.value)


def test_what_a_release_does_not_have_yet_is_refused_with_the_first_that_has() -> None:
    stores = "registry: r\noffline_store: {type: oracle}"
    assert extras(stores, release="0.62.0") == {"oracle"}
    with pytest.raises(SpecError, match=r"Feast 0\.61\.0 has no 'oracle', Feast 0\.62 is the first"):
        extras(stores, release="0.61.0")


def test_a_batch_engine_of_the_deployment_stands_in_the_place_of_the_files() -> None:
    config = feature_store.parse("project: a\nregistry: r\nbatch_engine: ray.engine\n", "f")
    found = extras_for(config, servers=frozenset(), auth="no_auth", engine="spark.engine")
    assert found == {"spark"}
    with pytest.raises(SpecError, match=r"^deployment\.batchEngine\.type: 'sparks' is not"):
        extras_for(config, servers=frozenset(), auth="no_auth", engine="sparks")


SPEC = """
name: demo
version: 1.0.0
feast: {version: 0.61.0, extras: [duckdb]}
base: {debian: bookworm}
registry: {host: registry.internal.example}
operator: {version: 0.61.0, preinstalled: true}
"""


def test_a_lock_asks_for_what_file_and_deployment_need_together(tmp_path: Path) -> None:
    config = feature_store.parse("project: a\nregistry: r\nonline_store: redis\n", "f")
    deployment = "deployment: {name: demo, auth: {type: kubernetes}, batchEngine: {config: {type: ray.engine}}}\n"
    spec = spec_reader.read(SPEC + deployment, "bundle.yaml")
    asked = Project(spec, tmp_path / "bundle.yaml", RepoContents((), Digest("0" * 64), config)).requirements
    assert asked.asked[0].requirement.extras == {"duckdb", "grpcio", "k8s", "ray", "redis"}


def test_an_unknown_store_type_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "feature_repo").mkdir()
    (tmp_path / "feature_repo/feature_store.yaml").write_text("project: a\nregistry: r\nonline_store: rediss\n")
    (tmp_path / "bundle.yaml").write_text(SPEC + "deployment: {name: demo}\n")
    loaded = project.load(tmp_path / "bundle.yaml")
    store = BlobStore(tmp_path / "cache")
    with pytest.raises(SpecError, match="Did you mean 'redis'"):
        locking.gathered(loaded, None, store, SilentProgress())

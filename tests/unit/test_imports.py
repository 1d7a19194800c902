"""What an image must import follows from its feature_store.yaml and from what the deployment chose."""

from __future__ import annotations

import pytest

from bundler.feast.stores import feature_store_yaml as feature_store
from bundler.feast.stores.imports import imports_for


def names(stores: str, auth: str = "no_auth", engine: str | None = None) -> set[str]:
    config = feature_store.parse(f"project: a\n{stores}\n", "f")
    return {one.name.rpartition(".")[2] for one in imports_for(config, auth=auth, engine=engine)}


SERVERS = {"feature_server", "offline_server", "registry_server", "rest_registry_server", "ui_server"}


@pytest.mark.parametrize(
    ("stores", "expected"),
    [
        ("registry: /r.db", {"REGISTRY_CLASS_FOR_TYPE:file", "ONLINE_STORE_CLASS_FOR_TYPE:sqlite"}),
        ("registry: s3://b/r.db", {"REGISTRY_STORE_CLASS_FOR_TYPE:S3RegistryStore"}),
        ("registry: {registry_type: sql, path: 'postgresql://h/d'}", {"postgresql+psycopg"}),
        ("registry: {registry_type: sql, path: 'mysql+asyncmy://h/d'}", {"mysql+asyncmy"}),
        ("registry: {registry_type: sql, path: '${URL}'}", {"postgresql+psycopg", "mysql+pymysql"}),
        ("registry: {registry_type: sql, path: 'sqlite:///r.db', read_path: 'postgresql://h'}", {"sqlite"}),
        ("registry: /r.db\nonline_store: {type: redis}", {"ONLINE_STORE_CLASS_FOR_TYPE:redis"}),
        ("registry: /r.db\noffline_store: {type: postgres}", {"OFFLINE_STORE_CLASS_FOR_TYPE:postgres"}),
        (
            "registry: /r.db\nonline_store: {type: hybrid, online_stores: [{type: redis}]}",
            {"ONLINE_STORE_CLASS_FOR_TYPE:hybrid", "ONLINE_STORE_CLASS_FOR_TYPE:redis"},
        ),
        ("registry: /r.db\nopenlineage: {enabled: true}", {"client"}),
        ("registry: /r.db\nfeature_server: {type: mcp}", {"fastapi_mcp"}),
    ],
)
def test_stores_are_imported_by_the_class_that_feast_has_for_them(stores: str, expected: set[str]) -> None:
    assert expected | SERVERS <= names(stores)


def test_a_store_that_is_not_there_is_not_imported() -> None:
    assert not any("ONLINE_STORE" in name for name in names("registry: /r.db\nonline_store: null"))


def test_a_class_of_the_sites_own_stands_for_itself() -> None:
    config = feature_store.parse("project: a\nregistry: /r.db\nonline_store: {type: ours.store.OurOnlineStore}\n", "f")
    found = {one.name for one in imports_for(config, auth="no_auth")}
    assert "feast.repo_config.ONLINE_STORE_CLASS_FOR_TYPE:ours.store.OurOnlineStore" in found


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("ours.store.OurOnlineStore", True),
        ("redis", False),
        ("snowflake.online", False),
        ("feast.infra.online_stores.redis.RedisOnlineStore", False),
    ],
)
def test_only_a_class_of_the_sites_own_may_lie_in_the_repo(kind: str, *, own: bool) -> None:
    config = feature_store.parse(f"project: a\nregistry: /r.db\nonline_store: {{type: {kind}}}\n", "f")
    found = [one for one in imports_for(config, auth="no_auth") if ":" in one.name and one.name.endswith(kind)]
    assert [one.is_own for one in found] == [own]


def test_authentication_and_engine_are_those_of_the_deployment() -> None:
    assert {"kubernetes_token_parser", "kubernetes_auth_client_manager"} <= names("registry: /r.db", auth="kubernetes")
    assert "oidc_token_parser" in names("registry: /r.db", auth="oidc")
    assert "BATCH_ENGINE_CLASS_FOR_TYPE:k8s" in names("registry: /r.db\nbatch_engine: local", engine="k8s")


@pytest.mark.parametrize(
    ("stores", "engine", "needed"),
    [
        ("offline_store: {type: spark}", None, True),
        ("batch_engine: {type: flink.engine}", None, True),
        ("batch_engine: local", "spark.engine", True),
        ("offline_store: {type: hybrid, offline_stores: [{type: spark}, {type: dask}]}", None, True),
        ("batch_engine: {type: feast.infra.compute_engines.spark.compute.SparkComputeEngine}", None, True),
        ("batch_engine: {type: spark_application}", None, False),  # a Spark operator starts it elsewhere
        ("offline_store: {type: spark, spark_conf: {spark.remote: 'sc://spark.stores:15002'}}", None, False),
        ("offline_store: {type: dask}", None, False),
    ],
)
def test_java_is_looked_for_where_spark_or_flink_start_it(stores: str, engine: str | None, *, needed: bool) -> None:
    config = feature_store.parse(f"project: a\nregistry: /r.db\n{stores}\n", "f")
    found = [one for one in imports_for(config, auth="no_auth", engine=engine) if one.how == "java"]
    assert bool(found) is needed

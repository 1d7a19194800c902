"""Addresses that mean nothing in a pod are told with store, place and remedy, and never with what is secret in them."""

from __future__ import annotations

import pytest

from bundler.feast.rules import store_addresses
from bundler.feast.stores import feature_store_yaml
from bundler.model.findings import Finding, Status


def check(text: str) -> tuple[Finding, ...]:
    config = feature_store_yaml.parse(f"project: a\n{text}\n", "f")
    return store_addresses.check(config, "feast")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "registry: /r.db\nonline_store: {type: redis, connection_string: 'localhost:6379'}",
            "localhost is the pod itself",
        ),
        (
            "registry: {registry_type: sql, path: 'postgresql+psycopg://feast:${P}@127.0.0.1:5432/feast'}",
            "2: registry.path: 127.0.0.1 is the pod itself (sql)",
        ),
        ("registry: /r.db\nonline_store: {type: postgres, host: '::1'}", "::1 is the pod itself"),
        ("registry: /r.db\nonline_store: {type: postgres, host: 0.0.0.0}", "0.0.0.0 is the pod itself"),
        (
            "registry: /r.db\nonline_store: {type: redis, connection_string: 'host.docker.internal:6379,ssl=true'}",
            "host.docker.internal is a name of Docker",
        ),
        ("registry: /r.db\nonline_store: {type: cassandra, hosts: [localhost]}", "localhost"),
    ],
)
def test_what_no_pod_reaches_fails(text: str, said: str) -> None:
    (finding,) = (found for found in check(text) if found.status is Status.FAIL)
    assert said in finding.evidence[0]
    assert "Service" in finding.remedy
    config = feature_store_yaml.parse(f"project: a\n{text}\n", "f")
    assert said in store_addresses.refused(config, "feast")[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "registry: /r.db\nonline_store: {type: redis, connection_string: 'redis:6379'}",
            "redis is a name of one part",
        ),
        ("registry: /r.db\nonline_store: {type: postgres, host: db.local}", "db.local is a name of a local network"),
        ("registry: s3://bucket/r.db", "a bucket (s3://)"),
        ("registry: /r.db\nonline_store: {type: dynamodb, region: eu-central-1}", "dynamodb is a service of a cloud"),
        ("registry: /r.db\noffline_store: {type: snowflake.offline}", "snowflake.offline is a service of a cloud"),
        (
            "registry: /r.db\nonline_store: {type: redis, connection_string: 'a.cache.amazonaws.com:6379'}",
            "a.cache.amazonaws.com is a service of a cloud",
        ),
        ("registry: /r.db\noffline_store: {type: duckdb}", "DuckDB downloads its extensions"),
        ("registry: /r.db\nembedding_model: {model: all-MiniLM-L6-v2}", "a model is downloaded"),
        ("registry: ${FEAST_REGISTRY}", "${FEAST_REGISTRY} is known at the site only"),
        ("registry: {registry_type: remote, path: 'localhost:6570'}", "localhost is the pod itself (remote)"),
    ],
)
def test_what_only_the_site_can_tell_is_an_item_of_its_checklist(text: str, said: str) -> None:
    (finding,) = check(text)
    assert finding.status is Status.MANUAL
    assert said in finding.evidence[0]


@pytest.mark.parametrize(
    "text",
    [
        "registry: {registry_type: sql, path: 'postgresql://feast:${P}@pg.stores:5432/feast'}",
        "registry: /r.db\nonline_store: {type: redis, connection_string: 'r.stores.svc.cluster.local:6379'}",
        "registry: /r.db\nonline_store: {type: redis, connection_string: '${HOST}:6379'}",
        "registry: {registry_type: sql, path: 'sqlite:////feast-data/r.db'}",
        "registry: /r.db\nonline_store: {type: postgres, host: 10.0.0.5, port: 5432, database: feast}",
    ],
)
def test_addresses_of_a_cluster_pass(text: str) -> None:
    assert [found.status for found in check(text)] == [Status.PASS]


def test_what_is_secret_is_not_shown() -> None:
    text = "registry: {registry_type: sql, path: 'postgresql://feast:hunter2@localhost/feast'}"
    assert "hunter2" not in str(check(text))

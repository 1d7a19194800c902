"""The feature_store.yaml that the operator generates, as read from its source."""

from __future__ import annotations

from typing import Any

import pytest

from bundler.errors import SpecError
from bundler.feast.operator import generated_config as operator_config
from bundler.feast.operator.capabilities import Capabilities

OLD, NEW = "0.61.0", "0.66.0"


def generated(services: Any = None, secrets: Any = None, version: str = OLD, **spec: Any) -> Any:
    resource: Any = {"spec": {"feastProject": "p", "services": services or {}, **spec}}
    return operator_config.generate(resource, secrets or {}, Capabilities.for_version(version))


def stored(store: str, kind: str, text: str, **reference: Any) -> Any:
    persistence = {"store": {"type": kind, "secretRef": {"name": "s"}, **reference}}
    value = {"local": {"persistence": persistence}} if store == "registry" else {"persistence": persistence}
    return generated({store: value}, {"s": {reference.get("secretKeyName", kind): text}})


def test_the_smallest_resource_has_files_on_the_data_volume() -> None:
    assert generated() == {
        "project": "p",
        "provider": "local",
        "online_store": {"path": "/feast-data/online_store.db", "type": "sqlite"},
        "registry": {"path": "/feast-data/registry.db", "registry_type": "file"},
        "auth": {"type": "no_auth"},
        "entity_key_serialization_version": 3,
    }


def test_parameters_come_from_the_secret_under_the_stores_type() -> None:
    assert stored("onlineStore", "redis", "connection_string: ${A}:1")["online_store"] == {
        "type": "redis",
        "connection_string": "${A}:1",
    }
    assert stored("registry", "sql", "registry_type: sql\npath: x\n")["registry"] == {
        "registry_type": "sql",
        "path": "x",
    }
    assert stored("offlineStore", "postgres", "port: 5432", secretKeyName="k")["offline_store"] == {
        "type": "postgres",
        "port": 5432,
    }


@pytest.mark.parametrize(
    ("kind", "text", "problem"),
    [
        ("postgres", "port: '5432'", "panic"),
        ("postgres", "port: ${PORT}", "panic"),
        ("trino", "host: 1", "panic"),
        ("trino", "type: spark", "contains tag named type with value spark"),
        ("trino", "a: [", "contains invalid value"),
        ("trino", "- a", "contains invalid value"),
    ],
)
def test_what_the_operator_cannot_read_is_refused(kind: str, text: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        stored("offlineStore", kind, text)


def test_a_missing_secret_or_key_is_refused_in_the_operators_words() -> None:
    store = {"onlineStore": {"persistence": {"store": {"type": "redis", "secretRef": {"name": "s"}}}}}
    with pytest.raises(SpecError, match='secrets "s" not found'):
        generated(store)
    with pytest.raises(SpecError, match="secret key redis doesn't exist in secret s"):
        generated(store, {"s": {"Redis": ""}})


def test_files_and_volumes() -> None:
    services = {
        "onlineStore": {"persistence": {"file": {"path": "o.db", "pvc": {"mountPath": "/d"}}}},
        "offlineStore": {"persistence": {"file": {"type": "duckdb"}}},
        "registry": {"local": {"persistence": {"file": {"path": "s3://b/r", "cache_mode": "thread"}}}},
    }
    found = generated(services)
    assert found["online_store"] == {"type": "sqlite", "path": "/d/o.db"}
    assert found["offline_store"] == {"type": "duckdb"}
    assert found["registry"] == {"registry_type": "file", "path": "s3://b/r", "cache_mode": "thread"}
    assert generated({"offlineStore": {}})["offline_store"] == {"type": "dask"}


def test_a_remote_registry() -> None:
    remote = {"hostname": "h:443", "tls": {"certName": "ca.crt", "configMapRef": {"name": "x"}}}
    assert generated({"registry": {"remote": remote}})["registry"] == {
        "registry_type": "remote",
        "path": "h:443",
        "cert": "/tls/registry/ca.crt",
    }


def test_authorization_by_release() -> None:
    assert generated(version=NEW)["auth"] == {"type": "kubernetes"}
    assert generated(version=NEW, authz={"noAuth": True})["auth"] == {"type": "no_auth"}
    assert generated(version=NEW, authz={"noAuth": False})["auth"] == {"type": "kubernetes"}
    assert generated(authz={"kubernetes": {}})["auth"] == {"type": "kubernetes"}
    oidc = {"oidc": {"secretRef": {"name": "s"}, "issuerUrl": "https://id"}}
    with pytest.raises(SpecError, match="missing OIDC secret: username"):
        generated(authz=oidc, secrets={"s": dict.fromkeys(("client_id", "auth_discovery_url", "client_secret"), "")})
    assert generated(authz=oidc, secrets={"s": {"client_id": "c"}}, version=NEW)["auth"] == {
        "type": "oidc",
        "client_id": "c",
        "auth_discovery_url": "https://id/.well-known/openid-configuration",
    }


def test_a_batch_engine_comes_from_a_config_map() -> None:
    found = generated(batchEngine={"configMapRef": {"name": "c"}}, secrets={"c": {"config": "type: x"}})
    assert found["batch_engine"] == {"type": "x"}


def test_spellings_of_one_thing_are_no_difference() -> None:
    baked: Any = {"project": "p", "registry": "/r.db", "online_store": {"path": "/o.db"}, "offline_store": "file"}
    written: Any = {
        "project": "p",
        "provider": "local",
        "registry": {"registry_type": "file", "path": "/r.db"},
        "online_store": {"type": "sqlite", "path": "/o.db"},
        "auth": {"type": "no_auth"},
        "entity_key_serialization_version": 3,
    }
    assert operator_config.differences(baked, written) == ()
    assert operator_config.differences({**baked, "project": "q"}, written) == (
        "project: feature_store.yaml has 'q', the operator generates 'p'",
    )

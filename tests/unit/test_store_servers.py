"""What a rehearsal runs beside the pods: read from feature_store.yaml, or replaced by files."""

from __future__ import annotations

from typing import Any

import pytest

from bundler.feast.emulation import local_config, store_servers
from bundler.feast.emulation.store_servers import StoreLogin, StoreServer
from bundler.model.descriptor import Json

SQL: dict[str, Json] = {"registry_type": "sql", "path": "postgresql+psycopg://ada:p%40ss@pg.stores:5433/feast"}
REDIS: dict[str, Json] = {"type": "redis", "connection_string": "redis.stores:6380,password=secret,db=1"}


def test_redis_and_postgres_are_run_at_the_addresses_that_stores_connect_to() -> None:
    needs = store_servers.needed({"registry": SQL, "online_store": REDIS, "offline_store": {"type": "dask"}}, ())
    assert needs.servers == (
        StoreServer("postgres", "pg.stores", 5433, (StoreLogin("ada", "p@ss", "feast"),)),
        StoreServer("redis", "redis.stores", 6380, (StoreLogin("", "secret"),)),
    )
    assert needs.unknown == ()


def test_one_server_serves_two_stores_that_have_the_same_address() -> None:
    postgres: Json = {"type": "postgres", "host": "pg", "port": 5432, "user": "a", "password": "b", "database": "c"}
    needs = store_servers.needed({"online_store": postgres, "offline_store": postgres}, ())
    assert needs.servers == (StoreServer("postgres", "pg", 5432, (StoreLogin("a", "b", "c"),)),)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"online_store": {**REDIS, "redis_type": "redis_cluster"}}, "online_store: redis as redis_cluster"),
        ({"online_store": {"type": "redis", "connection_string": "r:1,ssl=true"}}, "online_store: redis with TLS"),
        ({"online_store": {"type": "dynamodb"}}, "online_store: dynamodb"),
        (
            {"online_store": {"type": "postgres", "host": "pg", "sslmode": "verify-full"}},
            "online_store: postgres with sslmode verify-full",
        ),
        (
            {"registry": {"registry_type": "remote", "path": "hub.other.svc.cluster.local:80"}},
            "registry: remote at hub.other.svc.cluster.local, not in these manifests",
        ),
        (
            {"online_store": {"type": "remote", "path": "https://serving.example"}},
            "online_store: remote at serving.exam",
        ),
        ({"offline_store": {"type": "remote", "host": "offline.example", "port": 80}}, "offline_store: remote at off"),
        (
            {"registry": {"registry_type": "remote", "path": "[::"}},
            "registry: remote at an address that cannot be read",
        ),
        (
            {"online_store": {"type": "postgres", "host": "pg", "vector_enabled": True}},
            "online_store: postgres with the",
        ),
        ({"registry": {"registry_type": "sql", "path": "mysql://a@b/c"}}, "registry: sql on mysql"),
        ({"registry": {"registry_type": "sql", "path": "postgresql://a@b:x/c"}}, "registry: sql at an address"),
    ],
)
def test_what_cannot_be_run_is_said(config: dict[str, Any], said: str) -> None:
    needs = store_servers.needed(config, ())
    assert needs.servers == ()
    assert [line.startswith(said) for line in needs.unknown] == [True]


def test_files_take_the_place_of_servers_but_not_of_a_remote_registry() -> None:
    remote: Json = {"registry_type": "remote", "path": "registry:80"}
    offline: Json = {"type": "postgres"}
    config: dict[str, Json] = {"project": "p", "registry": remote, "online_store": REDIS, "offline_store": offline}
    assert local_config.with_files(config, "/data", {"registry"}) == {
        "project": "p",
        "registry": remote,
        "online_store": {"type": "sqlite", "path": "/data/online_store.db"},
        "offline_store": {"type": "dask"},
    }
    local = local_config.with_files({"registry": SQL}, "/data", ())
    assert local["registry"] == {"registry_type": "file", "path": "/data/registry.db"}


def test_a_remote_registry_that_does_not_run_in_the_rehearsal_is_replaced_too() -> None:
    remote: dict[str, Json] = {"registry": {"registry_type": "remote", "path": "hub.other:80"}}
    assert store_servers.needed(remote, {"hub.other"}) == store_servers.StoreNeeds((), ())
    assert local_config.with_files(remote, "/data", {"hub.elsewhere"})["registry"] == {
        "registry_type": "file",
        "path": "/data/registry.db",
    }


def test_only_who_would_have_to_be_asked_is_taken_out() -> None:
    bare: dict[str, Json] = {"project": "p"}
    assert local_config.without_authentication(bare) == bare
    asked: dict[str, Json] = {"project": "p", "auth": {"type": "oidc", "client_id": "c"}}
    assert local_config.authentication(asked) == "oidc"
    assert local_config.without_authentication(asked) == {"project": "p", "auth": {"type": "no_auth"}}


def test_stores_at_one_address_are_one_server_with_all_accounts() -> None:
    one, other = (StoreServer("postgres", "pg", 5432, (StoreLogin(name, "x", name),)) for name in ("a", "b"))
    assert store_servers.merged([one, other, one]) == (
        StoreServer("postgres", "pg", 5432, (*one.accounts, *other.accounts)),
    )

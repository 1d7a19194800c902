"""Which pip extras of Feast a deployment needs: its stores' clients, its servers, its authentication."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from bundler.errors import SpecError
from bundler.feast.feature_store import FILE_NAME, FeatureStoreConfig
from bundler.model.descriptor import Json

# Store type -> extra; None where plain Feast has all it needs. The types are those that Feast and the operator's
# FeatureStore resource know.
_ONLINE: Final[Mapping[str, str | None]] = {
    "sqlite": None,
    "remote": None,
    "redis": "redis",
    "postgres": "postgres",
    "mysql": "mysql",
    "milvus": "milvus",
    "dynamodb": "aws",
    "datastore": "gcp",
    "bigtable": "gcp",
    "snowflake.online": "snowflake",
    "cassandra": "cassandra",
    "scylladb": "scylladb",
    "hazelcast": "hazelcast",
    "singlestore": "singlestore",
    "elasticsearch": "elasticsearch",
    "qdrant": "qdrant",
    "couchbase.online": "couchbase",
    "mongodb": "mongodb",
    "hbase": "hbase",
    "aerospike": "aerospike",
    "faiss": "faiss",
    "hybrid": None,
}
_OFFLINE: Final[Mapping[str, str | None]] = {
    "dask": None,
    "file": None,
    "remote": None,
    "duckdb": "duckdb",
    "postgres": "postgres",
    "bigquery": "gcp",
    "redshift": "aws",
    "athena": "aws",
    "snowflake.offline": "snowflake",
    "spark": "spark",
    "trino": "trino",
    "mssql": "mssql",
    "couchbase.offline": "couchbase",
    "clickhouse": "clickhouse",
    "ray": "ray",
    "oracle": "oracle",
    "hybrid": None,
}
_REGISTRY: Final[Mapping[str, str | None]] = {
    "file": None,
    "sql": None,
    "remote": "grpcio",
    "snowflake.registry": "snowflake",
}
# SQLAlchemy is part of Feast, its drivers are not: the scheme of the URL names the one that is needed.
_SQL_DRIVERS: Final[Mapping[str, str | None]] = {
    "postgresql": "postgres",
    "postgres": "postgres",
    "mysql": "mysql",
    "sqlite": None,
}
_OBJECT_STORES: Final[Mapping[str, str]] = {"s3": "aws", "gs": "gcp"}
# ``feast serve_registry`` ends with "No module named 'grpc'" on plain Feast; the others run on it.
_SERVERS: Final[Mapping[str, str]] = {"registry": "grpcio"}
_AUTH: Final[Mapping[str, str | None]] = {"no_auth": None, "kubernetes": "k8s", "oidc": None}


def extras_for(config: FeatureStoreConfig, *, servers: frozenset[str], auth: str) -> frozenset[str]:
    """Return the extras for stores, servers (of "registry", "online", "offline", "ui") and authentication.

    Raises:
        SpecError: a store type that Feast does not know, with the nearest one that it does.
    """
    needed = {
        _known("online_store.type", config.online_type, _ONLINE),
        _known("offline_store.type", config.offline_type, _OFFLINE),
        _known("registry.registry_type", config.registry_type, _REGISTRY),
        _known("auth.type", auth, _AUTH),
        _registry_driver(config),
        *(_SERVERS.get(server) for server in servers),
        *_children(config.online_store, "online_stores", _ONLINE),
        *_children(config.offline_store, "offline_stores", _OFFLINE),
    }
    return frozenset(extra for extra in needed if extra is not None)


def _known(key: str, value: str, table: Mapping[str, str | None]) -> str | None:
    if value in table:
        return table[value]
    if "." in value and value[:1].isalpha() and value.rsplit(".", maxsplit=1)[-1][:1].isupper():
        return None  # a class of the site's own, e.g. acme.stores.TapeStore: its package is among the requirements
    near = difflib.get_close_matches(value, table, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise SpecError(
        f"{FILE_NAME}: {key}: {value!r} is not a type that Feast knows.{hint}",
        remedy=f"Known: {', '.join(sorted(table))}; or the full name of a class of your own.",
    )


def _registry_driver(config: FeatureStoreConfig) -> str | None:
    path = config.registry.get("path")
    scheme = urlsplit(path).scheme.partition("+")[0] if isinstance(path, str) and "://" in path else ""
    if config.registry_type == "sql":
        if scheme.startswith("$"):
            return None
        if scheme not in _SQL_DRIVERS:
            raise SpecError(
                f"{FILE_NAME}: registry.path: {scheme or path!r} is not a database that Feast's SQL registry knows.",
                remedy="Use a URL that begins with postgresql+psycopg://, mysql+pymysql:// or sqlite:///.",
            )
        return _SQL_DRIVERS[scheme]
    return _OBJECT_STORES.get(scheme)


def _children(store: Mapping[str, Json], key: str, table: Mapping[str, str | None]) -> list[str | None]:
    """Return the extras of the stores that a hybrid store delegates to."""
    children = store.get(key)
    if not isinstance(children, list):
        return []
    kinds = [child.get("type") for child in children if isinstance(child, dict)]
    return [_known(f"{key}[].type", kind, table) for kind in kinds if isinstance(kind, str)]

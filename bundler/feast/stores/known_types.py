"""The types of stores, registries and engines that Feast 0.61 to 0.67 know, and the pip extra that each needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Kinds:
    """What may stand in one place: type -> extra (None: plain Feast has all it needs).

    ``ending`` is that of a full class name, which may stand there too; empty where Feast takes none.
    """

    extras: Mapping[str, str | None]
    ending: str = ""


# The types that Feast 0.61 to 0.67 know.
ONLINE: Final = Kinds(
    {
        "none": None,
        "sqlite": None,
        "remote": None,
        "hybrid": None,  # and what its stores need
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
        "chronon": None,  # it asks a server by HTTP
    },
    "OnlineStore",
)
OFFLINE: Final = Kinds(
    {
        "dask": None,
        "file": None,
        "remote": None,
        "hybrid": None,  # and what its stores need
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
        "chronon": None,
    },
    "OfflineStore",
)
REGISTRY: Final = Kinds({"file": None, "sql": None, "remote": "grpcio", "snowflake.registry": "snowflake"})
REGISTRY_STORE: Final = Kinds(
    {
        "FileRegistryStore": None,
        "HDFSRegistryStore": None,
        "S3RegistryStore": "aws",
        "GCSRegistryStore": "gcp",
        "AzureRegistryStore": "azure",
    },
    "RegistryStore",
)
ENGINE: Final = Kinds(
    {
        "local": None,
        "snowflake.engine": "snowflake",
        "lambda": "aws",
        "k8s": "k8s",
        "spark.engine": "spark",
        "spark_application": "k8s",
        "ray.engine": "ray",
        "flink.engine": "flink",
        "trino": "trino",
        "trino.engine": "trino",
    },
    "Engine",
)
FEATURE_SERVER: Final = Kinds({"local": None, "mcp": "mcp"})
AUTH: Final = Kinds({"no_auth": None, "kubernetes": "k8s", "oidc": None})

# Feast's own classes by their full name, as repos from before the short names still have them.
CLASSES: Final = {
    "AthenaOfflineStore": "aws",
    "CassandraOnlineStore": "cassandra",
    "ClickhouseOfflineStore": "clickhouse",
    "CouchbaseColumnarOfflineStore": "couchbase",
    "DuckDBOfflineStore": "duckdb",
    "ElasticSearchOnlineStore": "elasticsearch",
    "FaissOnlineStore": "faiss",
    "HazelcastOnlineStore": "hazelcast",
    "HbaseOnlineStore": "hbase",
    "MilvusOnlineStore": "milvus",
    "MongoDBOnlineStore": "mongodb",
    "MsSqlServerOfflineStore": "mssql",
    "MySQLOnlineStore": "mysql",
    "PostgreSQLOfflineStore": "postgres",
    "PostgreSQLOnlineStore": "postgres",
    "QdrantOnlineStore": "qdrant",
    "RedisOnlineStore": "redis",
    "SingleStoreOnlineStore": "singlestore",
    "SparkOfflineStore": "spark",
    "TrinoOfflineStore": "trino",
}
# (place, type) -> the release that brought it, where that is after 0.61.
SINCE: Final = {
    ("offline_store.type", "oracle"): "0.62",
    ("offline_store.type", "hybrid"): "0.66",
    ("online_store.type", "aerospike"): "0.65",
    ("online_store.type", "scylladb"): "0.65",
    ("batch_engine.type", "trino"): "0.67",
    ("batch_engine.type", "trino.engine"): "0.67",
    ("offline_store.type", "chronon"): "0.67",
    ("online_store.type", "chronon"): "0.67",
    ("batch_engine.type", "flink.engine"): "0.64",
    ("batch_engine.type", "spark_application"): "0.65",
}

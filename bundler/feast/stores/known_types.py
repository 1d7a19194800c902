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

# Extras whose packages start Java.
JAVA_EXTRAS: Final = frozenset({"spark", "flink"})

# Feast's own classes by their full name, as repos from before the short names still have them.
CLASSES: Final = {
    "AerospikeOnlineStore": "aerospike",
    "AthenaOfflineStore": "aws",
    "AzBlobRegistryStore": "azure",
    "BigQueryOfflineStore": "gcp",
    "BigtableOnlineStore": "gcp",
    "CassandraOnlineStore": "cassandra",
    "ClickhouseOfflineStore": "clickhouse",
    "CouchbaseColumnarOfflineStore": "couchbase",
    "CouchbaseOnlineStore": "couchbase",
    "DatastoreOnlineStore": "gcp",
    "DuckDBOfflineStore": "duckdb",
    "DynamoDBOnlineStore": "aws",
    "ElasticSearchOnlineStore": "elasticsearch",
    "FaissOnlineStore": "faiss",
    "FlinkComputeEngine": "flink",
    "GCSRegistryStore": "gcp",
    "HazelcastOnlineStore": "hazelcast",
    "HbaseOnlineStore": "hbase",
    "KubernetesComputeEngine": "k8s",
    "LambdaComputeEngine": "aws",
    "MilvusOnlineStore": "milvus",
    "MongoDBOnlineStore": "mongodb",
    "MsSqlServerOfflineStore": "mssql",
    "MySQLOnlineStore": "mysql",
    "OracleOfflineStore": "oracle",
    "PostgreSQLOfflineStore": "postgres",
    "PostgreSQLOnlineStore": "postgres",
    "QdrantOnlineStore": "qdrant",
    "RayComputeEngine": "ray",
    "RayOfflineStore": "ray",
    "RedisOnlineStore": "redis",
    "RedshiftOfflineStore": "aws",
    "S3RegistryStore": "aws",
    "ScyllaDBOnlineStore": "scylladb",
    "SingleStoreOnlineStore": "singlestore",
    "SnowflakeComputeEngine": "snowflake",
    "SnowflakeOfflineStore": "snowflake",
    "SnowflakeOnlineStore": "snowflake",
    "SparkApplicationComputeEngine": "k8s",
    "SparkComputeEngine": "spark",
    "SparkOfflineStore": "spark",
    "TrinoComputeEngine": "trino",
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

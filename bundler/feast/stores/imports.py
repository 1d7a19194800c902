"""What an image must be able to import for a feature store: its servers, its stores' clients, its authentication."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bundler.feast.stores import known_types
from bundler.feast.stores.feature_store_yaml import FILE_NAME, FeatureStoreConfig
from bundler.model.descriptor import Json
from bundler.model.json_document import mapping


@dataclass(frozen=True, order=True)
class Import:
    """Something that must import; ``what`` says for people what needs it.

    ``how`` is "module" (``name`` is its dotted name), "class" (``module.TABLE:type``, where the table is Feast's own
    from type to class and a class of the site's own stands for itself), "driver" (a SQLAlchemy dialect) or "java"
    (``name`` is that program's: nothing of Python needs it before a session is started).
    """

    what: str
    how: str
    name: str

    @property
    def is_own(self) -> bool:
        """Whether it is a class of the site's own, which may also lie in the feature repo: Feast looks there, too."""
        kind = self.name.partition(":")[2]
        return kind.rpartition(".")[2][:1].isupper() and "." in kind and not kind.startswith("feast.")


# What `feast serve` and its siblings import only once they start.
_SERVERS: Final = (
    ("online server", "feast.feature_server"),
    ("offline server", "feast.offline_server"),
    ("registry server, gRPC", "feast.registry_server"),
    ("registry server, REST", "feast.api.registry.rest.rest_registry_server"),
    ("UI", "feast.ui_server"),
    ("metrics of the online server", "prometheus_client"),
)
_AUTH: Final[Mapping[str, tuple[str, ...]]] = {
    "kubernetes": (
        "feast.permissions.auth.kubernetes_token_parser",
        "feast.permissions.client.kubernetes_auth_client_manager",
    ),
    "oidc": (
        "feast.permissions.auth.oidc_token_parser",
        "feast.permissions.client.oidc_authentication_client_manager",
    ),
}
_TABLES: Final = "feast.repo_config."
_REGISTRY_STORES: Final = "feast.infra.registry.registry.REGISTRY_STORE_CLASS_FOR_TYPE"
_BUCKETS: Final[Mapping[str, str]] = {"s3": "S3RegistryStore", "gs": "GCSRegistryStore"}
# Feast itself reads the first as the second; another driver stands in the URL as it is.
_DIALECTS: Final[Mapping[str, str]] = {"postgresql": "postgresql+psycopg"}
_ANY_DIALECT: Final = ("postgresql+psycopg", "mysql+pymysql")
# Where the module is missing, Feast continues without a message.
_SWITCHED_ON: Final[Mapping[str, str]] = {"openlineage": "openlineage.client", "mlflow": "mlflow"}


def imports_for(config: FeatureStoreConfig, *, auth: str, engine: str | None = None) -> frozenset[Import]:
    """Return what the image of a feature repo must import; ``auth`` and ``engine`` are what the deployment chose."""
    servers = (Import(what, "module", name) for what, name in _SERVERS)
    tokens = (Import(f"authentication {auth}", "module", name) for name in _AUTH.get(auth, ()))
    clients = (*_classes(config, engine), *_drivers(config), *_java(config, engine))
    return frozenset((*servers, *tokens, *clients, *_switched_on(config)))


def _classes(config: FeatureStoreConfig, engine: str | None) -> Iterator[Import]:
    registry_store = config.registry.get("registry_store_type") or _bucket(config)
    rows: tuple[tuple[str, str, Json], ...] = (
        ("online_store", _TABLES + "ONLINE_STORE_CLASS_FOR_TYPE", config.online_type),
        ("offline_store", _TABLES + "OFFLINE_STORE_CLASS_FOR_TYPE", config.offline_type),
        ("registry", _TABLES + "REGISTRY_CLASS_FOR_TYPE", config.registry_type),
        ("registry's store", _REGISTRY_STORES, registry_store),
        ("batch_engine", _TABLES + "BATCH_ENGINE_CLASS_FOR_TYPE", engine or config.section("batch_engine").get("type")),
        ("provider", "feast.infra.provider.PROVIDERS_CLASS_FOR_TYPE", config.provider),
        *(
            ("online_store", _TABLES + "ONLINE_STORE_CLASS_FOR_TYPE", kind)
            for kind in config.children("online_store").values()
        ),
        *(
            ("offline_store", _TABLES + "OFFLINE_STORE_CLASS_FOR_TYPE", kind)
            for kind in config.children("offline_store").values()
        ),
    )
    for what, table, kind in rows:
        if isinstance(kind, str) and (what, kind) != ("online_store", "none"):
            yield Import(f"{FILE_NAME}: {what} {kind}", "class", f"{table}:{kind}")


def _bucket(config: FeatureStoreConfig) -> str | None:
    schemes = [url.scheme for url in config.registry_urls if url.key == "path"]
    return _BUCKETS.get(schemes[0]) if schemes and config.registry_type == "file" else None


def _drivers(config: FeatureStoreConfig) -> Iterator[Import]:
    """Yield the drivers of a SQL registry; both that Feast brings where only the cluster knows which it is."""
    for url in config.registry_urls if config.registry_type == "sql" else ():
        dialect = url.scheme or url.text
        dialects = _ANY_DIALECT if url.is_variable else (_DIALECTS.get(dialect, dialect),)
        yield from (Import(f"{FILE_NAME}: registry sql", "driver", dialect) for dialect in dialects)


def _java(config: FeatureStoreConfig, engine: str | None) -> Iterator[Import]:
    own = engine or config.section("batch_engine").get("type")
    stores = (config.offline_type, *config.children("offline_store").values())
    rows = [("offline_store", kind, known_types.OFFLINE) for kind in stores] + [
        ("batch_engine", own, known_types.ENGINE)
    ]
    for what, kind, kinds in rows:
        # A session of Spark Connect is somewhere else, and PySpark speaks gRPC with it.
        if isinstance(kind, str) and "spark.remote" not in mapping(config.section(what).get("spark_conf")):
            extra = kinds.extras.get(kind) or known_types.CLASSES.get(kind.rpartition(".")[2])
            if extra in known_types.JAVA_EXTRAS:
                yield Import(f"{FILE_NAME}: {what} {kind}", "java", "java")


def _switched_on(config: FeatureStoreConfig) -> Iterator[Import]:
    for name, module in _SWITCHED_ON.items():
        if config.section(name).get("enabled") is True:
            yield Import(f"{FILE_NAME}: {name}", "module", module)
    if config.section("feature_server").get("type") == "mcp" or config.has_mcp:
        yield Import(f"{FILE_NAME}: mcp", "module", "fastapi_mcp")

"""Which pip extras of Feast a deployment needs: its stores' clients, its servers, its authentication."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from packaging.version import Version

from bundler.errors import SpecError, SpecProblems
from bundler.feast.stores import known_types
from bundler.feast.stores.feature_store_yaml import FeatureStoreConfig, RegistryUrl
from bundler.feast.stores.known_types import Kinds
from bundler.model import yaml_document
from bundler.model.descriptor import Json

# SQLAlchemy is part of Feast, its drivers are not. Feast reads postgresql:// as postgresql+psycopg://.
_SQL_DRIVERS: Final[Mapping[str, str | None]] = {
    "postgresql": "postgres",
    "postgresql+psycopg": "postgres",
    "mysql+pymysql": "mysql",
    "mariadb+pymysql": "mysql",
    "sqlite": None,
    "sqlite+pysqlite": None,
}
_SQL_DIALECTS: Final = ("postgresql", "mysql", "mariadb", "sqlite")
_OBJECT_STORES: Final[Mapping[str, str]] = {"s3": "aws", "gs": "gcp"}
# Without grpcio `feast serve_registry` ends at once, with --no-grpc too; from 0.66 on `feast ui` does as well. The
# other servers run on plain Feast.
_SERVERS: Final[Mapping[str, str]] = {"registry": "grpcio", "ui": "grpcio"}
# Switched off without a message, or with a warning that nobody reads, where their package is missing.
_SWITCHED_ON: Final[Mapping[str, str]] = {"openlineage": "openlineage", "mlflow": "mlflow"}


def extras_for(
    config: FeatureStoreConfig, *, servers: frozenset[str], auth: str, engine: str | None = None, release: str = ""
) -> frozenset[str]:
    """Return the extras for stores, servers (of "registry", "online", "offline", "ui") and authentication.

    ``engine`` is the type of a batch engine that stands in the place of the file's own. With a ``release`` of Feast,
    what that release has not yet is refused.

    Raises:
        SpecError: a type that Feast does not know, with the nearest one that it does.
    """
    asked = _Search(config, release)
    of_deployment = "deployment.batchEngine.type" if engine else ""
    own_engine = config.section("batch_engine").get("type")
    extras = frozenset(
        extra
        for extra in (
            asked.brought_by("online_store.type", config.online_type, known_types.ONLINE),
            asked.brought_by("offline_store.type", config.offline_type, known_types.OFFLINE),
            asked.brought_by("registry.registry_type", config.registry_type, known_types.REGISTRY),
            asked.brought_by(
                "registry.registry_store_type", config.registry.get("registry_store_type"), known_types.REGISTRY_STORE
            ),
            asked.brought_by("batch_engine.type", engine or own_engine, known_types.ENGINE, of_deployment),
            asked.brought_by(
                "feature_server.type", config.section("feature_server").get("type"), known_types.FEATURE_SERVER
            ),
            asked.brought_by("auth.type", auth, known_types.AUTH),
            *asked.all_by("online_store.type", config.children("online_store"), known_types.ONLINE),
            *asked.all_by("offline_store.type", config.children("offline_store"), known_types.OFFLINE),
            *asked.drivers(),
            *(_SERVERS.get(server) for server in servers),
            *(extra for name, extra in _SWITCHED_ON.items() if config.section(name).get("enabled") is True),
            "mcp" if config.has_mcp else None,
        )
        if extra is not None
    )
    asked.problems.refuse()
    return extras


@dataclass(frozen=True)
class _Search:
    config: FeatureStoreConfig
    release: str
    problems: SpecProblems = field(default_factory=SpecProblems)

    def brought_by(self, place: str, value: Json, kinds: Kinds, shown: str = "") -> str | None:
        """Return what ``_brought_by`` does, and note what it refuses."""
        with self.problems.noted():
            return self._brought_by(place, value, kinds, shown)
        return None

    def drivers(self) -> tuple[str | None, ...]:
        """Return the extras of the registry's drivers, and note what is refused of them."""
        with self.problems.noted():
            return tuple(_registry_drivers(self.config))
        return ()

    def _brought_by(self, place: str, value: Json, kinds: Kinds, shown: str) -> str | None:
        """Return the extra of what stands in a place; None also where nothing does, or a class of the site's own.

        ``shown`` tells people where it stands, if it is not in that place of the file.
        """
        if not isinstance(value, str):
            return None
        shown = shown or self.config.place(*place.split("."))
        if value in kinds.extras:
            self._check_release(place, value, shown)
            return kinds.extras[value]
        module, _, name = value.rpartition(".")
        if kinds.ending and module and name.endswith(kinds.ending):
            # The package of a class of the site's own is among its requirements.
            return known_types.CLASSES.get(name) if module.startswith("feast.") else None
        near = [*difflib.get_close_matches(value, kinds.extras, n=1), *(kind for kind in kinds.extras if value in kind)]
        hint = f" Did you mean {near[0]!r}?" if value and near else ""
        own = f"; or the full name of a class of your own, ending in {kinds.ending}" if kinds.ending else ""
        raise SpecError(
            f"{shown}: {value!r:.80} is not a type that Feast knows.{hint}",
            remedy=f"Known: {', '.join(sorted(kinds.extras))}{own}.",
        )

    def all_by(self, place: str, values: Mapping[yaml_document.Path, Json], kinds: Kinds) -> Iterator[str | None]:
        """Yield the extra of each of several, by where they are, that mean the same as what stands in a place."""
        return (self.brought_by(place, value, kinds, self.config.place(*path)) for path, value in values.items())

    def _check_release(self, place: str, value: str, shown: str) -> None:
        since = known_types.SINCE.get((place, value))
        if since and self.release and Version(self.release).release < Version(since).release:
            raise SpecError(
                f"{shown}: Feast {self.release} has no {value!r}, Feast {since} is the first that has.",
                remedy="Set feast.version to a later release, or choose another type.",
            )


def _registry_drivers(config: FeatureStoreConfig) -> Iterator[str | None]:
    for url in config.registry_urls:
        if config.registry_type == "file":
            yield _OBJECT_STORES.get(url.scheme)
        elif config.registry_type == "sql":
            yield from _sql_drivers(config.place("registry", url.key), url)


def _sql_drivers(place: str, url: RegistryUrl) -> Iterator[str | None]:
    dialect, _, driver = url.scheme.partition("+")
    if url.scheme in _SQL_DRIVERS:
        yield _SQL_DRIVERS[url.scheme]
    elif url.is_variable:
        yield from ("postgres", "mysql")  # which one is known on the cluster only; both are small
    elif dialect in _SQL_DIALECTS and driver:
        return  # a driver of the site's own choice is among its requirements, and so is a dialect of its own below
    elif dialect in _SQL_DIALECTS or not dialect or difflib.get_close_matches(dialect, _SQL_DIALECTS):
        # Never with the path, which may hold a password. A bare mysql:// is a driver that has no wheels.
        raise SpecError(
            f"{place}: {url.scheme or 'this value'} is not a database with a known driver.",
            remedy="Use a URL that begins with postgresql+psycopg://, mysql+pymysql:// or sqlite:///.",
        )

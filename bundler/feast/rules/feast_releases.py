"""Faults of Feast's own releases that a deployment would run into: each rule has the releases that it applies to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bundler.feast.deployment.tenant import Tenant
from bundler.feast.deployment.topology import FeatureStoreRole
from bundler.feast.stores.feature_store_yaml import FeatureStoreConfig
from bundler.model.descriptor import Json
from bundler.model.findings import Finding, Status
from bundler.model.json_document import mapping

_VERSION: Final = re.compile(r"(\d+)\.(\d+)")


@dataclass(frozen=True)
class FeastReleases:
    """Releases of Feast as (major, minor), both ends included; ``first`` is None for every release before ``last``."""

    first: tuple[int, int] | None
    last: tuple[int, int]

    def holds(self, version: str) -> bool:
        """Tell whether a version is one of these releases; one that is not a version is not."""
        match = _VERSION.match(version)
        if match is None:
            return False
        release = (int(match[1]), int(match[2]))
        return release <= self.last and (self.first is None or self.first <= release)


# The registry server's gRPC interceptor takes the Project message of ApplyProject for a name. Raise `last` for each
# release that still does; a release that is fixed ends the range.
SHARED_REGISTRY_REFUSES_APPLY: Final = FeastReleases((0, 65), (0, 67))
# A Flight ticket is known only to the pod that gave it, so a read fails that reaches another pod.
OFFLINE_SERVER_KEEPS_STATE_IN_ONE_POD: Final = FeastReleases(None, (0, 66))
# The registry's BLOB columns hold 64 KiB in MySQL; later releases use LONGBLOB.
MYSQL_REGISTRY_FILLS_UP: Final = FeastReleases(None, (0, 64))


def shared_registry_problems(tenant: Tenant) -> Iterator[str]:
    """Yield why tenants cannot `feast apply` to a shared registry that authenticates its callers."""
    version = tenant.feast_version
    if tenant.role is not FeatureStoreRole.SHARED_REGISTRY or tenant.auth == "no_auth":
        return
    if SHARED_REGISTRY_REFUSES_APPLY.holds(version):
        yield (
            f"deployment.topology: with Feast {version} and auth {tenant.auth}, `feast apply` of every tenant fails: "
            "the registry server takes the Project message for a name. Set feast.version to 0.64, or use "
            "auth: {type: no_auth} with networkPolicies."
        )


def offline_server(resource: Json, version: str | None) -> Finding:
    """Return whether remote reads from the offline server would fail; ``version`` is Feast's, None where unknown."""
    check, title = "feature-store.offline-server", "Every pod of the offline server can answer every read"
    spec = mapping(mapping(resource).get("spec"))
    services = mapping(spec.get("services"))
    if not isinstance(mapping(services.get("offlineStore")).get("server"), dict):
        return Finding(check, title, Status.NOT_APPLICABLE, ("the FeatureStore has no offline server",))
    if not _has_several_pods(spec, services):
        return Finding(check, title, Status.PASS, ("one pod",))
    if version is not None and not OFFLINE_SERVER_KEEPS_STATE_IN_ONE_POD.holds(version):
        return Finding(check, title, Status.PASS, (f"several pods with Feast {version}",))
    problem = (
        f"several pods with Feast {version or '(unknown version)'}: up to 0.66 a read that reaches another pod than "
        'the one that prepared it fails with "Flight not found"'
    )
    remedy = "Use one pod, or Feast 0.67 or later in servers and clients."
    return Finding(check, title, Status.MANUAL, (problem,), remedy)


def mysql_registry(config: FeatureStoreConfig, version: str) -> Finding:
    """Return whether a Feast registry in MySQL would fill up."""
    check, title = "feast-registry.mysql", "The Feast registry has room to grow"
    path = str(config.registry.get("path", ""))
    if config.registry_type != "sql" or not path.startswith(("mysql", "mariadb")):
        return Finding(check, title, Status.NOT_APPLICABLE, ("the Feast registry is not in MySQL",))
    if not MYSQL_REGISTRY_FILLS_UP.holds(version):
        return Finding(check, title, Status.PASS, (f"Feast {version} stores it in LONGBLOB columns",))
    problem = (
        f"{config.place('registry')}: Feast {version} stores it in BLOB columns of 64 KiB, which are full after about "
        "2,000 materializations; then no server starts"
    )
    return Finding(check, title, Status.MANUAL, (problem,), "Set feast.version to 0.65 or later, or use PostgreSQL.")


def _has_several_pods(spec: Mapping[str, Json], services: Mapping[str, Json]) -> bool:
    replicas = spec.get("replicas")
    return (isinstance(replicas, int) and replicas > 1) or bool(mapping(services.get("scaling")).get("autoscaling"))

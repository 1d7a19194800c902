"""What an operator release can do: read from its CRD, or known by its version where no CRD is at hand.

Part of the offline half.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Final

from bundler.errors import SpecError
from bundler.feast.operator.crd import FeatureStoreCrd

# Releases as (major, minor). Nothing below was tried before OLDEST; NEWEST is the newest release that was read.
_Release = tuple[int, int]
OLDEST: Final[_Release] = (0, 59)
NEWEST: Final[_Release] = (0, 66)
_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.\d+)?")


@dataclass(frozen=True)
class Capabilities:
    """What fields and store types a FeatureStore may use, and what the operator makes of it."""

    packaged: bool
    """``feastProjectDir.packaged``: the repo of the image is the working directory of its servers."""
    init_image: bool
    """``services.initImage``: the CR, not only the operator's environment, chooses the init containers' image."""
    apply_on_init: bool
    """``services.runFeastApplyOnInit``: an init container runs ``feast apply``, unless this is false."""
    no_auth: bool
    """``authz.noAuth``: leaving ``authz`` out means Kubernetes authorization; before, it meant none."""
    oidc_issuer: bool
    """``authz.oidc.issuerUrl`` and the other optional OIDC settings."""
    scaling: bool
    """``replicas``, ``services.scaling``, ``services.podDisruptionBudgets``, affinity and spread constraints."""
    pod_annotations: bool
    """``services.podAnnotations``."""
    tolerations: bool
    """``services.tolerations`` and ``services.nodeSelector``."""
    batch_engine: bool
    """``batchEngine``."""
    serving: bool
    """``onlineStore.serving`` (metrics by category, push batching, MCP) and ``materialization``."""
    lineage: bool
    """``openlineage``."""
    online_disabled: bool
    """``onlineStore.disabled``: before, an online server is always made."""
    cron_job_account: bool
    """The CronJob has a ServiceAccount of its own; before, it shares the servers'."""
    online_stores: frozenset[str]
    """Types that ``onlineStore.persistence.store`` takes."""
    offline_stores: frozenset[str]
    """Types that ``offlineStore.persistence.store`` takes."""
    registry_stores: frozenset[str]
    """Types that ``registry.local.persistence.store`` takes."""

    @classmethod
    def from_crd(cls, crd: FeatureStoreCrd) -> Capabilities:
        """Read what the CRD has; this is the truth, where :meth:`for_version` is knowledge."""
        flags = {name: crd.has(path) for name, path in _FIELDS.items()}
        return cls(
            **flags,
            # No field shows it. Both came with the same release, and a ServiceAccount too many does no harm.
            cron_job_account=flags["packaged"],
            online_stores=crd.enum("services.onlineStore.persistence.store.type"),
            offline_stores=crd.enum("services.offlineStore.persistence.store.type"),
            registry_stores=crd.enum("services.registry.local.persistence.store.type"),
        )

    @classmethod
    def for_version(cls, version: str) -> Capabilities:
        """Return what is known of a release, e.g. ``0.61.0``; one newer than all that are known counts as the newest.

        Raises:
            SpecError: the text is not a version, or a release older than 0.59.
        """
        release = _release(version)
        flags = {name: release >= since for name, since in _SINCE.items()}
        return cls(
            **flags,
            online_stores=_stores(_ONLINE_STORES, release),
            offline_stores=_stores(_OFFLINE_STORES, release),
            registry_stores=_stores(_REGISTRY_STORES, release),
        )


# Capability -> the field of the CRD, below spec, that shows it.
_FIELDS: Final = {
    "packaged": "feastProjectDir.packaged",
    "init_image": "services.initImage",
    "apply_on_init": "services.runFeastApplyOnInit",
    "no_auth": "authz.noAuth",
    "oidc_issuer": "authz.oidc.issuerUrl",
    "scaling": "services.scaling",
    "pod_annotations": "services.podAnnotations",
    "tolerations": "services.tolerations",
    "batch_engine": "batchEngine",
    "serving": "services.onlineStore.serving",
    "lineage": "openlineage",
    "online_disabled": "services.onlineStore.disabled",
}
# Capability -> the first release that has it.
_SINCE: Final[dict[str, _Release]] = {
    "packaged": (0, 66),
    "init_image": (0, 66),
    "apply_on_init": (0, 62),
    "no_auth": (0, 66),
    "oidc_issuer": (0, 62),
    "scaling": (0, 61),
    "pod_annotations": (0, 62),
    "tolerations": (0, 67),
    "batch_engine": (0, 60),
    "serving": (0, 63),
    "lineage": (0, 63),
    "online_disabled": (0, 66),
    "cron_job_account": (0, 66),
}
# Store type -> the first release that has it.
_ONLINE_STORES: Final[dict[str, _Release]] = {
    **dict.fromkeys(
        (
            *("snowflake.online", "redis", "datastore", "dynamodb", "bigtable", "postgres", "cassandra", "mysql"),
            *("hazelcast", "singlestore", "hbase", "elasticsearch", "qdrant", "couchbase.online", "milvus", "hybrid"),
            "mongodb",
        ),
        OLDEST,
    ),
    **dict.fromkeys(("aerospike", "scylladb"), (0, 65)),
}
_OFFLINE_STORES: Final[dict[str, _Release]] = {
    **dict.fromkeys(
        (
            *("snowflake.offline", "bigquery", "redshift", "spark", "postgres", "trino", "athena", "mssql"),
            *("couchbase.offline", "clickhouse", "ray"),
        ),
        OLDEST,
    ),
    "oracle": (0, 62),
    "hybrid": (0, 66),
}
_REGISTRY_STORES: Final[dict[str, _Release]] = dict.fromkeys(("sql", "snowflake.registry"), OLDEST)


def _release(version: str) -> _Release:
    match = _VERSION.match(version)
    if not match:
        raise SpecError(f"operator.version: {version!r} is not a version.", remedy="Write e.g. 0.61.0.")
    release = (int(match[1]), int(match[2]))
    if release < OLDEST:
        raise SpecError(
            f"operator.version: {version} is older than {'.'.join(map(str, OLDEST))}, the oldest that is supported.",
            remedy="Upgrade the operator.",
        )
    return release


def _stores(since: dict[str, _Release], release: _Release) -> frozenset[str]:
    return frozenset(name for name, first in since.items() if release >= first)


def differences(known: Capabilities, actual: Capabilities) -> tuple[str, ...]:
    """Return how a CRD differs from what is expected, a line each: for a cluster whose operator is not the bundle's."""
    return tuple(
        f"{field.name}: expected {_shown(getattr(known, field.name))}, found {_shown(getattr(actual, field.name))}"
        for field in fields(Capabilities)
        if getattr(known, field.name) != getattr(actual, field.name)
    )


def _shown(value: bool | frozenset[str]) -> str:  # noqa: FBT001  (the type of a field, not a switch)
    return ", ".join(sorted(value)) if isinstance(value, frozenset) else str(value).lower()

"""Addresses of stores, as a pod would understand them: those that mean the pod itself, or nothing, or the internet."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bundler.feast.stores.feature_store_yaml import FILE_NAME, FeatureStoreConfig
from bundler.model import yaml_document
from bundler.model.descriptor import Json
from bundler.model.findings import Finding, Status

_CHECK: Final = "feature-store.addresses"
_TITLE: Final = "Stores have addresses that pods reach"
_SECTIONS: Final = ("online_store", "offline_store", "registry", "batch_engine", "openlineage", "mlflow", "auth")
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://(?:[^/@\s]*@)?(\[[0-9a-f:]+\]|[^/:,?\s]+)", re.IGNORECASE)
_HOST_AND_PORT: Final = re.compile(r"(?:^|,)\s*(\[[0-9a-f:]+\]|[A-Za-z0-9_.-]+):\d{2,5}(?=$|[,/\s])")
# Keys whose whole value is a host, or hosts.
_HOST_KEY: Final = re.compile(r"(^|_)(hosts?|hostname|server|endpoint|endpoint_url|bootstrap_servers|contact_points)$")
_BARE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*|\[?[0-9a-fA-F:]*:[0-9a-fA-F:]+\]?")
_OF_DOCKER: Final = re.compile(
    r"(host|gateway|kubernetes)\.docker\.internal|host\.containers\.internal|.*\.lima\.internal"
)
_OF_CLOUDS: Final = re.compile(
    r"(.*\.)?(amazonaws\.com(\.cn)?|googleapis\.com|windows\.net|azure\.com|snowflakecomputing\.com|mongodb\.net"
    r"|cloud\.qdrant\.io|zillizcloud\.com|upstash\.io|neon\.tech|supabase\.co|elastic-cloud\.com|astra\.datastax\.com)"
)
_BUCKET: Final = re.compile(r"(s3|s3a|gs|abfss?|az|wasbs?)://")
# Types whose service is one of a cloud, whatever their address.
_CLOUD_TYPES: Final = frozenset(
    {
        "dynamodb",
        "datastore",
        "bigtable",
        "snowflake.online",
        "snowflake.offline",
        "snowflake.registry",
        "snowflake.engine",
        "bigquery",
        "redshift",
        "athena",
        "lambda",
    }
)


@dataclass(frozen=True)
class _Remark:
    """A remark on one place; ``fails``: no pod can reach it."""

    place: str
    what: str
    remedy: str
    fails: bool = False


def check(config: FeatureStoreConfig, namespace: str) -> tuple[Finding, ...]:
    """Return what is known of the addresses in a feature_store.yaml; values are never shown, only hosts."""
    remarks = tuple(_remarks(config, namespace))
    if not remarks:
        return (Finding(_CHECK, _TITLE, Status.PASS, ("none is this machine's own, or one of a cloud",)),)
    failing = [remark for remark in remarks if remark.fails]
    others = [remark for remark in remarks if not remark.fails]
    return (
        *([_finding(failing, Status.FAIL)] if failing else []),
        *([_finding(others, Status.MANUAL)] if others else []),
    )


def _finding(remarks: list[_Remark], status: Status) -> Finding:
    evidence = tuple(dict.fromkeys(f"{remark.place}: {remark.what}" for remark in remarks))
    return Finding(_CHECK, _TITLE, status, evidence, " ".join(dict.fromkeys(remark.remedy for remark in remarks)))


def _remarks(config: FeatureStoreConfig, namespace: str) -> Iterator[_Remark]:
    for section in _SECTIONS:
        value = config.document.get(section)
        kind = _kind(config, section)
        for path, text in _texts(value, (section,)):
            place = f"{FILE_NAME}:{config.source.line(path)}: {yaml_document.dotted(path)}"
            key = next(step for step in reversed(path) if isinstance(step, str))
            yield from _of_text(text, key, place, kind, namespace)
        if kind in _CLOUD_TYPES:
            place = f"{FILE_NAME}:{config.source.line((section,))}: {section}"
            yield _Remark(place, f"{kind} is a service of a cloud", _REACH)
    if config.offline_type == "duckdb":
        place = f"{FILE_NAME}:{config.source.line(('offline_store',))}: offline_store"
        yield _Remark(place, "DuckDB downloads its extensions, e.g. for S3, when it first needs them", _EXTENSIONS)
    if config.section("embedding_model"):
        place = f"{FILE_NAME}:{config.source.line(('embedding_model',))}: embedding_model"
        yield _Remark(place, "a model is downloaded from its hub at the first search", _MODEL)
    registry = config.registry.get("path")
    if config.registry_type == "file" and isinstance(registry, str) and registry.startswith("$"):
        place = f"{FILE_NAME}:{config.source.line(('registry',))}: registry"
        yield _Remark(place, f"{registry} is known at the site only", _VARIABLE)


_REACH: Final = "Make sure that pods of the disconnected cluster reach it, or choose a store that runs there."
_EXTENSIONS: Final = "Read files of the image or of a volume, or put the extensions into the image."
_MODEL: Final = "Put the model into the feature repo or on a volume, and name its folder."
_VARIABLE: Final = (
    "Give it an absolute path on a volume, or a bucket: s3:// needs the extra aws in feast.extras, gs:// needs gcp."
)
_POD_ITSELF: Final = (
    "Write the name of the store's Service, e.g. redis.stores.svc, or a ${VARIABLE} that a Secret fills in."
)


def _kind(config: FeatureStoreConfig, section: str) -> str:
    kinds = {"online_store": config.online_type, "offline_store": config.offline_type, "registry": config.registry_type}
    return kinds.get(section) or str(config.section(section).get("type", ""))


def _texts(value: Json, path: yaml_document.Path) -> Iterator[tuple[yaml_document.Path, str]]:
    if isinstance(value, str):
        yield path, value
    rows = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in rows:
        yield from _texts(inner, (*path, key))


def _of_text(text: str, key: str, place: str, kind: str, namespace: str) -> Iterator[_Remark]:
    if _BUCKET.match(text):
        scheme = text.partition("://")[0]
        yield _Remark(place, f"a bucket ({scheme}://)", f"For a store like S3 at the site, set its endpoint. {_REACH}")
        return
    for host in dict.fromkeys(_hosts(text, key)):
        if remark := _of_host(host.strip("[]").rstrip(".").lower(), place, kind, namespace):
            yield remark


def _hosts(text: str, key: str) -> Iterator[str]:
    if text.startswith("sqlite"):
        return
    yield from _URL.findall(text)
    if "://" not in text:
        yield from _HOST_AND_PORT.findall(text)
        if _HOST_KEY.search(key):
            yield from (host for host in re.split(r"[,\s]+", text) if _BARE.fullmatch(host))


def _of_host(host: str, place: str, kind: str, namespace: str) -> _Remark | None:
    if _means_itself(host):
        # The servers of one FeatureStore are containers of one pod, so that a remote store may be a neighbour.
        return _Remark(place, f"{host} is the pod itself ({kind})", _POD_ITSELF, fails=kind != "remote")
    if _OF_DOCKER.fullmatch(host):
        return _Remark(place, f"{host} is a name of Docker on a developer's machine ({kind})", _POD_ITSELF, fails=True)
    if _OF_CLOUDS.fullmatch(host):
        return _Remark(place, f"{host} is a service of a cloud", _REACH)
    if host.endswith((".local", ".localdomain", ".lan", ".home")) and not host.endswith(".cluster.local"):
        return _Remark(place, f"{host} is a name of a local network ({kind})", _POD_ITSELF)
    if "." not in host and ":" not in host and not host.isdigit():
        remedy = f"Make sure that the namespace {namespace} has a Service of that name, or write NAME.NAMESPACE.svc."
        return _Remark(place, f"{host} is a name of one part, as in docker-compose ({kind})", remedy)
    return None


def _means_itself(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def refused(config: FeatureStoreConfig, namespace: str) -> tuple[str, ...]:
    """Return what no pod can reach, each with its place and its remedy."""
    return tuple(
        f"{remark.place}: {remark.what}. {remark.remedy}"
        for remark in dict.fromkeys(_remarks(config, namespace))
        if remark.fails
    )

"""The types that the spec is written in: names, references, versions, and mappings closed to unknown keys.

Connected half only (pydantic is compiled).
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bundler.model import cron
from bundler.model.names import DNS_LABEL, TAG
from bundler.model.platform import Platform
from bundler.model.reference import ImageRef

DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
# The operator derives "feast-NAME-registry-rest" (a Service, 63 characters, RFC 1035) and "feast-NAME" (a CronJob, 52).
FEATURE_STORE_NAME = r"^[a-z0-9]([-a-z0-9]{0,41}[a-z0-9])?$"
_HOST = r"(localhost|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?"
_COMPONENT = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY = rf"^{_COMPONENT}(/{_COMPONENT})*$"

# A registry, or a part of one.
PLACE = rf"^{_HOST}(/{_COMPONENT})*/?$"
EXTRA = r"^-?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"
CRON = r"^(@\w+|\S+( \S+){4})$"

# Feast's own rule for projects, and the operator's.
PROJECT = r"^[A-Za-z0-9][A-Za-z0-9_]*$"
ABSOLUTE_PATH = r"^/[^:]*$"
PERCENT_OR_NUMBER = r"^[0-9]+%?$"
QUANTITY = r"^[0-9]+(\.[0-9]+)?([KMGTPE]i?|[numk]|[eE][0-9]+)?$"
KEY = r"^[-._a-zA-Z0-9]{1,253}$"
VIEW = r"^\w+$"

DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"

# A package of apt, dnf or microdnf, optionally with a version; it becomes a word of a shell command.
SYSTEM_PACKAGE = r"^[A-Za-z0-9][A-Za-z0-9+._:~=-]*$"

# Pattern -> what it asks for, which completes the sentence "VALUE is not ...".
PATTERNS: Final = {
    DNS_LABEL: "a DNS label (at most 63 of a-z, 0-9 and '-', not at an end)",
    DNS_SUBDOMAIN: "a Kubernetes object name (at most 253 of a-z, 0-9, '-' and '.')",
    FEATURE_STORE_NAME: "a FeatureStore name (at most 43 of a-z, 0-9 and '-', as the operator derives longer names)",
    REPOSITORY: "an image repository (lower case, e.g. team/feature-server)",
    PLACE: "a registry host, or host and path (e.g. quay.io/openshift, without https://)",
    EXTRA: "a pip extra (e.g. redis; -redis switches it off)",
    CRON: "a cron schedule (five fields, e.g. '*/30 * * * *', or @hourly)",
    PROJECT: "a Feast project (letters, digits and '_', not at the beginning)",
    ABSOLUTE_PATH: "an absolute path without ':'",
    PERCENT_OR_NUMBER: "a number or percents (e.g. 50%)",
    QUANTITY: "a quantity (e.g. 500m, 2, 512Mi)",
    KEY: "a key of a ConfigMap or Secret (letters, digits, '-', '_' and '.')",
    DAY: "a day (e.g. 2027-01-31)",
    VIEW: "the name of a feature view",
    SYSTEM_PACKAGE: "a package of the base's package manager (e.g. libgeos-c1v5, or NAME=VERSION)",
    TAG: "a version that can be an image tag (at most 128 of A-Z, a-z, 0-9, '_', '.' and '-')",
}


def _checked_reference(text: str) -> str:
    ImageRef.parse(text)
    return text


def _checked_platform(text: str) -> str:
    return str(Platform.parse(text))


def _checked_day(text: str) -> str:
    dt.date.fromisoformat(text)  # raises ValueError, as pydantic wants it
    return text


def _checked_version(text: str) -> str:
    try:
        return str(Version(text))
    except InvalidVersion as error:
        msg = f"not a version: {text!r} (expected e.g. 0.61.0)"
        raise ValueError(msg) from error


def _checked_requirement(text: str) -> str:
    try:
        Requirement(text)
    except InvalidRequirement as error:
        msg = f"not a requirement: {text!r} (expected e.g. pandas>=2)"
        raise ValueError(msg) from error
    return text


_LAST_PORT: Final = 65535


def _checked_host(text: str) -> str:
    if not re.fullmatch(_HOST, text):
        msg = f"not a registry host: {text!r} (expected HOST or HOST:PORT, without https:// and without a path)"
        raise ValueError(msg)
    port = text.rpartition(":")[2]
    if port.isdigit() and not 0 < int(port) <= _LAST_PORT:
        msg = f"not a registry host: {text!r} (a port is at most {_LAST_PORT})"
        raise ValueError(msg)
    return text


Reference = Annotated[str, AfterValidator(_checked_reference)]
PlatformText = Annotated[str, AfterValidator(_checked_platform)]
VersionText = Annotated[str, AfterValidator(_checked_version)]
RequirementText = Annotated[str, AfterValidator(_checked_requirement)]
Host = Annotated[str, AfterValidator(_checked_host)]
DnsLabel = Annotated[str, Field(pattern=DNS_LABEL)]
DnsSubdomain = Annotated[str, Field(pattern=DNS_SUBDOMAIN)]
Repository = Annotated[str, Field(pattern=REPOSITORY)]
Place = Annotated[str, Field(pattern=PLACE)]
Extra = Annotated[str, Field(pattern=EXTRA)]
SystemPackage = Annotated[str, Field(pattern=SYSTEM_PACKAGE)]
Day = Annotated[str, Field(pattern=DAY), AfterValidator(_checked_day)]
Schedule = Annotated[str, Field(pattern=CRON), AfterValidator(cron.checked)]


def require_one(debian: str | None, image: str | None) -> None:
    """Raise ``ValueError`` where an image is not named by exactly one of a Debian suite and a reference."""
    if (debian is None) == (image is None):
        msg = "exactly one of 'debian' and 'image' must be given"
        raise ValueError(msg)


class Part(BaseModel):
    """A mapping of the spec: immutable, closed to unknown keys, no silent conversion of types."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, populate_by_name=True, use_attribute_docstrings=True
    )

"""BundleSpec: what the user asks for in ``bundle.yaml``.

Connected half only (pydantic is compiled). Paths stay as written; they are relative to the folder of the spec file.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from bundler.model.platform import Platform
from bundler.model.reference import ImageRef

# RFC 1123 label, which namespaces and Secrets must be.
_DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
# The operator derives "feast-NAME-registry-rest" (a Service, 63 characters, RFC 1035) and "feast-NAME" (a CronJob, 52).
_FEATURE_STORE_NAME = r"^[a-z0-9]([-a-z0-9]{0,41}[a-z0-9])?$"
_REGISTRY_HOST = re.compile(r"(localhost|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?")
_REPOSITORY = r"^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$"

_CRON = r"^(@\w+|\S+( \S+){4})$"
_TAG = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"

# Pattern -> what it asks for, in words that finish the sentence "VALUE is not ...".
PATTERNS: Final = {
    _DNS_LABEL: "a DNS label (at most 63 of a-z, 0-9 and '-', not at an end)",
    _DNS_SUBDOMAIN: "a Kubernetes object name (at most 253 of a-z, 0-9, '-' and '.')",
    _FEATURE_STORE_NAME: "a FeatureStore name (at most 43 of a-z, 0-9 and '-', as the operator derives longer names)",
    _REPOSITORY: "an image repository (lower case, e.g. team/feature-server)",
    _CRON: "a cron schedule (five fields, e.g. '*/30 * * * *', or @hourly)",
    _TAG: "a version that can be an image tag (at most 128 of A-Z, a-z, 0-9, '_', '.' and '-')",
}


def _checked_reference(text: str) -> str:
    ImageRef.parse(text)
    return text


def _checked_platform(text: str) -> str:
    return str(Platform.parse(text))


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


def _checked_host(text: str) -> str:
    if not _REGISTRY_HOST.fullmatch(text):
        msg = f"not a registry host: {text!r} (expected HOST or HOST:PORT, without https:// and without a path)"
        raise ValueError(msg)
    return text


Reference = Annotated[str, AfterValidator(_checked_reference)]
PlatformText = Annotated[str, AfterValidator(_checked_platform)]
VersionText = Annotated[str, AfterValidator(_checked_version)]
RequirementText = Annotated[str, AfterValidator(_checked_requirement)]
Host = Annotated[str, AfterValidator(_checked_host)]
DnsLabel = Annotated[str, Field(pattern=_DNS_LABEL)]
DnsSubdomain = Annotated[str, Field(pattern=_DNS_SUBDOMAIN)]
Repository = Annotated[str, Field(pattern=_REPOSITORY)]


class _Part(BaseModel):
    """A mapping of the spec: immutable, closed to unknown keys, no silent conversion of types."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, populate_by_name=True, use_attribute_docstrings=True
    )


class FeatureRepo(_Part):
    """The feature repo that is baked into the image."""

    path: str = "feature_repo"
    """Folder with feature_store.yaml, relative to the spec."""
    include: tuple[str, ...] = Field(default=("**",), strict=False)
    """Patterns (as in .gitignore) of the files to take."""
    exclude: tuple[str, ...] = Field(default=(), strict=False)
    """Patterns of files to leave out, besides those in .bundlerignore."""


class Feast(_Part):
    """The Feast release and the pip extras it is installed with."""

    version: VersionText
    """Feast release to serve with, e.g. 0.61.0."""
    extras: tuple[str, ...] = Field(default=(), strict=False)
    """Pip extras besides those that the stores need, which are added by themselves."""


class Base(_Part):
    """What the image is built on: a Debian suite, or any image."""

    debian: DnsLabel | None = None
    """Debian suite, e.g. bookworm: a root file system made from Debian's packages, no registry needed."""
    image: str | None = None
    """Image reference, or a skopeo transport such as docker-daemon:NAME:TAG or oci-archive:FILE."""

    @model_validator(mode="after")
    def _one_of(self) -> Base:
        if (self.debian is None) == (self.image is None):
            msg = "exactly one of 'debian' and 'image' must be given"
            raise ValueError(msg)
        return self


class RelocationRule(_Part):
    """Puts the images of a source under another path of the internal registry than they have at the source."""

    source: str
    """Registry host, or host and path, e.g. quay.io/openshift."""
    path: Repository
    """Path below the registry's prefix that stands in its place."""


class Registry(_Part):
    """The internal registry of the disconnected site."""

    host: Host
    """HOST or HOST:PORT."""
    prefix: Repository | None = None
    """Path below which every repository is put."""
    rules: tuple[RelocationRule, ...] = Field(default=(), strict=False)
    """Where images lie that are not to keep their path; the longest source that fits counts."""


class Operator(_Part):
    """The Feast operator on the cluster."""

    version: VersionText
    """Release of the operator, e.g. 0.61.0."""
    preinstalled: bool = False
    """The cluster has the operator already: neither its manifests nor its images enter the bundle."""
    manifest: str | None = None
    """File or URL of the release's install.yaml; for a preinstalled operator, of its CRD."""


class StoreSecret(_Part):
    """Names the Secret from which the operator reads a store's parameters."""

    secret: DnsSubdomain
    """Name of the Secret; its key is the store's type."""


class KubectlImage(_Part):
    """The image that the CronJob runs kubectl from."""

    debian: DnsLabel | None = None
    """Bake a minimal image from this Debian suite's packages."""
    image: Reference | None = None
    """Mirror this image, which must have kubectl on its PATH."""

    @model_validator(mode="after")
    def _one_of(self) -> KubectlImage:
        if (self.debian is None) == (self.image is None):
            msg = "exactly one of 'debian' and 'image' must be given"
            raise ValueError(msg)
        return self


class CronJob(_Part):
    """When features are applied and materialized."""

    schedule: Annotated[str, Field(pattern=_CRON)] = "*/30 * * * *"
    """Cron expression, in the time zone below."""
    time_zone: str | None = Field(default=None, alias="timeZone")
    """IANA name, e.g. Europe/Berlin; the cluster's own where absent."""
    concurrency_policy: Literal["Allow", "Forbid", "Replace"] = Field(default="Forbid", alias="concurrencyPolicy")
    """What happens when a run is due while one is under way."""
    suspend: bool = False
    """Create the CronJob without letting it run by itself."""
    kubectl: KubectlImage = KubectlImage(debian="bookworm")
    """Where the CronJob's kubectl comes from."""


class Deployment(_Part):
    """The FeatureStore on the cluster."""

    name: Annotated[str, Field(pattern=_FEATURE_STORE_NAME)]
    """Name of the FeatureStore; the operator derives every other name from it."""
    namespace: DnsLabel = "feast"
    """Namespace of the FeatureStore."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", alias="imagePullPolicy"
    )
    """When nodes pull images."""
    image_pull_secrets: tuple[DnsSubdomain, ...] = Field(default=(), strict=False, alias="imagePullSecrets")
    """Names of the registry credentials, put on every ServiceAccount that starts a pod."""
    credentials_secret: DnsSubdomain | None = Field(default=None, alias="credentialsSecret")
    """Secret that holds the value of each ${VARIABLE} of feature_store.yaml; by default NAME-credentials."""
    online_store: StoreSecret | None = Field(default=None, alias="onlineStore")
    """Secret of the online store, by default NAME-online-store."""
    offline_store: StoreSecret | None = Field(default=None, alias="offlineStore")
    """Secret of the offline store, by default NAME-offline-store."""
    registry: StoreSecret | None = None
    """Secret of the registry's database, by default NAME-registry."""
    cron_job: CronJob = Field(default=CronJob(), alias="cronJob")
    """Schedule of apply and materialize."""


class Mirror(_Part):
    """Where to read the images of a registry from instead of that registry."""

    source: str
    """Registry host, or host and path, that references name."""
    location: str
    """Registry host, or host and path, that is read instead."""
    insecure: bool = False
    """The mirror speaks plain HTTP, or TLS that is not verified."""


class BundleSpec(_Part):
    """Everything that ``bundle.yaml`` can say."""

    name: DnsLabel
    """Name of the bundle."""
    version: Annotated[str, Field(pattern=_TAG)]
    """Version of the bundle, and the tag of the image it builds."""
    source: str | None = None
    """Where the feature repo's source is kept, e.g. https://git.example/team/features; a label of the image."""
    repo: FeatureRepo = FeatureRepo()
    feast: Feast
    base: Base
    requirements: tuple[str, ...] = Field(default=(), strict=False)
    """Requirement files of the feature repo, relative to the spec."""
    packages: tuple[RequirementText, ...] = Field(default=(), strict=False)
    """Further requirements, e.g. pandas>=2."""
    wheels: str = "wheels"
    """Folder of wheels to prefer over the index; need not exist."""
    platforms: Annotated[tuple[PlatformText, ...], Field(min_length=1, strict=False)] = ("linux/amd64",)
    """Platforms that the image is built for and that are mirrored."""
    registry: Registry
    image: Repository | None = None
    """Repository of the baked image below the registry's prefix; by default NAME-feature-server."""
    operator: Operator
    deployment: Deployment
    images: tuple[Reference, ...] = Field(default=(), strict=False)
    """Further images to mirror."""
    mirrors: tuple[Mirror, ...] = Field(default=(), strict=False)
    """Mirrors to read source images from."""

    @property
    def image_repository(self) -> str:
        """Repository of the baked image, without registry and prefix."""
        return self.image or f"{self.name}-feature-server"

    @property
    def target_platforms(self) -> tuple[Platform, ...]:
        """The platforms as values, in the order in which they are written, each once."""
        return tuple(Platform.parse(text) for text in dict.fromkeys(self.platforms))

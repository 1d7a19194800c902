"""BundleSpec: what the user asks for in ``bundle.yaml``.

Connected half only (pydantic is compiled). Paths stay as written; they are relative to the folder of the spec file.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from bundler.model.companions import CompanionPolicy, ImageWish
from bundler.model.deployment_spec import Deployment
from bundler.model.names import TAG
from bundler.model.platform import Platform
from bundler.model.reference import ImageRef
from bundler.model.spec_parts import (
    PROJECT,
    Day,
    DnsLabel,
    DnsSubdomain,
    Extra,
    Host,
    Part,
    Place,
    PlatformText,
    Reference,
    Repository,
    RequirementText,
    SystemPackage,
    VersionText,
    require_one,
)


class FeatureRepoSpec(Part):
    """The feature repo that is baked into the image."""

    path: str = "feature_repo"
    """Folder with feature_store.yaml, relative to the spec."""
    include: tuple[str, ...] = Field(default=("**",), strict=False)
    """Patterns (as in .gitignore) of the files to take."""
    exclude: tuple[str, ...] = Field(default=(), strict=False)
    """Patterns of files to leave out, besides those in .bundlerignore."""


class AllowedSecret(Part):
    """A file that looks like a secret or a leftover and is baked on purpose."""

    path: Annotated[str, Field(min_length=1)]
    """Pattern (as in .gitignore) of files in the feature repo, or of the spec and requirement files beside it."""
    reason: Annotated[str, Field(min_length=3)]
    """Why; the reviewer reads it in the checklist."""


class SecretsSpec(Part):
    """What is baked although it looks like a secret."""

    allow: tuple[AllowedSecret, ...] = Field(default=(), strict=False)
    """Findings that are meant, each with its reason."""


class AllowedVulnerabilitySpec(Part):
    """A known vulnerability that is accepted."""

    id: Annotated[str, Field(min_length=3)]
    """Its id, or one of its other ids, e.g. CVE-2026-1234."""
    reason: Annotated[str, Field(min_length=3)]
    """Why; the reviewer reads it in the checklist."""
    until: Day | None = None
    """Last day on which it is accepted, e.g. 2027-01-31; without end where absent."""


class VulnerabilitiesSpec(Part):
    """Which known vulnerabilities end a build."""

    fail_on: Literal["unknown", "low", "medium", "high", "critical"] | None = Field(default=None, alias="failOn")
    """The least severity that ends it; 'unknown' is the lowest: every one ends it. None where absent."""
    allow: tuple[AllowedVulnerabilitySpec, ...] = Field(default=(), strict=False)
    """What is accepted, each with its reason."""


class Feast(Part):
    """The Feast release and the pip extras it is installed with."""

    version: VersionText
    """Feast release to serve with, e.g. 0.61.0."""
    extras: tuple[Extra, ...] = Field(default=(), strict=False)
    """Pip extras besides those that the stores need, which are added by themselves; ``-NAME`` switches one off.

    What is switched off must come from elsewhere: the image is tried for what its stores import.
    """


class BaseImageSpec(Part):
    """What the image is built on: a Debian suite, or any image."""

    debian: DnsLabel | None = None
    """Debian suite, e.g. bookworm: a root file system made from Debian's packages, no registry needed."""
    image: str | None = None
    """Image reference, or a skopeo transport such as docker-daemon:NAME:TAG or oci-archive:FILE."""

    @model_validator(mode="after")
    def _one_of(self) -> BaseImageSpec:
        require_one(self.debian, self.image)
        return self


class RelocationRule(Part):
    """Puts the images of a source under another path of the internal registry than they have at the source."""

    source: Place
    """Registry host, or host and path, e.g. quay.io/openshift."""
    path: Repository
    """Path below the registry's prefix that stands in its place."""


class Registry(Part):
    """The internal registry of the disconnected site."""

    host: Host
    """HOST or HOST:PORT."""
    prefix: Repository | None = None
    """Path below which every repository is put."""
    rules: tuple[RelocationRule, ...] = Field(default=(), strict=False)
    """Where images lie that are not to keep their path; the longest source that fits counts."""
    flatten: bool = False
    """The registry knows no nested paths: below the prefix, team/app becomes team-app."""


class Subscription(Part):
    """The subscription by which the Operator Lifecycle Manager installed the operator."""

    name: DnsSubdomain
    """Name of the Subscription."""
    namespace: DnsLabel
    """Its namespace."""


class Operator(Part):
    """The Feast operator on the cluster."""

    version: VersionText
    """Release of the operator, e.g. 0.61.0."""
    preinstalled: bool = False
    """The cluster has the operator already: neither its manifests nor its images enter the bundle."""
    manifest: str | None = None
    """File or URL of the release's install.yaml; for a preinstalled operator, of its CRD."""
    subscription: Subscription | None = None
    """For an operator that OLM installed: a patch makes it use the bundle's images as its defaults."""

    @model_validator(mode="after")
    def _installed_once(self) -> Operator:
        if self.subscription and not self.preinstalled:
            msg = "'subscription' belongs to a preinstalled operator: the bundle would install a second one"
            raise ValueError(msg)
        return self


class Mirror(Part):
    """Where to read the images of a registry from instead of that registry."""

    source: Place
    """Registry host, or host and path, that references name."""
    location: Place
    """Registry host, or host and path, that is read instead."""
    insecure: bool = False
    """The mirror speaks plain HTTP, or TLS that is not verified."""


class ExtraImage(Part):
    """A further image to mirror: its reference alone, or with what is mirrored beside it."""

    image: Reference
    """Image reference."""
    companions: Literal[True, False, "required"] = True
    """Signatures, attestations and bills of materials beside it: true where there are any, false, or required."""
    platforms: Literal["all"] | None = None
    """all: keep an index with all its platforms, byte for byte, so that its signature holds."""

    @property
    def wish(self) -> ImageWish:
        """The same, as the mirror understands it."""
        policy = CompanionPolicy(self.companions if isinstance(self.companions, str) else str(self.companions).lower())
        return ImageWish(policy, all_platforms=self.platforms == "all")

    @model_serializer(mode="wrap")
    def _short(self, serialize: SerializerFunctionWrapHandler) -> object:
        """Return the reference alone where that is all: it means the same, and locks compare what the spec means."""
        value = serialize(self)
        return value["image"] if value.keys() == {"image"} else value


def _extra_image(value: object) -> object:
    if isinstance(value, str):
        ImageRef.parse(value)
        return {"image": value}
    return value


class TenantSpec(Deployment):
    """One of several FeatureStores: what it says itself, and the rest from the deployment."""

    namespace: DnsLabel = ""
    """Namespace of the FeatureStore; by default its name."""
    project: Annotated[str, Field(pattern=PROJECT)] | None = None
    """Project of the tenant, where it shares the image and so cannot have a feature_store.yaml of its own."""
    repo: FeatureRepoSpec | None = None
    """Feature repo of the tenant, which gets an image of its own; by default it shares the bundle's."""


class BundleSpec(Part):
    """Everything that ``bundle.yaml`` can say."""

    name: DnsLabel
    """Name of the bundle."""
    version: Annotated[str, Field(pattern=TAG)]
    """Version of the bundle, and the tag of the image it builds."""
    source: str | None = None
    """Where the feature repo's source is kept, e.g. https://git.example/team/features; a label of the image."""
    repo: FeatureRepoSpec = FeatureRepoSpec()
    secrets: SecretsSpec = SecretsSpec()
    vulnerabilities: VulnerabilitiesSpec = VulnerabilitiesSpec()
    feast: Feast
    base: BaseImageSpec
    requirements: tuple[str, ...] = Field(default=(), strict=False)
    """Requirement files of the feature repo, relative to the spec."""
    packages: tuple[RequirementText, ...] = Field(default=(), strict=False)
    """Further requirements, e.g. pandas>=2."""
    wheels: str = "wheels"
    """Folder of wheels to prefer over the index; need not exist."""
    system_packages: tuple[SystemPackage, ...] = Field(default=(), strict=False)
    """Packages of the base's own kind (Debian's, or Red Hat's) that the image gets; an image as base needs 'engine'."""
    sdists: tuple[RequirementText, ...] = Field(default=(), strict=False)
    """Requirements that exist as source only (docopt==0.6.2): an engine builds them; needs 'engine'."""
    engine: Literal["none", "docker", "podman"] = "none"
    """Container engine that bakes the image by dockerfiles/Dockerfile.j2; by default it is baked without one."""
    platforms: Annotated[tuple[PlatformText, ...], Field(min_length=1, strict=False)] = ("linux/amd64",)
    """Platforms that the image is built for and that are mirrored."""
    registry: Registry
    image: Repository | None = None
    """Repository of the baked image below the registry's prefix; by default NAME-feature-server."""
    operator: Operator
    deployment: Deployment
    tenants: tuple[TenantSpec, ...] = Field(default=(), strict=False)
    """Several FeatureStores of one kind: each takes from 'deployment' what it does not say itself."""
    images: tuple[
        Annotated[ExtraImage, BeforeValidator(_extra_image, json_schema_input_type=Reference | ExtraImage)], ...
    ] = Field(default=(), strict=False)
    """Further images to mirror: a reference each, or a mapping with 'image', 'companions' and 'platforms'."""
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

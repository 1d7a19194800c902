"""Bills of materials in CycloneDX 1.6 (ECMA-424), the same bytes for the same image."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from bundler.model import licences
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.model.reference import ImageRef

MEDIA_TYPE: Final = "application/vnd.cyclonedx+json"
_SPEC: Final = "1.6"
# Any fixed namespace will do (RFC 9562, version 5): the serial number then depends on the image alone.
_NAMESPACE: Final = "6f1d7f55-7a8e-5d0f-9d8c-3c5a0b5f2a41"


@dataclass(frozen=True)
class PythonPackage:
    """A Python distribution; ``wheel`` and ``sha256`` where it was installed from a wheel that was fetched."""

    name: str
    version: str
    wheel: str = ""
    sha256: str = ""
    licences: tuple[str, ...] = ()
    """Identifiers or an expression of SPDX, or names as the maker wrote them."""

    @property
    def purl(self) -> str:
        """Its package URL; names as PyPI normalizes them (PEP 503)."""
        name = re.sub(r"[-_.]+", "-", self.name).lower()
        return f"pkg:pypi/{_quoted(name)}@{_quoted(self.version)}"


@dataclass(frozen=True)
class DebianPackage:
    """A package of Debian or a distribution made from it; ``suite`` e.g. bookworm, ``distribution`` e.g. ubuntu."""

    name: str
    version: str
    architecture: str
    suite: str
    distribution: str = "debian"
    licences: tuple[str, ...] = ()
    source: str = ""
    """NAME@VERSION of the source package, where it is another."""

    @property
    def purl(self) -> str:
        """Its package URL."""
        qualifiers = f"arch={_quoted(self.architecture)}" + (f"&distro={_quoted(self.suite)}" if self.suite else "")
        qualifiers += f"&upstream={_quoted(self.source)}" if self.source else ""  # by which databases name it
        return f"pkg:deb/{_quoted(self.distribution)}/{_quoted(self.name)}@{_quoted(self.version)}?{qualifiers}"


@dataclass(frozen=True)
class ComponentFile:
    """A file of the feature repo."""

    path: str
    digest: Digest


@dataclass(frozen=True)
class RepoComponent:
    """The feature repo in an image: its Feast project, the digest over it, its files."""

    project: str
    digest: Digest
    files: tuple[ComponentFile, ...]


@dataclass(frozen=True)
class BakedImage:
    """The image that the bill is for.

    ``digest`` is that of its manifest for ``platform``, ``created`` in RFC 3339. ``complete`` tells whether the bill
    names all that is in the image: of a foreign base image only the Python packages are known.
    """

    reference: ImageRef
    digest: Digest
    platform: Platform
    created: str
    tool: str
    tool_version: str
    complete: bool

    @property
    def purl(self) -> str:
        """Its package URL (purl-spec, type ``oci``)."""
        return _image_purl(self.reference, self.digest, f"arch={_quoted(self.platform.architecture)}&")


def _image_purl(reference: ImageRef, digest: Digest, architecture: str = "") -> str:
    name = reference.repository.rpartition("/")[2]
    place = quote(reference.name, safe=":/")  # in a qualifier, slashes stay
    tag = f"&tag={_quoted(reference.tag)}" if reference.tag else ""
    return f"pkg:oci/{_quoted(name)}@{_quoted(str(digest))}?{architecture}repository_url={place}{tag}"


def cyclonedx(
    image: BakedImage,
    *,
    python: Iterable[PythonPackage] = (),
    debian: Iterable[DebianPackage] = (),
    repo: RepoComponent | None = None,
) -> str:
    """Return the bill of materials of an image as JSON."""
    components = [_library(package.purl, package.name, package.version, package.licences) for package in set(debian)]
    components += [_python(package) for package in set(python)]
    if repo:
        components.append(_repo(repo))
    subject = _container(image.reference, image.digest, image.purl)
    metadata = _metadata(image.created, image.tool, image.tool_version, subject)
    return _text(metadata, components, "complete" if image.complete else "incomplete")


def _text(metadata: dict[str, Json], components: list[dict[str, Json]], aggregate: str) -> str:
    """Return a bill; its serial number depends on its subject and its components alone."""
    import uuid  # noqa: PLC0415  (start-up time of what only reads bills)

    match metadata:
        case {"component": {"bom-ref": str(reference)}}:
            pass
        case _:
            raise AssertionError("a bill has a subject")
    components.sort(key=lambda component: str(component["bom-ref"]))
    below: list[Json] = [component["bom-ref"] for component in components]
    value: dict[str, Json] = {
        "$schema": f"http://cyclonedx.org/schema/bom-{_SPEC}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": _SPEC,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.UUID(_NAMESPACE), reference + json.dumps(below))}",
        "version": 1,
        "metadata": metadata,
        "components": list(components),
        "dependencies": [{"ref": reference, "dependsOn": below}],
        "compositions": [{"aggregate": aggregate, "assemblies": [reference]}],
    }
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _metadata(created: str, tool: str, version: str, subject: dict[str, Json]) -> dict[str, Json]:
    tools: Json = {"components": [{"type": "application", "name": tool, "version": version}]}
    return {"timestamp": created, "tools": tools, "component": subject}


def _container(reference: ImageRef, digest: Digest, purl: str) -> dict[str, Json]:
    return {
        "type": "container",
        "bom-ref": purl,
        "name": reference.name,
        "version": reference.tag or str(digest),
        "purl": purl,
        "hashes": _hashes(digest.hex),
    }


@dataclass(frozen=True)
class BundleIdentity:
    """The bundle that the bill is for; ``created`` in RFC 3339."""

    name: str
    version: str
    lock: Digest
    created: str
    tool: str
    tool_version: str


@dataclass(frozen=True)
class BundledComponent:
    """An image of a bundle by its name at the site: what its root is, and path and digest of each bill of it."""

    reference: ImageRef
    digest: Digest
    bills: tuple[tuple[str, Digest], ...] = ()

    def to_json(self) -> dict[str, Json]:
        """Return the component of CycloneDX."""
        component = _container(self.reference, self.digest, _image_purl(self.reference, self.digest))
        external: list[Json] = [
            {"type": "bom", "url": path, "hashes": _hashes(digest.hex)} for path, digest in sorted(self.bills)
        ]
        return {**component, "externalReferences": external} if external else component


def of_bundle(bundle: BundleIdentity, images: Iterable[BundledComponent]) -> str:
    """Return the bill of materials of a bundle: its images."""
    subject: dict[str, Json] = {
        "type": "application",
        "bom-ref": f"bundle:{bundle.name}@{bundle.version}",
        "name": bundle.name,
        "version": bundle.version,
        "properties": [{"name": "bundler:lock", "value": str(bundle.lock)}],
    }
    metadata = _metadata(bundle.created, bundle.tool, bundle.tool_version, subject)
    return _text(metadata, [image.to_json() for image in images], "complete")


def _library(purl: str, name: str, version: str, declared: tuple[str, ...]) -> dict[str, Json]:
    library: dict[str, Json] = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    return {**library, "licenses": _licences(declared)} if declared else library


def _licences(declared: tuple[str, ...]) -> list[Json]:
    """Return the licences as the schema has them: one expression, or identifiers and names."""
    if len(declared) == 1 and licences.is_expression(declared[0]):
        return [{"expression": declared[0], "acknowledgement": "declared"}]
    return [
        {"license": {"id" if licences.is_spdx(name) else "name": name, "acknowledgement": "declared"}}
        for name in declared
    ]


def _python(package: PythonPackage) -> dict[str, Json]:
    component = _library(package.purl, package.name, package.version, package.licences)
    if package.sha256:
        component["hashes"] = _hashes(package.sha256)
    if package.wheel:
        component["properties"] = [{"name": "bundler:wheel", "value": package.wheel}]
    return component


def _repo(repo: RepoComponent) -> dict[str, Json]:
    reference = f"feature-repo:{repo.project}"
    files: list[Json] = [
        {"type": "file", "bom-ref": f"{reference}/{file.path}", "name": file.path, "hashes": _hashes(file.digest.hex)}
        for file in sorted(repo.files, key=lambda file: file.path)
    ]
    return {
        "type": "application",
        "bom-ref": reference,
        "name": repo.project,
        "version": str(repo.digest),
        "description": "Feast feature repo",
        "hashes": _hashes(repo.digest.hex),
        "components": files,
    }


def _hashes(sha256: str) -> list[Json]:
    return [{"alg": "SHA-256", "content": sha256}]


def _quoted(text: str) -> str:
    """Percent-encode a part of a package URL (purl-spec): colons stay, slashes do not."""
    return quote(text, safe=":")

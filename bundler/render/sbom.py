"""Bills of materials in CycloneDX 1.6 (ECMA-424), the same bytes for the same image."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.model.reference import ImageRef

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

    @property
    def purl(self) -> str:
        """Its package URL."""
        qualifiers = f"arch={_quoted(self.architecture)}" + (f"&distro={_quoted(self.suite)}" if self.suite else "")
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
        name = self.reference.repository.rpartition("/")[2]
        place = quote(self.reference.name, safe=":/")  # in a qualifier, slashes stay
        tag = f"&tag={_quoted(self.reference.tag)}" if self.reference.tag else ""
        arch = _quoted(self.platform.architecture)
        return f"pkg:oci/{_quoted(name)}@{_quoted(str(self.digest))}?arch={arch}&repository_url={place}{tag}"


def cyclonedx(
    image: BakedImage,
    *,
    python: Iterable[PythonPackage] = (),
    debian: Iterable[DebianPackage] = (),
    repo: RepoComponent | None = None,
) -> str:
    """Return the bill of materials of an image as JSON."""
    import uuid  # noqa: PLC0415  (start-up time of what only reads bills)

    components = [_library(package.purl, package.name, package.version) for package in set(debian)]
    components += [_python(package) for package in set(python)]
    if repo:
        components.append(_repo(repo))
    components.sort(key=lambda component: str(component["bom-ref"]))
    below: list[Json] = [component["bom-ref"] for component in components]
    value: dict[str, Json] = {
        "$schema": f"http://cyclonedx.org/schema/bom-{_SPEC}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": _SPEC,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.UUID(_NAMESPACE), image.purl + json.dumps(below))}",
        "version": 1,
        "metadata": {
            "timestamp": image.created,
            "tools": {"components": [{"type": "application", "name": image.tool, "version": image.tool_version}]},
            "component": {
                "type": "container",
                "bom-ref": image.purl,
                "name": image.reference.name,
                "version": image.reference.tag or str(image.digest),
                "purl": image.purl,
                "hashes": _hashes(image.digest.hex),
            },
        },
        "components": list(components),
        "dependencies": [{"ref": image.purl, "dependsOn": below}],
        "compositions": [{"aggregate": "complete" if image.complete else "incomplete", "assemblies": [image.purl]}],
    }
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _library(purl: str, name: str, version: str) -> dict[str, Json]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _python(package: PythonPackage) -> dict[str, Json]:
    component = _library(package.purl, package.name, package.version)
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

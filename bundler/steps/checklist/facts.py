"""What a build knows and a checklist needs, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bundler.kube.manifest_file import ManifestFile
from bundler.model import layout
from bundler.model.digest import Digest
from bundler.model.findings import Finding, Report
from bundler.model.manifest import BundledImage

BUILD_AGAIN: Final = "Build the bundle again."


@dataclass(frozen=True)
class PythonFacts:
    """What Python packages one platform's image got; counts of distributions."""

    platform: str
    python: str
    installed: int
    of_base: int


@dataclass(frozen=True)
class RepoFacts:
    """The feature repo in an image: number of files, digest over them, folder in the image, the image's reference."""

    files: int
    digest: Digest
    folder: str
    image: str


@dataclass(frozen=True)
class OperatorFacts:
    """The operator: its release, and whether the cluster has it already."""

    version: str
    preinstalled: bool


@dataclass(frozen=True)
class ChecklistFacts:
    """What a build knows.

    ``created`` in RFC 3339. ``manifests`` is path below ``manifests/`` -> file. ``base`` is the reference and
    digest of the base image. ``checks`` are findings of other steps, with their evidence, and ``rehearsal`` is what was
    run, if there was a rehearsal.
    """

    name: str
    version: str
    created: str
    tool: str
    feast_version: str
    registry: str
    base: str
    lock: Digest
    signed: bool
    repos: tuple[RepoFacts, ...]
    operator: OperatorFacts
    python: tuple[PythonFacts, ...]
    images: tuple[BundledImage, ...]
    manifests: Mapping[str, ManifestFile]
    checks: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    rehearsal: Report | None = None

    @property
    def registry_host(self) -> str:
        """The registry without its prefix: what one logs in to."""
        return self.registry.partition("/")[0]

    @property
    def file_name(self) -> str:
        """The bundle's file."""
        return layout.file_name(self.name, self.version)

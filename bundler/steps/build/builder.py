"""What builds a feature server's image: one protocol, the job that a builder gets, and what an engine leaves over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bundler.effects.feature_repo import RepoContents
from bundler.model.findings import Finding
from bundler.model.lock import LockedPlatform
from bundler.model.platform import Platform
from bundler.oci.image import Image
from bundler.oci.rootfs import BaseContents
from bundler.steps.build.bake import ImageIdentity
from bundler.steps.sources.unpacked_base import UnpackedBase


@dataclass(frozen=True)
class BuildJob:
    """One image: whose it is (None: the bundle's), on which base, of which packages and repo; ``created`` in s."""

    tenant: str | None
    platform: Platform
    base: UnpackedBase
    row: LockedPlatform
    repo: RepoContents
    identity: ImageIdentity
    created: int


@dataclass
class EngineWork:
    """What an engine has built so far: its build files (path below ``build/`` -> text), and what is in the images."""

    files: dict[str, str] = field(default_factory=dict)
    contents: dict[Platform, BaseContents] = field(default_factory=dict)

    def held(self, platform: Platform, otherwise: BaseContents) -> Mapping[str, str]:
        """Return Debian package -> version of a platform's images."""
        return self.contents.get(platform, otherwise).debian_packages


class ImageBuilder(Protocol):
    """Builds images one job at a time; the blobs that a job needs are in the store."""

    @property
    def work(self) -> EngineWork | None:
        """What a container engine left for the bundle, None where none was used."""

    def bake(self, job: BuildJob) -> Image:
        """Build an image and put it into the store."""

    def findings(self) -> tuple[Finding, ...]:
        """Return what the checklist says of the images built so far."""

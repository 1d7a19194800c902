"""What a container engine is asked to bake, and what it leaves beside the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bundler.effects.feature_repo import RepoContents
from bundler.model.lock import LockedPlatform
from bundler.model.platform import Platform
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
    """What was baked so far: the files it was baked from (path below ``build/`` -> text), and what is in the images."""

    files: dict[str, str] = field(default_factory=dict)
    contents: dict[Platform, BaseContents] = field(default_factory=dict)

    def held(self, platform: Platform, otherwise: BaseContents) -> Mapping[str, str]:
        """Return Debian package -> version of a platform's images."""
        return self.contents.get(platform, otherwise).debian_packages

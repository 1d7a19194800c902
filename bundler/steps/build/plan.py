"""Plan: what a build would do, and what it would fetch of images and of the packages that a lock names."""

from __future__ import annotations

from dataclasses import dataclass

from bundler.effects.blobs import BlobStore
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.model.lock import BundleLock, LockedSource, LockedWheel
from bundler.model.size import size
from bundler.steps.build.steps import BuildStep
from bundler.steps.sources.mirror import MirrorPlan


@dataclass(frozen=True)
class PackagePlan:
    """How many wheels and source distributions there are; sizes in bytes, ``missing`` those that the cache lacks."""

    count: int
    size: int
    missing: int

    @classmethod
    def of(cls, lock: BundleLock, store: BlobStore) -> PackagePlan:
        """Return the plan of a lock; a file that several platforms share is counted once."""
        files: dict[str, LockedWheel | LockedSource] = {}
        for row in lock.platforms:
            named: tuple[LockedWheel | LockedSource, ...] = (*row.wheels, *row.sources, *row.tools)
            files |= {file.sha256: file for file in named}
        missing = (file.size for file in files.values() if not store.has(Digest(file.sha256), file.size))
        return cls(len(files), sum(file.size for file in files.values()), sum(missing))

    def to_json(self) -> dict[str, Json]:
        """Return the plan for ``--dry-run --output json``."""
        return {"count": self.count, "size": self.size, "bytesToFetch": self.missing}


@dataclass(frozen=True)
class BuildPlan:
    """What a build would do: its steps, and what it would fetch; ``packages`` is None without a lock."""

    steps: tuple[BuildStep, ...]
    mirror: MirrorPlan
    packages: PackagePlan | None

    def to_json(self) -> dict[str, Json]:
        """Return the plan for ``--dry-run --output json``; ``bytesToFetch`` is that of the images."""
        packages = self.packages.to_json() if self.packages else None
        return {**self.mirror.to_json(), "packages": packages, "steps": [step.to_json() for step in self.steps]}

    def lines(self) -> tuple[str, ...]:
        """Return the plan for people."""
        steps = (f"{number:>2}. {step.title}" for number, step in enumerate(self.steps, start=1))
        rows = [(image.missing, image.size, image.reference) for image in self.mirror.images]
        total, left_out = (
            self.mirror.bytes_to_fetch,
            "Python packages (there is no bundle.lock yet) and Debian packages",
        )
        if self.packages:
            rows.append((self.packages.missing, self.packages.size, f"{self.packages.count} Python packages"))
            total, left_out = total + self.packages.missing, "Debian packages"
        return (
            *steps,
            *(f"{size(missing):>9} of {size(whole):>9}  {what}" for missing, whole, what in rows),
            f"{size(total):>9} to fetch, without {left_out}",
        )

"""What a build is asked for, and the finished bundle that it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bundler.effects.registry.endpoint import Access
from bundler.model import layout
from bundler.model.descriptor import Json
from bundler.model.size import size
from bundler.model.trust import UNCHECKED, Trust
from bundler.steps.build.pack import Packed, SigningKey
from bundler.steps.build.vulnerability_scan import NOT_ASKED, ScanRequest
from bundler.steps.rehearsal.options import RehearseOptions


@dataclass(frozen=True)
class BuildRequest:
    """What ``bundler build`` was asked; ``epoch`` in seconds is when it is made; ``reader`` reads registries.

    ``sign_images`` asks for signatures of the images that are baked, by ``sign_key``; ``attest_images`` for bills of
    materials and provenance beside them, and ``builder_id`` is the URI that the provenance names. ``scan`` says how
    known vulnerabilities are looked for.
    ``engine`` is the container engine that bakes (``none``: without one), None what the spec says; ``environment`` says
    where it is. ``rehearsal`` says how to run the result before it is packed, None that it is not run. ``base`` is a
    bundle whose layers are left out.
    """

    spec_file: Path
    output_dir: Path
    epoch: int
    locked: bool = False
    sign_key: SigningKey | None = None
    sign_images: bool = False
    attest_images: bool = False
    builder_id: str | None = None
    scan: ScanRequest = NOT_ASKED
    reader: str = "bundler"
    engine: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    rehearsal: RehearseOptions | None = None
    volume_size: int | None = None
    base: Path | None = None
    trust: Trust = UNCHECKED
    access: Access = field(default_factory=Access)


@dataclass(frozen=True)
class Built:
    """A finished bundle."""

    packed: Packed
    lock_file: Path

    def to_json(self) -> dict[str, Json]:
        """Return the result for scripts."""
        return {
            "bundle": str(self.packed.path),
            "volumes": [str(path) for path in self.packed.volumes],
            "size": self.packed.size,
            "digest": str(self.packed.digest),
            "lock": str(self.lock_file),
            "base": base.brief() if (base := self.packed.manifest.base) else None,
            "images": [image.to_json() for image in self.packed.manifest.images],
        }

    def summary(self) -> tuple[str, ...]:
        """Return the result for people: the bundle first, then what is in it."""
        images = (
            f"  {image.role:<15} {size(image.size):>10}  {image.internal}" for image in self.packed.manifest.images
        )
        count, base = len(self.packed.volumes), self.packed.manifest.base
        return (
            f"{self.packed.path}  {size(self.packed.size)}  {layout.MANIFEST} {self.packed.digest}",
            *([f"  in {count} volumes, the last is {self.packed.volumes[-1].name}"] if count else []),
            *([f"  a delta: leaves {len(base.blobs)} layers, {size(base.size)}, to {base}"] if base else []),
            *images,
            f"  next: bundler inspect {self.packed.path}, and the reviewer's CHECKLIST.html inside",
        )

"""Inspect: say what is in a bundle, at any size; everything but the bytes of its layers is checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.effects.archive.reader import Bundle
from bundler.model import layout
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.model.manifest import BundleManifest
from bundler.model.trust import UNCHECKED, Trust
from bundler.steps.bundle import verify

if TYPE_CHECKING:
    from bundler.effects.archive.approvals import JudgedApproval


@dataclass(frozen=True)
class Contents:
    """What a bundle says of itself; ``digest`` is that of ``bundle.json``, which stands for all of it.

    ``volumes`` is the number of files that it lies in.
    """

    path: Path
    size: int
    volumes: int
    digest: Digest
    signed: bool
    manifest: BundleManifest
    approvals: tuple[JudgedApproval, ...] = ()

    @property
    def blobs_size(self) -> int:
        """Bytes of all images, shared layers once."""
        return sum(self.manifest.blobs.values())

    def to_json(self) -> dict[str, Json]:
        """Return the contents for scripts: without the blobs, which ``bundle.json`` lists."""
        manifest = self.manifest
        images: list[Json] = [{**image.to_json(), "layoutName": image.layout_name} for image in manifest.images]
        files: list[Json] = [entry.to_json() for entry in manifest.files if not layout.blob_digest(entry.path)]
        return {
            "file": str(self.path),
            "size": self.size,
            "volumes": self.volumes,
            "digest": str(self.digest),
            "signed": self.signed,
            "approvals": [row.to_json() for row in self.approvals],
            "name": manifest.name,
            "version": manifest.version,
            "tool": manifest.tool,
            "created": manifest.created_text,
            "registry": manifest.registry,
            "images": images,
            "blobs": len(manifest.files) - len(files),
            "blobsSize": self.blobs_size,
            "base": manifest.base.brief() if manifest.base else None,
            "files": files,
        }


def run(path: Path, trust: Trust = UNCHECKED, now: str = "", checklist: Path | None = None) -> Contents:
    """Read what a bundle says of itself; no layer is read.

    Approvals are judged by ``trust`` at the time ``now`` (RFC 3339, UTC). ``checklist`` is a folder that gets the
    checklist with them.

    Raises:
        UsageError: there is no such file.
        VerificationError: it is not a bundle, or anything but the bytes of its layers is damaged; a checklist is asked
            for, and it has none.
    """
    with Bundle.open(path, trust) as bundle:
        verify.require_metadata(bundle)
        content = bundle.read(layout.MANIFEST)
        signed = layout.SIGNATURE in bundle or any(map(layout.is_signature, bundle.members))
        volumes = len(bundle.volumes.files)
        approved = _approvals(bundle, trust, now)
        if checklist:
            from bundler.steps.bundle import approved_checklist  # noqa: PLC0415  (start-up time)

            approved_checklist.write_into(checklist, bundle, approved)
        return Contents(path, bundle.size, volumes, Digest.of(content), signed, bundle.manifest, approved)


def _approvals(bundle: Bundle, trust: Trust, now: str) -> tuple[JudgedApproval, ...]:
    if not any(map(layout.approver, bundle.members)):  # as most bundles
        return ()
    from bundler.effects.archive import approvals  # noqa: PLC0415  (start-up time)

    return approvals.judged(bundle, trust, now)

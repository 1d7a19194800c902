"""Delta: what a bundle leaves out because another one, its base, has brought it before."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from bundler.effects.archive import Bundle
from bundler.errors import SpecError
from bundler.model import layout
from bundler.model.delta import Base
from bundler.model.digest import Digest
from bundler.model.findings import Finding
from bundler.steps.checklist_facts import OFFLINE, manual


def base_of(path: Path, name: str, version: str) -> Base:
    """Return what a bundle can be a base of: its blobs, and those that it leaves to a base of its own.

    ``name`` and ``version`` are those of the delta. Nothing is verified: before a delta is pushed, the registry itself
    is asked what it has.

    Raises:
        UsageError: there is no such bundle.
        VerificationError: it is none, or its first pages are damaged.
        SpecError: the delta would have its name and version.
    """
    with Bundle.open(path) as bundle:
        digest, manifest = Digest.of(bundle.read(layout.MANIFEST)), bundle.manifest
    if (manifest.name, manifest.version) == (name, version):
        raise SpecError(
            f"The base {path} is {name} {version} itself; the delta would take its name.",
            remedy="Raise 'version' in the spec.",
        )
    held = {blob: entry.size for entry in manifest.files if (blob := layout.blob_digest(entry.path))}
    return Base(manifest.name, manifest.version, digest, {**held, **manifest.left_out})


def left_to(base: Base, layers: Collection[Digest]) -> Base | None:
    """Return what is left to a base, None for nothing: layers alone, so that a delta still tells all of its images."""
    found = base.only(layers)
    return found if found.blobs else None


def finding(base: Base, registry: str) -> Finding:
    """Tell the reviewer what has to be there before."""
    file = layout.file_name(base.name, base.version)
    return manual(
        "delta",
        f"The registry has the bundle {base}, on which this one builds",
        "Push that bundle first where it was not pushed yet. A push of this one proves that nothing is lacking.",
        f"{OFFLINE} push {file} --registry {registry}",
        f"{len(base.blobs)} layers, {base.size} bytes, are left to {base}, {layout.MANIFEST} {base.digest}",
    )

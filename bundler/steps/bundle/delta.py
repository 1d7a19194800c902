"""Delta: what a bundle leaves out because another one, its base, has brought it before."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from bundler.effects.archive.reader import Bundle
from bundler.effects.registry.endpoint import Destination
from bundler.errors import SpecError, VerificationError
from bundler.model import layout
from bundler.model.delta import BaseBundle, LeftOut
from bundler.model.digest import Digest
from bundler.model.findings import Finding, manual
from bundler.model.trust import UNCHECKED, Trust
from bundler.steps.bundle import verify
from bundler.steps.bundle.images import name as name_of
from bundler.steps.bundle.images import open_images


def base_of(path: Path, name: str, version: str, trust: Trust = UNCHECKED) -> BaseBundle:
    """Return what a bundle can be a base of: its blobs, and those that it leaves to a base of its own.

    ``name`` and ``version`` are those of the delta. Layers are not verified: before a delta is pushed, the registry
    itself is asked what it has.

    Raises:
        UsageError: there is no such bundle.
        VerificationError: it is not a bundle, a manifest in it is damaged, or it has a name that no bundle has.
        SpecError: the delta would have its name and version.
    """
    with Bundle.open(path, trust) as bundle:
        verify.require_metadata(bundle)
        digest, manifest = Digest.of(bundle.read(layout.MANIFEST)), bundle.manifest
        brought = dict(_brought(bundle))
    if (manifest.name, manifest.version) == (name, version):
        raise SpecError(
            f"The base bundle {path} is {name} {version} itself; the delta would get the same name.",
            remedy="Raise 'version' in the spec.",
        )
    base = BaseBundle(manifest.name, manifest.version, digest, {**brought, **manifest.left_out})
    try:
        base.check()
    except ValueError as error:
        raise VerificationError(
            f"The bundle {path} cannot be a base bundle: {error}.",
            remedy="Name another bundle with --base, or build a full bundle.",
        ) from error
    return base


def _brought(bundle: Bundle) -> Iterator[tuple[Digest, LeftOut]]:
    """Yield configs and layers of a bundle, each with a repository below the registry that a push brings it to."""
    anywhere = Destination("localhost")
    for image in open_images(bundle):
        repository = name_of(image, bundle.manifest.registry, anywhere).target.repository
        for blob in image.blobs:
            yield blob.digest, LeftOut(blob.size, repository)


def left_to(base: BaseBundle, layers: Collection[Digest]) -> BaseBundle | None:
    """Return what is left to a base, None for nothing: layers alone, so that a delta still tells all of its images."""
    shared = base.only(layers)
    return shared if shared.blobs else None


def finding(base: BaseBundle, registry: str) -> Finding:
    """Tell the reviewer what has to be there before."""
    file = layout.file_name(base.name, base.version)
    return manual(
        "delta",
        f"The registry has the bundle {base}, on which this one builds",
        "Push that bundle first where it was not pushed yet. A push of this delta checks that no layer is missing.",
        f"{layout.OFFLINE_COMMAND} push {file} --registry {registry}",
        f"{len(base.blobs)} layers, {base.size} bytes, are left to {base}, {layout.MANIFEST} {base.digest}",
    )

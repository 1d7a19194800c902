"""Load the images of a bundle into the container engine of a rehearsal, and check that their layers are unchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bundler.effects.engine.api import Engine
from bundler.errors import UsageError
from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.findings import Finding, Status
from bundler.model.manifest import BundledImage
from bundler.model.platform import Platform
from bundler.model.progress import Progress
from bundler.model.reference import ImageRef
from bundler.oci import docker_archive, index
from bundler.oci.image import Image
from bundler.steps.rehearsal.inputs import RehearsalInput

_KEPT: Final = "localhost/bundler-rehearsal"
# The usual names of images that run these servers, whoever publishes them.
_SERVERS: Final = {"redis": ("redis", "valkey"), "postgres": ("postgres", "postgresql")}


@dataclass(frozen=True)
class EngineImages:
    """Images in the engine: ``names`` is reference in the manifests -> name in the engine.

    ``servers`` is kind of store -> name of the image that runs it; ``gaps`` says which images are missing and why.
    """

    names: Mapping[str, str]
    servers: Mapping[str, str]
    gaps: tuple[str, ...]
    finding: Finding


def load(
    inputs: RehearsalInput, engine: Engine, given: Mapping[str, str], progress: Progress, *, keep: bool
) -> EngineImages:
    """Load the images; ``given`` is kind of store -> image that the engine has, instead of the bundle's.

    Raises:
        UsageError: the engine lacks a given image.
    """
    for kind, name in given.items():
        if engine.layers(name) is None:
            raise UsageError(
                f"{engine.title} has no image {name} for {kind}.", remedy=f"Load it into {engine.title} first."
            )
    names: dict[str, str] = {}
    servers: dict[str, str] = {}
    gaps: list[str] = []
    evidence: list[str] = []
    for bundled in inputs.images:
        image = _for_platform(bundled, inputs, engine.platform)
        if image is None:
            gaps.append(f"{bundled.reference}: it has no image for {engine.platform}")
            continue
        tag = image.descriptor.digest.hex[:32]
        name = f"{_KEPT}:{tag}"
        expected = tuple(str(layer.diff_id) for layer in image.layers)
        if not keep and engine.layers(name) != expected:
            # Not shared with another rehearsal, which may end before this one.
            name = f"localhost/{engine.run}/image:{tag}"
        if engine.layers(name) != expected:
            progress.say(f"Loading {bundled.reference} into {engine.title}")
            engine.load(name, docker_archive.stream(image, [name], inputs.open_blob), keep=keep)
        if engine.layers(name) != expected:
            finding = Finding(
                "images",
                "An image has other layers in the engine than in the bundle",
                Status.FAIL,
                (bundled.reference,),
            )
            return EngineImages(names, servers, tuple(gaps), finding)
        names |= dict.fromkeys((bundled.internal, bundled.pinned), name)
        servers |= dict.fromkeys(_kinds(bundled), name)
        evidence.append(f"{bundled.reference}: {bundled.root.digest}, {len(expected)} layers by their diff ids")
    finding = Finding("images", "The engine has the bundle's images", Status.PASS, tuple(evidence))
    return EngineImages(names, {**servers, **given}, tuple(gaps), finding)


def _kinds(bundled: BundledImage) -> Sequence[str]:
    base = ImageRef.parse(bundled.internal).repository.rpartition("/")[2]
    return [kind for kind, names in _SERVERS.items() if base in names]


def _for_platform(bundled: BundledImage, inputs: RehearsalInput, platform: Platform) -> Image | None:
    def read(digest: Digest) -> bytes:
        with inputs.open_blob(digest) as stream:
            return stream.read()

    if platform not in bundled.platforms:
        return None
    entry: Descriptor | None = bundled.root
    if bundled.root.media_type in media_types.INDEXES:
        entry = index.parse(read(bundled.root.digest), bundled.root.media_type).for_platform(platform)
    return Image.from_blobs(entry, read) if entry else None

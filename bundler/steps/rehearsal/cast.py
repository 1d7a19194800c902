"""The cast of a rehearsal: images of the bundle, brought into the engine layer by layer as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bundler.effects.engine import Engine
from bundler.errors import UsageError
from bundler.feast.stand_ins import StoreServer
from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.model.findings import Finding, Status
from bundler.model.manifest import BundledImage
from bundler.model.progress import Progress
from bundler.model.reference import ImageRef
from bundler.oci import docker_archive, index
from bundler.oci.image import Image
from bundler.steps.rehearsal.source import Source

_REPOSITORY: Final = "localhost/bundler-rehearsal"
# The names under which images of the servers go, whoever made them.
_SERVERS: Final = {"redis": ("redis", "valkey"), "postgres": ("postgres", "postgresql")}


@dataclass(frozen=True)
class Cast:
    """Images in the engine: ``names`` is reference in the manifests -> name there; ``gaps`` what is missing, why."""

    names: Mapping[str, str]
    servers: Mapping[str, str]
    gaps: tuple[str, ...]
    finding: Finding

    def store(self, server: StoreServer) -> str | None:
        """Return the image that runs a store, None where there is none."""
        return self.servers.get(server.kind)


def gather(source: Source, engine: Engine, given: Mapping[str, str], progress: Progress, *, keep: bool) -> Cast:
    """Load the images; ``given`` is kind of store -> image that the engine has, instead of the bundle's.

    Raises:
        UsageError: the engine lacks a given image.
    """
    for kind, name in given.items():
        if engine.layers(name) is None:
            raise UsageError(f"{engine.title} has no image {name} for {kind}.", remedy="Load or pull it first.")
    names: dict[str, str] = {}
    servers: dict[str, str] = {}
    gaps: list[str] = []
    evidence: list[str] = []
    for bundled in source.images:
        image = _of_platform(bundled, source, engine)
        if image is None:
            gaps.append(f"{bundled.reference}: not an image for {engine.platform}")
            continue
        name = f"{_REPOSITORY}:{image.descriptor.digest.hex[:32]}"
        expected = tuple(str(layer.diff_id) for layer in image.layers)
        if engine.layers(name) != expected:
            progress.say(f"Loading {bundled.reference} into {engine.title}")
            engine.load(name, docker_archive.stream(image, [name], source.open_blob), keep=keep)
        if engine.layers(name) != expected:
            finding = Finding(
                "images", "The engine has other layers than the bundle", Status.FAIL, (bundled.reference,)
            )
            return Cast(names, servers, tuple(gaps), finding)
        names |= dict.fromkeys((bundled.internal, bundled.pinned), name)
        servers |= dict.fromkeys(_kinds(bundled), name)
        evidence.append(f"{bundled.reference}: {bundled.root.digest}, {len(expected)} layers by their diff ids")
    finding = Finding("images", "The engine has the bundle's images", Status.PASS, tuple(evidence))
    return Cast(names, {**servers, **given}, tuple(gaps), finding)


def _kinds(bundled: BundledImage) -> Sequence[str]:
    base = ImageRef.parse(bundled.internal).repository.rpartition("/")[2]
    return [kind for kind, names in _SERVERS.items() if base in names]


def _of_platform(bundled: BundledImage, source: Source, engine: Engine) -> Image | None:
    root = bundled.root
    if engine.platform not in bundled.platforms:
        return None
    if root.media_type in media_types.INDEXES:
        found = _read(source, root)
        entries = index.parse(found, root.media_type).manifests
        mine = [one for one in entries if one.platform and index.same_platform(one.platform, engine.platform)]
        if not mine:
            return None
        root = mine[0]
    return Image.from_blobs(root, lambda digest: _read(source, Descriptor("", digest, 0)))


def _read(source: Source, descriptor: Descriptor) -> bytes:
    with source.open_blob(descriptor.digest) as stream:
        return stream.read()

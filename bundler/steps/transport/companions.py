"""Signatures beside an image, of the bundle's and of the site's: both stay.

cosign keeps all signatures of an image as the layers of one manifest under one tag (``sha256-HEX.sig``), and registries
without a referrers API keep everything that refers to an image in one index (``sha256-HEX``). Putting the bundle's
there would take away what a site has added.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from bundler.model import media_types
from bundler.model.descriptor import Descriptor, Json
from bundler.model.digest import Digest
from bundler.oci import document, index, manifest
from bundler.oci.manifest import ImageManifest, RawManifest
from bundler.steps.bundle.images import NamedImage
from bundler.steps.transport.push_failures import is_artifact

_TAG = re.compile(r"sha256-[0-9a-f]{64}(\.[a-z0-9]+)?")

ReadBlob = Callable[[Digest], bytes]


@dataclass(frozen=True)
class Merged:
    """What a tag shall name: ``config`` is a blob that must be there for it; None where the registry's stays."""

    root: RawManifest
    config: bytes | None = None


def may_be_shared(image: NamedImage) -> bool:
    """Tell whether others add to what is under this image's tag."""
    return is_artifact(image.opened.image) and _TAG.fullmatch(image.target.tag or "") is not None


def merge(ours: NamedImage, theirs: RawManifest, read: ReadBlob) -> Merged:
    """Return what is at the registry, with what of ours it lacks; ``read`` returns a small blob of the registry.

    Raises:
        ValueError: the registry has something of another kind under that tag.
    """
    root = ours.opened.manifests[-1]
    if root.descriptor.media_type in media_types.INDEXES:
        return _merged_index(root, theirs)
    return _merged_manifest(ours, theirs, read)


def _merged_index(root: RawManifest, theirs: RawManifest) -> Merged:
    held = index.parse_source(theirs.content, theirs.descriptor.media_type)  # the site's rows stay, whatever they name
    known = {row.digest for row in held.manifests}
    added = tuple(row for row in index.parse(root.content).manifests if row.digest not in known)
    if not added:
        return Merged(theirs)
    value = document.parse(theirs.content, "the index")
    rows = value.get("manifests")
    listed: list[Json] = [*(rows if isinstance(rows, list) else []), *(row.to_json() for row in added)]
    return Merged(_document({**value, "manifests": listed}, held.media_type))


def _merged_manifest(ours: NamedImage, theirs: RawManifest, read: ReadBlob) -> Merged:
    root = ours.opened.manifests[-1]
    held = manifest.parse(theirs.content, theirs.descriptor.media_type)
    brought = manifest.parse(root.content, root.descriptor.media_type)
    if not held.is_artifact:
        raise ValueError("an image that runs")
    added = [layer for layer in brought.layers if _entry(layer) not in map(_entry, held.layers)]
    if not added:
        return Merged(theirs)
    config = _config(held, added, read)
    pointer = replace(held.config, digest=Digest.of(config), size=len(config))
    value = document.parse(theirs.content, "the manifest")
    rows = value.get("layers")
    listed: list[Json] = [*(rows if isinstance(rows, list) else []), *(layer.to_json() for layer in added)]
    return Merged(_document({**value, "config": pointer.to_json(), "layers": listed}, held.media_type), config)


def _entry(layer: Descriptor) -> tuple[Digest, tuple[tuple[str, str], ...]]:
    """Return what makes a signature: two may be of the same payload, and differ in their annotations only."""
    return layer.digest, tuple(sorted(layer.annotations.items()))


def _config(held: ImageManifest, added: list[Descriptor], read: ReadBlob) -> bytes:
    """Return the config with the diff ids of the new layers; they are not compressed, so that is their digest."""
    content = read(held.config.digest)
    value = document.parse(content, "the config")
    rootfs = value.get("rootfs")
    known = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(rootfs, dict) or not isinstance(known, list):
        return content
    ids: list[Json] = [*known, *(str(layer.digest) for layer in added)]
    return json.dumps({**value, "rootfs": {**rootfs, "diff_ids": ids}}, separators=(",", ":")).encode()


def _document(value: dict[str, Json], media_type: str) -> RawManifest:
    content = json.dumps(value, separators=(",", ":")).encode()
    return RawManifest(Descriptor(media_type, Digest.of(content), len(content)), content)

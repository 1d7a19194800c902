"""The base that an image is built on, whatever it comes from, and what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bundler.effects import debian, skopeo
from bundler.effects.blobs import BlobStore
from bundler.errors import SpecError
from bundler.model import media_types
from bundler.model.platform import Platform
from bundler.model.progress import Progress
from bundler.model.spec import Base, Mirror
from bundler.oci import index, rootfs
from bundler.oci.image import Image
from bundler.oci.rootfs import BaseContents

_RECORD: Final = "base-contents"
# Raise where the same image would be understood otherwise than before.
_VERSION: Final = 1


def load(
    base: Base,
    platforms: Sequence[Platform],
    store: BlobStore,
    *,
    progress: Progress,
    mirrors: Sequence[Mirror] = (),
    cert_dir: Path | None = None,
) -> Mapping[Platform, Image]:
    """Return the base image of each platform, with all its blobs in the store; raises as those who make or pull it."""
    if base.debian is not None:
        return {platform: debian.base(base.debian, platform, store, progress=progress).image for platform in platforms}
    pulled = skopeo.pull(base.image or "", platforms, store, progress=progress, mirrors=mirrors, cert_dir=cert_dir)
    try:
        return _images(pulled, platforms, store)
    except ValueError as error:
        raise SpecError(
            f"{base.image} cannot be a base: {error}.", remedy="Use another image as 'base.image'."
        ) from error


def _images(pulled: skopeo.PulledImage, platforms: Sequence[Platform], store: BlobStore) -> Mapping[Platform, Image]:
    if pulled.root.media_type not in media_types.INDEXES:
        return {platform: Image.from_blobs(pulled.root, store.read) for platform in platforms}
    entries = index.parse(store.read(pulled.root.digest), pulled.root.media_type)
    found = {platform: entries.for_platform(platform) for platform in platforms}
    return {platform: Image.from_blobs(entry, store.read) for platform, entry in found.items() if entry}


def contents(image: Image, store: BlobStore, *, progress: Progress) -> BaseContents:
    """Return what an image in the store holds; what was read before is remembered by the image's digest.

    Raises:
        SpecError: the image cannot be read (a layer is no tar, or packed in a way that this Python cannot unpack).
    """
    key = f"{_VERSION} {image.descriptor.digest}"
    record = store.recall(_RECORD, key)
    if record is not None:
        return BaseContents.from_json(record)
    try:
        with progress.task(f"Reading what the base for {image.platform} holds"):
            found = rootfs.inspect(image, store.open)
    except ValueError as error:
        raise SpecError(f"The base cannot be read: {error}.", remedy="Use another image as 'base.image'.") from error
    store.remember(_RECORD, key, found.to_json())
    return found

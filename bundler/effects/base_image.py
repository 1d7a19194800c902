"""The base image that an image is built on, of any origin, and what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from bundler.effects.blobs import BlobStore
from bundler.errors import SpecError
from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.model.platform import Platform
from bundler.model.progress import Progress
from bundler.oci import index, rootfs
from bundler.oci.image import Image
from bundler.oci.rootfs import BaseContents

_RECORD: Final = "base-contents"
# Raise this where the same image is read differently than before.
_VERSION: Final = 3


def of_platforms(
    root: Descriptor, source: str, platforms: Sequence[Platform], store: BlobStore
) -> Mapping[Platform, Image]:
    """Return the image of each platform that an image or index in the store has.

    Raises:
        SpecError: it is not an image that can be built on; the error calls it ``source``.
    """
    try:
        return _images(root, platforms, store)
    except ValueError as error:
        raise SpecError(
            f"{source} cannot be a base image: {error}.", remedy="Use another image as 'base.image'."
        ) from error


def _images(root: Descriptor, platforms: Sequence[Platform], store: BlobStore) -> Mapping[Platform, Image]:
    if root.media_type not in media_types.INDEXES:
        return {platform: Image.from_blobs(root, store.read) for platform in platforms}
    entries = index.parse(store.read(root.digest), root.media_type)
    selected = {platform: entries.for_platform(platform) for platform in platforms}
    return {platform: Image.from_blobs(entry, store.read) for platform, entry in selected.items() if entry}


def contents(image: Image, store: BlobStore, *, progress: Progress) -> BaseContents:
    """Return what an image in the store holds; earlier results are cached by the image's digest.

    Raises:
        SpecError: the image cannot be read (a layer is not a tar, or has a compression that this Python lacks).
    """
    key = f"{_VERSION} {image.descriptor.digest}"
    record = store.recall(_RECORD, key)
    if record is not None:
        return BaseContents.from_json(record)
    try:
        with progress.task(f"Reading the base image for {image.platform}"):
            inspected = rootfs.inspect(image, store.open)
    except ValueError as error:
        raise SpecError(
            f"The base image cannot be read: {error}.", remedy="Use another image as 'base.image'."
        ) from error
    store.remember(_RECORD, key, inspected.to_json())
    return inspected

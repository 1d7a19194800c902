"""The images of an open bundle: their manifests, read and verified, and the names that they get in a registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from bundler.effects.archive.reader import Bundle
from bundler.effects.archive.volumes import Extent
from bundler.effects.registry.endpoint import Destination
from bundler.errors import UsageError, VerificationError
from bundler.model import layout
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.manifest import BundledImage
from bundler.model.reference import ImageRef
from bundler.oci import graph
from bundler.oci.manifest import RawManifest

_MANIFEST_LIMIT = 4 << 20  # bytes; what registries must take at least (distribution specification, end-7)
_REMEDY = "Nothing was tagged. Copy the bundle again, then run: bundler verify BUNDLE"


@dataclass(frozen=True)
class OpenedImage:
    """An image of a bundle; ``manifests`` are verified, children before parents, the root last.

    ``extents`` say where each blob lies that a delta does not leave to another bundle.
    """

    image: BundledImage
    manifests: tuple[RawManifest, ...]
    blobs: tuple[Descriptor, ...]
    extents: Mapping[Digest, tuple[Extent, ...]]


@dataclass(frozen=True)
class NamedImage:
    """An image, and the name that it gets."""

    opened: OpenedImage
    target: ImageRef


def open_images(bundle: Bundle) -> tuple[OpenedImage, ...]:
    """Read the manifests of every image.

    Raises:
        VerificationError: a manifest or a blob is missing, a manifest is damaged, or sizes differ.
    """
    return tuple(_open(bundle, image) for image in bundle.manifest.images)


def open_each(
    bundle: Bundle, noting: Callable[[tuple[BundledImage]], AbstractContextManager[None]]
) -> tuple[OpenedImage, ...]:
    """Read the manifests of every image, each within ``noting``, which may go on without one that is damaged."""
    opened: list[OpenedImage] = []
    for image in bundle.manifest.images:
        with noting((image,)):
            opened.append(_open(bundle, image))
    return tuple(opened)


def _open(bundle: Bundle, image: BundledImage) -> OpenedImage:
    def read(descriptor: Descriptor) -> bytes:
        path = layout.blob(descriptor.digest)
        content = bundle.read(path, limit=_MANIFEST_LIMIT)
        if (seen := Digest.of(content)) != descriptor.digest:
            raise VerificationError(
                f"{path} in the bundle {bundle.path} is damaged: its digest should be {descriptor.digest}, is {seen}.",
                remedy=_REMEDY,
            )
        return content

    below = graph.below(image.root, read)
    if below.problems:
        raise VerificationError(
            f"The image {image.reference} in the bundle {bundle.path} has a manifest that cannot be used.",
            remedy="Build the bundle again.",
            details=below.problems,
        )
    left_out = bundle.manifest.left_out
    for descriptor in below.blobs:
        digest = descriptor.digest
        seen = (left_out.get(digest) or bundle.blob(digest)).size
        if seen != descriptor.size:
            raise VerificationError(
                f"{layout.blob(descriptor.digest)} in the bundle {bundle.path} has {seen} bytes, "
                f"the image {image.reference} says {descriptor.size}.",
                remedy=_REMEDY,
            )
    blobs = below.contents
    extents = {blob.digest: bundle.blob(blob.digest).extents for blob in blobs if blob.digest not in left_out}
    return OpenedImage(image, below.manifests, blobs, extents)


def require_whole(bundle: Bundle) -> None:
    """Raise ``UsageError`` for a delta, whose images cannot be read without another bundle."""
    if base := bundle.manifest.base:
        raise UsageError(
            f"The bundle {bundle.path} is a delta: {len(base.blobs)} blobs of its images are only in {base}.",
            remedy=f"Push {base} and then this one to a registry (bundler push), or build a full bundle (no --base).",
        )


def choose(images: tuple[OpenedImage, ...], only: tuple[str, ...]) -> tuple[OpenedImage, ...]:
    """Return the images that ``only`` names by reference, internal name or repository; all where it is empty."""
    names = {image.image.reference: _names(image.image) for image in images}
    for wanted in only:
        if not any(wanted in known for known in names.values()):
            raise UsageError(
                f"The bundle does not have the image {wanted!r}.",
                remedy="Choose one of these.",
                details=tuple(sorted(names)),
            )
    return tuple(image for image in images if not only or not names[image.image.reference].isdisjoint(only))


def _names(image: BundledImage) -> frozenset[str]:
    """Return what an image may be called: with host or without, with tag or without."""
    names = {image.reference, image.internal}
    for text in (image.reference, image.internal):
        try:
            reference = ImageRef.parse(text)
        except ValueError:
            continue
        names |= {str(reference), reference.tagged, reference.name, reference.repository}
        names |= {str(reference).partition("/")[2], reference.tagged.partition("/")[2]}
    return frozenset(names - {""})


def name(image: OpenedImage, registry: str, destination: Destination) -> NamedImage:
    """Give an image its name at the destination: its internal one, with ``registry`` replaced.

    An image that is pinned by digest only gets a tag, too: registries clean away what no tag names.

    Raises:
        VerificationError: the image has no internal name, or one outside the bundle's registry.
    """
    internal, prefix = image.image.internal, registry.rstrip("/") + "/"
    try:
        if not internal.startswith(prefix):
            raise ValueError(f"it does not begin with {prefix}")  # noqa: TRY301  (one sentence for both)
        target = ImageRef.parse(f"localhost/{internal.removeprefix(prefix)}")
    except ValueError as error:
        raise VerificationError(
            f"The image {image.image.reference} has no usable internal name ({internal!r}): {error}.",
            remedy="Build the bundle again.",
        ) from error
    tag = target.tag or f"sha256-{image.image.root.digest.short}"
    repository = destination.repository(target.repository)
    return NamedImage(image, replace(target, registry=destination.host, repository=repository, tag=tag, digest=None))

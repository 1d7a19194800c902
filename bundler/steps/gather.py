"""Gather: base images and every image that is not baked, made of Debian's packages or pulled, with what is in them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bundler.effects import base_image, debian, skopeo
from bundler.effects.blobs import BlobStore
from bundler.errors import SpecError
from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.lock import LockedImage
from bundler.model.platform import Platform
from bundler.model.progress import Progress
from bundler.model.reference import ImageRef
from bundler.model.spec import BundleSpec
from bundler.oci import rootfs
from bundler.oci.image import Image
from bundler.oci.index import Index
from bundler.oci.rootfs import BaseContents
from bundler.steps.lock import Base

KUBECTL = "kubectl"
OPERATOR = "operator"
EXTRA = "extra"
_NO_TAG = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class GatheredImage:
    """An image that is in the store: ``reference`` is its source's name, or the repository and tag it is given here.

    ``baked`` tells that it was made here and has no source registry; ``source_digest`` is what the source calls it.
    """

    reference: str
    role: str
    root: Descriptor
    platforms: tuple[Platform, ...]
    source_digest: Digest
    baked: bool = False

    def locked(self) -> LockedImage:
        """Return the entry of the lock."""
        return LockedImage(
            reference=self.reference,
            role=self.role,
            digest=str(self.root.digest),
            source_digest=str(self.source_digest),
            size=self.root.size,
        )


def bases(spec: BundleSpec, store: BlobStore, progress: Progress, *, refresh: bool = False) -> Mapping[Platform, Base]:
    """Return the base of each platform, and what is in it.

    Raises:
        SpecError: the base has no image for a platform.
    """
    platforms = spec.target_platforms
    images = base_image.load(spec.base, platforms, store, progress=progress, mirrors=spec.mirrors, refresh=refresh)
    missing = [str(platform) for platform in platforms if platform not in images]
    if missing:
        raise SpecError(f"The base has no image for {', '.join(missing)}.", remedy="Change 'platforms', or the base.")
    return {platform: Base(images[platform], _contents(images[platform], store)) for platform in platforms}


def _contents(image: Image, store: BlobStore) -> BaseContents:
    key = str(image.descriptor.digest)
    record = store.recall("base-contents", key)
    if record is not None:
        return BaseContents.from_json(record)
    contents = rootfs.inspect(image, store.open)
    store.remember("base-contents", key, contents.to_json())
    return contents


def others(
    spec: BundleSpec, operator_images: Sequence[str], store: BlobStore, progress: Progress, *, refresh: bool = False
) -> tuple[GatheredImage, ...]:
    """Return kubectl's image for the CronJob, the operator's images and the extra ones, each reference once."""
    kubectl = spec.deployment.cron_job.kubectl
    if kubectl.debian is not None:
        first = _debian_kubectl(kubectl.debian, spec.target_platforms, store, progress, refresh=refresh)
    else:
        first = _pulled(kubectl.image or "", KUBECTL, spec, store, progress)
    wanted = [(reference, OPERATOR) for reference in operator_images] + [
        (reference, EXTRA) for reference in spec.images
    ]
    gathered = {first.reference: first}
    for reference, role in wanted:
        if reference not in gathered:
            gathered[reference] = _pulled(reference, role, spec, store, progress)
    return tuple(gathered.values())


def _debian_kubectl(
    suite: str, platforms: Sequence[Platform], store: BlobStore, progress: Progress, *, refresh: bool
) -> GatheredImage:
    made = [debian.kubectl(suite, platform, store, progress=progress, refresh=refresh) for platform in platforms]
    version = made[0].packages["kubernetes-client"]
    root = stored_root([one.image for one in made], store)
    return GatheredImage(
        f"kubectl:{_NO_TAG.sub('-', version)}", KUBECTL, root, tuple(platforms), root.digest, baked=True
    )


def _pulled(reference: str, role: str, spec: BundleSpec, store: BlobStore, progress: Progress) -> GatheredImage:
    pulled = skopeo.pull(
        f"docker://{ImageRef.parse(reference)}", spec.target_platforms, store, progress=progress, mirrors=spec.mirrors
    )
    return GatheredImage(reference, role, pulled.root, spec.target_platforms, pulled.source_digest)


def stored_root(images: Sequence[Image], store: BlobStore) -> Descriptor:
    """Return the one image's descriptor, or that of an index of all of them, which is put into the store."""
    if len(images) == 1:
        return images[0].descriptor
    index = Index(tuple(image.descriptor for image in images))
    store.put(index.to_bytes())
    return index.descriptor


def is_index(descriptor: Descriptor) -> bool:
    """Tell an index from a single image."""
    return descriptor.media_type in media_types.INDEXES

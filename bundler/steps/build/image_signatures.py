"""Sign the images that a build makes, so that admission policies of the site can demand it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric import ec

from bundler.effects.archive import signing
from bundler.effects.blobs import BlobStore
from bundler.model import media_types
from bundler.model.digest import Digest
from bundler.model.findings import Finding, passed
from bundler.model.reference import ImageRef
from bundler.oci import cosign, index
from bundler.steps.build.pack import ImageToPack
from bundler.steps.sources.gather import COMPANION


@dataclass(frozen=True)
class SignedImages:
    """Signatures that are in the store, as companions of the images, and what the checklist says of them."""

    signatures: tuple[ImageToPack, ...]
    finding: Finding


def sign(images: Sequence[ImageToPack], key: ec.EllipticCurvePrivateKey, store: BlobStore) -> SignedImages:
    """Sign each image that was made here; mirrored ones keep the signatures of their makers.

    An index is signed, and so is each image in it: a pod may name either, and who copies one platform alone keeps its
    signature.
    """
    subjects = tuple(
        ImageRef.parse(image.internal).pinned(digest)
        for image in images
        if image.made_here
        for digest in _digests(image, store)
    )
    lines = (f"signed by the key {signing.public_key(key, '').key_id}", *map(str, subjects))
    finding = passed("image-signatures", "Images that were built here are signed, as cosign does", *lines)
    return SignedImages(tuple(_signature(subject, key, store) for subject in subjects), finding)


def _digests(image: ImageToPack, store: BlobStore) -> tuple[Digest, ...]:
    root = image.root
    if root.media_type not in media_types.INDEXES:
        return (root.digest,)
    return (root.digest, *(entry.digest for entry in index.parse(store.read(root.digest)).manifests))


def _signature(subject: ImageRef, key: ec.EllipticCurvePrivateKey, store: BlobStore) -> ImageToPack:
    if subject.digest is None:
        raise AssertionError("what is signed is a digest")
    payload = cosign.payload(subject.name, subject.digest)
    stored = cosign.stored(payload, signing.sign(payload, key))
    for blob in (stored.payload, stored.config, stored.manifest):
        store.put(blob)
    reference = str(replace(subject, tag=cosign.tag(subject.digest), digest=None))
    return ImageToPack(reference, COMPANION, stored.root, reference, made_here=True)

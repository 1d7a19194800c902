"""Sign the images that a build makes, so that admission policies of the site can demand it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric import ec

from bundler.effects.archive import signing
from bundler.effects.blobs import BlobStore
from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.model.findings import Finding, passed
from bundler.model.reference import ImageRef
from bundler.oci import cosign, index, referrers
from bundler.oci.referrers import Artifact
from bundler.render import provenance
from bundler.steps.build.pack import ImageToPack
from bundler.steps.build.referrer_companions import Referring
from bundler.steps.sources.gather import COMPANION


@dataclass(frozen=True)
class SignedImages:
    """Signatures that are in the store, as companions of the images, and what the checklist says of them.

    ``referring`` are the same signatures as sigstore bundles, which refer to the images.
    """

    signatures: tuple[ImageToPack, ...]
    referring: Referring
    finding: Finding


def sign(images: Sequence[ImageToPack], key: ec.EllipticCurvePrivateKey, store: BlobStore) -> SignedImages:
    """Sign each image that was made here; mirrored ones keep the signatures of their makers.

    An index is signed, and so is each image in it: a pod may name either, and who copies one platform alone keeps its
    signature.
    """
    subjects = [(image.internal, row) for image in images if image.made_here for row in _subjects(image, store)]
    names = (str(ImageRef.parse(internal).pinned(row.digest)) for internal, row in subjects)
    key_id = signing.public_key(key, "").key_id
    return SignedImages(
        tuple(_signature(internal, row, key, store) for internal, row in subjects),
        {(internal, row.digest): (_referrer(row, key),) for internal, row in subjects},
        passed(
            "image-signatures",
            "Images that were built here are signed, as cosign does",
            f"signed by the key {key_id}",
            *names,
        ),
    )


def _subjects(image: ImageToPack, store: BlobStore) -> Iterator[Descriptor]:
    yield image.root
    if image.root.media_type in media_types.INDEXES:
        yield from index.parse(store.read(image.root.digest)).manifests


def _signature(internal: str, subject: Descriptor, key: ec.EllipticCurvePrivateKey, store: BlobStore) -> ImageToPack:
    name = ImageRef.parse(internal)
    payload = cosign.payload(name.name, subject.digest)
    stored = cosign.stored(payload, signing.sign(payload, key))
    for blob in (stored.payload, stored.config, stored.manifest):
        store.put(blob)
    reference = str(replace(name, tag=cosign.tag(subject.digest), digest=None))
    return ImageToPack(reference, COMPANION, stored.root, reference, made_here=True)


def _referrer(subject: Descriptor, key: ec.EllipticCurvePrivateKey) -> Artifact:
    statement = cosign.statement(subject.digest)
    signature = signing.sign(provenance.to_sign(statement), key)
    content = cosign.sigstore_bundle(statement, signature, signing.public_key(key, "").key_id)
    return referrers.artifact(cosign.BUNDLE, content, subject, "signature.sigstore.json", cosign.BUNDLE_ANNOTATIONS)

"""Signatures of images as cosign keeps them in a registry (sigstore/cosign, ``specs/SIGNATURE_SPEC.md``).

They are one manifest under a tag that names the signed digest. cosign, admission controllers and the container engines
that read sigstore signatures (Podman, CRI-O, skopeo) look there. cosign 3 looks for sigstore bundles first, which are
artifacts that refer to the image (sigstore/protobuf-specs, ``sigstore_bundle.proto``, version 0.3).
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final

from bundler.model import media_types
from bundler.model.descriptor import Descriptor, Json
from bundler.model.digest import Digest
from bundler.oci import document
from bundler.oci.manifest import ImageManifest

PAYLOAD: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE: Final = "dev.cosignproject.cosign/signature"
BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_SIGNED: Final = "https://sigstore.dev/cosign/sign/v1"
BUNDLE_ANNOTATIONS: Final = {
    "dev.sigstore.bundle.content": "dsse-envelope",
    "dev.sigstore.bundle.predicateType": _SIGNED,
}
_TYPE: Final = "cosign container image signature"


@dataclass(frozen=True)
class ImageSignature:
    """The manifest of a signature, and the blobs that it points to."""

    manifest: bytes
    config: bytes
    payload: bytes

    @property
    def root(self) -> Descriptor:
        """The pointer to the manifest."""
        return Descriptor(media_types.OCI_MANIFEST, Digest.of(self.manifest), len(self.manifest))


def tag(image: Digest) -> str:
    """Return the tag under which the signature of a manifest or an index is looked for."""
    return f"sha256-{image.hex}.sig"


def payload(name: str, image: Digest) -> bytes:
    """Return what is signed: a digest, and the registry and repository (``name``) that it is claimed for."""
    return document.canonical(
        {
            "critical": {
                "identity": {"docker-reference": name},
                "image": {"docker-manifest-digest": str(image)},
                "type": _TYPE,
            },
            "optional": None,
        }
    )


def stored(signed: bytes, signature: bytes) -> ImageSignature:
    """Return a payload and its signature (DER) as a registry keeps them."""
    layer = Descriptor(PAYLOAD, Digest.of(signed), len(signed), annotations={SIGNATURE: _base64(signature)})
    # As cosign writes it: the config of an image for no platform, whose only layer is the payload.
    diff_ids: list[Json] = [str(layer.digest)]
    config = document.canonical(
        {"architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    )
    pointer = Descriptor(media_types.OCI_CONFIG, Digest.of(config), len(config))
    return ImageSignature(ImageManifest(pointer, (layer,)).to_bytes(), config, signed)


def statement(image: Digest) -> bytes:
    """Return what a sigstore bundle signs of an image: the statement of in-toto that cosign makes."""
    return document.canonical(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {"sha256": image.hex}}],
            "predicateType": _SIGNED,
            "predicate": {},
        }
    )


def sigstore_bundle(signed: bytes, signature: bytes, key_id: Digest) -> bytes:
    """Return a statement and the signature (DER) of its DSSE encoding by a key, as cosign 3 keeps them."""
    return document.canonical(
        {
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": _base64(bytes.fromhex(key_id.hex))}},
            "dsseEnvelope": {
                "payload": _base64(signed),
                "payloadType": "application/vnd.in-toto+json",
                "signatures": [{"sig": _base64(signature)}],
            },
        }
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")

"""Artifacts beside images, as cosign, notation, ORAS and buildx write them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from tests.support.sample_bundles import SampleImage

EMPTY = b"{}"
NO_PLATFORM = b'{"architecture":"","os":"","config":{},"rootfs":{"type":"layers","diff_ids":[]}}'
KIND = "application/vnd.example.signature"
_PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"


def row(media_type: str, content: bytes, **more: object) -> dict[str, object]:
    """Return a descriptor."""
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content), **more}


def signature(*names: str) -> SampleImage:
    """Return what cosign puts under ``sha256-HEX.sig``: a layer a signature, and the config of an image for nothing."""
    payloads = [json.dumps({"critical": name}).encode() for name in names]
    layers = [
        row(_PAYLOAD, content, annotations={"signature": name}) for name, content in zip(names, payloads, strict=True)
    ]
    value = {"config": row(media_types.OCI_CONFIG, NO_PLATFORM), "layers": layers}
    return _made(media_types.OCI_MANIFEST, value, *payloads, NO_PLATFORM)


def referrer(subject: SampleImage, by: str) -> SampleImage:
    """Return an artifact that says to which image it belongs, as notation and ORAS make them."""
    value = {
        "artifactType": KIND,
        "config": row("application/vnd.oci.empty.v1+json", EMPTY),
        "layers": [row(KIND, EMPTY, annotations={"by": by})],
        "subject": row(subject.root.media_type, subject.blobs[subject.root.digest]),
        "annotations": {"by": by},
    }
    return _made(media_types.OCI_MANIFEST, value, EMPTY)


def referrers(*artifacts: SampleImage, types: bool = True) -> SampleImage:
    """Return the index that is under ``sha256-HEX`` where a registry has no referrers API."""
    kind = {"artifactType": KIND} if types else {}
    rows = [row(media_types.OCI_MANIFEST, one.blobs[one.root.digest], **kind) for one in artifacts]
    below = [content for one in artifacts for content in one.blobs.values()]
    return _made(media_types.OCI_INDEX, {"manifests": rows}, *below)


def attested(*images: SampleImage) -> SampleImage:
    """Return an index of images, each with what buildx attests of it."""
    statement = b'{"_type": "https://in-toto.io/Statement/v0.1"}'
    value = {
        "config": row(media_types.OCI_CONFIG, NO_PLATFORM),
        "layers": [row("application/vnd.in-toto+json", statement)],
    }
    attestation = _made(media_types.OCI_MANIFEST, value, statement, NO_PLATFORM)
    rows: list[object] = [image.root.to_json() for image in images]
    rows += (
        {
            **attestation.root.to_json(),
            "platform": {"os": "unknown", "architecture": "unknown"},
            "annotations": {
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": str(image.root.digest),
            },
        }
        for image in images
    )
    below = [content for one in (*images, attestation) for content in one.blobs.values()]
    made = _made(media_types.OCI_INDEX, {"manifests": rows}, *below)
    return SampleImage(made.root, made.blobs, tuple(platform for image in images for platform in image.platforms))


def _made(media_type: str, value: Mapping[str, object], *below: bytes) -> SampleImage:
    content = json.dumps({"schemaVersion": 2, "mediaType": media_type, **value}).encode()
    blobs = {Digest.of(blob): blob for blob in (*below, content)}
    return SampleImage(Descriptor(media_type, Digest.of(content), len(content)), blobs, ())

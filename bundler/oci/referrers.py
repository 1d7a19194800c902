"""Documents beside an image: artifacts that refer to it, and the index that registries without an API for them need.

OCI image specification 1.1, ``manifest.md`` ("Guidelines for Artifact Usage"); distribution specification 1.1,
"Referrers Tag Schema".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from bundler.model import media_types
from bundler.model.descriptor import Descriptor, Json
from bundler.model.digest import Digest
from bundler.oci import document
from bundler.oci.index import Index

EMPTY: Final = b"{}"
_EMPTY_TYPE: Final = "application/vnd.oci.empty.v1+json"
_SCHEMA: Final = 2


@dataclass(frozen=True)
class Artifact:
    """A document that refers to an image: its manifest, and the blob that the manifest points to besides ``EMPTY``."""

    descriptor: Descriptor
    manifest: bytes
    content: bytes


def artifact(
    kind: str, content: bytes, subject: Descriptor, title: str, more: Mapping[str, str] | None = None
) -> Artifact:
    """Return the artifact of a document; ``kind`` is the media type of both, ``title`` what tools call its file.

    ``more`` are further annotations.
    """
    annotations = {"org.opencontainers.image.title": title, **(more or {})}
    layer = Descriptor(kind, Digest.of(content), len(content), annotations=annotations)
    value: dict[str, Json] = {
        "schemaVersion": _SCHEMA,
        "mediaType": media_types.OCI_MANIFEST,
        "artifactType": kind,
        "config": Descriptor(_EMPTY_TYPE, Digest.of(EMPTY), len(EMPTY)).to_json(),
        "layers": [layer.to_json()],
        "subject": replace(subject, platform=None, annotations={}).to_json(),
        "annotations": dict(annotations),
    }
    manifest = document.canonical(value)
    pointer = Descriptor(
        media_types.OCI_MANIFEST, Digest.of(manifest), len(manifest), annotations=annotations, artifact_type=kind
    )
    return Artifact(pointer, manifest, content)


def listed(artifacts: Iterable[Artifact]) -> Index:
    """Return the index of all that refers to one image, as it lies under the tag of the image's digest."""
    return Index(tuple(sorted((artifact.descriptor for artifact in artifacts), key=lambda row: row.digest)))


def tag(image: Digest) -> str:
    """Return the tag under which what refers to an image is looked for."""
    return f"sha256-{image.hex}"

"""Image manifests and indexes as documents (OCI image specification 1.1; Docker image manifest version 2, schema 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bundler.model import limits, media_types
from bundler.model.descriptor import Descriptor, Json
from bundler.oci import document

_SCHEMA: Final = 2


@dataclass(frozen=True)
class RawManifest:
    """A manifest or an index, byte for byte; its descriptor has the media type and the digest."""

    descriptor: Descriptor
    content: bytes


@dataclass(frozen=True)
class ImageManifest:
    """The manifest of one image for one platform."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    media_type: str = media_types.OCI_MANIFEST
    artifact_type: str = ""

    @property
    def is_artifact(self) -> bool:
        """Whether this is not an image that runs: a signature, an attestation, a bill of materials.

        Artifacts have ``artifactType`` or a config of their own media type. What cosign stores by tag (``.sig``,
        ``.att``, ``.sbom``) and the attestations of buildx have the config of an image, but no layer of an image.
        """
        if self.artifact_type or self.config.media_type not in media_types.CONFIGS:
            return True
        return bool(self.layers) and not any(media_types.is_layer(layer.media_type) for layer in self.layers)

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        value: dict[str, Json] = {
            "schemaVersion": _SCHEMA,
            "mediaType": self.media_type,
            "config": self.config.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return document.canonical(value)


def parse(content: bytes, media_type: str) -> ImageManifest:
    """Read a manifest that a descriptor announced as ``media_type``; raise ``ValueError`` where it is not one."""
    if media_type not in media_types.MANIFESTS:
        raise ValueError(f"media type {media_type!r:.120} is not that of an image manifest")
    value = document.parse(content, "the image manifest")
    check_type(value, media_type)
    return ImageManifest(
        Descriptor.from_json(value.get("config")),
        descriptors(value, "layers"),
        document.texts(value.get("annotations"), "the manifest's annotations"),
        media_type,
        _artifact_type(value),
    )


def _artifact_type(value: Mapping[str, Json]) -> str:
    text = value.get("artifactType", "")
    if not isinstance(text, str):
        raise ValueError(f"'artifactType' is not a string: {text!r:.100}")  # noqa: TRY004  (a malformed document)
    return text


def check_type(value: Mapping[str, Json], media_type: str) -> None:
    """Refuse a document whose own media type differs from that of its descriptor (a type confusion)."""
    if value.get("schemaVersion") != _SCHEMA:
        raise ValueError(f"schemaVersion is {value.get('schemaVersion')!r:.40}, not {_SCHEMA}")
    own = value.get("mediaType", media_type)
    if own != media_type:
        raise ValueError(f"the document has the media type {own!r:.120}, its descriptor {media_type!r:.120}")
    other = "manifests" if media_type in media_types.MANIFESTS else "layers"
    if other in value:
        raise ValueError(f"a document of type {media_type} must not have {other!r}")


def foreign_layers(content: bytes) -> dict[str, str]:
    """Return digest -> URLs of each layer that may be missing at the registry of the manifest."""
    layers = document.parse(content, "the image manifest").get("layers")
    urls: dict[str, str] = {}
    for layer in layers if isinstance(layers, list) else ():
        match layer:
            case {"digest": str(digest), "urls": [str(url), *_]}:
                urls[digest] = url
            case {"digest": str(digest), "mediaType": str(media_type)} if media_types.is_foreign(media_type):
                urls[digest] = ""
    return urls


def descriptors(value: Mapping[str, Json], key: str) -> tuple[Descriptor, ...]:
    """Read a list of descriptors."""
    items = value.get(key)
    if not isinstance(items, list):
        raise ValueError(f"{key!r} is not a list")  # noqa: TRY004  (a malformed document)
    if len(items) > limits.DESCRIPTORS:
        raise ValueError(f"{key!r} has {len(items)} entries, more than {limits.DESCRIPTORS}")
    return tuple(Descriptor.from_json(item) for item in items)

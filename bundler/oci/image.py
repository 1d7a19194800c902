"""Images: a config and layers, as an immutable value that knows its own bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bundler.model import media_types
from bundler.model.descriptor import Descriptor, Json
from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.oci import document, layer_format, manifest
from bundler.oci.config import ImageConfig
from bundler.oci.layer import Layer


@dataclass(frozen=True)
class Original:
    """The bytes under which an image was read, kept as long as nothing of it changes."""

    media_type: str
    manifest: bytes
    config: bytes


@dataclass(frozen=True)
class Image:
    """An image for one platform; alter it with ``bundler.oci.mutate``."""

    config: ImageConfig
    layers: tuple[Layer, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    original: Original | None = None

    @classmethod
    def from_blobs(cls, descriptor: Descriptor, read: Callable[[Digest], bytes]) -> Image:
        """Read an image; ``read`` returns a blob whole (manifest and config, never a layer).

        Raises:
            ValueError: a document is not what its descriptor says or not an image; the sentence names it.
        """
        try:
            content = _verified(descriptor, read)
            image_manifest = manifest.parse(content, descriptor.media_type)
            config_bytes = _verified(image_manifest.config, read)
            config = ImageConfig.parse(config_bytes)
            layers = _layers(image_manifest, config)
        except ValueError as error:
            raise ValueError(f"image {descriptor.digest}: {error}") from error
        original = Original(descriptor.media_type, content, config_bytes)
        return cls(config, layers, image_manifest.annotations, original)

    @property
    def platform(self) -> Platform:
        """The platform that the image runs on."""
        return self.config.platform

    def config_bytes(self) -> bytes:
        """Return the bytes of the config: those that were read, or the canonical ones."""
        return self.original.config if self.original else self.config.to_bytes()

    def manifest_bytes(self) -> bytes:
        """Return the bytes of the manifest: those that were read, or the canonical ones."""
        if self.original:
            return self.original.manifest
        content = self.config.to_bytes()
        config = Descriptor(media_types.OCI_CONFIG, Digest.of(content), len(content))
        return manifest.ImageManifest(
            config, tuple(layer.descriptor for layer in self.layers), self.annotations
        ).to_bytes()

    @property
    def descriptor(self) -> Descriptor:
        """The pointer to the manifest, with the platform, as an index holds it."""
        content = self.manifest_bytes()
        media_type = self.original.media_type if self.original else media_types.OCI_MANIFEST
        return Descriptor(media_type, Digest.of(content), len(content), self.platform)


def empty(platform: Platform) -> Image:
    """Return an image without layers, to which layers can be added."""
    value: dict[str, Json] = {"architecture": platform.architecture, "os": platform.os}
    if platform.variant:
        value["variant"] = platform.variant
    return Image(ImageConfig({**value, "config": {}, "rootfs": {"type": "layers", "diff_ids": []}, "history": []}))


def _verified(descriptor: Descriptor, read: Callable[[Digest], bytes]) -> bytes:
    if descriptor.size > document.LIMIT:
        raise ValueError(f"{descriptor.digest} is announced with {descriptor.size} bytes, too many for a document")
    content = read(descriptor.digest)
    if len(content) != descriptor.size or Digest.of(content) != descriptor.digest:
        raise ValueError(f"{descriptor.digest} is not what its descriptor says")
    return content


def _layers(image_manifest: manifest.ImageManifest, config: ImageConfig) -> tuple[Layer, ...]:
    if len(image_manifest.layers) != len(config.diff_ids):
        raise ValueError(f"the manifest has {len(image_manifest.layers)} layers, the config {len(config.diff_ids)}")
    for descriptor in image_manifest.layers:
        layer_format.compression(descriptor.media_type)
    made = [entry.get("created_by") for entry in config.history if not entry.get("empty_layer")]
    if len(made) != len(image_manifest.layers):  # a history is optional, and sometimes has the wrong length
        made = [None] * len(image_manifest.layers)
    return tuple(
        Layer(descriptor, diff_id, created_by if isinstance(created_by, str) else "")
        for descriptor, diff_id, created_by in zip(image_manifest.layers, config.diff_ids, made, strict=True)
    )

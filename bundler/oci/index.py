"""Indexes: one name for the images of several platforms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bundler.model import media_types
from bundler.model.descriptor import Descriptor, Json
from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.oci import document, manifest

_ATTESTS: Final = "vnd.docker.reference.digest"
# Variants that every processor of the architecture runs; an image may name them or not.
_BASELINE: Final = {"arm64": "v8", "amd64": "v1"}


@dataclass(frozen=True)
class Index:
    """A list of manifests, one a platform."""

    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    media_type: str = media_types.OCI_INDEX

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        value: dict[str, Json] = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "manifests": [entry.to_json() for entry in self.manifests],
        }
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return document.canonical(value)

    @property
    def descriptor(self) -> Descriptor:
        """The pointer to this index."""
        content = self.to_bytes()
        return Descriptor(self.media_type, Digest.of(content), len(content))

    def for_platform(self, platform: Platform) -> Descriptor | None:
        """Return the entry for a platform, or None."""
        matching = [entry for entry in self.manifests if entry.platform and same_platform(entry.platform, platform)]
        return matching[0] if matching else None

    def only(self, platforms: Sequence[Platform]) -> Index:
        """Return the index with the entries for these platforms alone, in the order in which it has them.

        Registries check that every child of an index is there, so an index must shrink with what is mirrored. What
        attests an image that stays (buildx keeps provenance and bills of materials in the index) stays, too.

        Raises:
            ValueError: the index lacks one of the platforms; the error lists those it has.
        """
        selected = {platform: self.for_platform(platform) for platform in platforms}
        missing = [str(platform) for platform, entry in selected.items() if entry is None]
        if missing:
            there = ", ".join(str(entry.platform) for entry in self.manifests if entry.platform) or "none"
            raise ValueError(f"there is no image for {', '.join(missing)}; there are: {there}")
        digests = {str(entry.digest) for entry in selected.values() if entry}
        kept = tuple(
            entry
            for entry in self.manifests
            # buildx attests an image by an entry for no platform that names it.
            if entry in selected.values() or entry.annotations.get(_ATTESTS) in digests
        )
        return self if kept == self.manifests else replace(self, manifests=kept)


def parse(content: bytes, media_type: str | None = None) -> Index:
    """Read an index, of the type that its descriptor announced; raise ``ValueError`` where it is not one."""
    value = document.parse(content, "the image index")
    if media_type is None:
        named = value.get("mediaType", media_types.OCI_INDEX)
        media_type = named if isinstance(named, str) else ""
    if media_type not in media_types.INDEXES:
        raise ValueError(f"media type {media_type!r:.120} is not that of an image index")
    manifest.check_type(value, media_type)
    annotations = document.texts(value.get("annotations"), "the index's annotations")
    return Index(manifest.descriptors(value, "manifests"), annotations, media_type)


def same_platform(first: Platform, second: Platform) -> bool:
    """Tell whether two platforms are the same, where one names the baseline variant and the other does not."""
    return _plain(first) == _plain(second)


def _plain(platform: Platform) -> Platform:
    return replace(platform, variant="") if platform.variant == _BASELINE.get(platform.architecture) else platform

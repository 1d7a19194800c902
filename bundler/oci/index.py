"""Indexes: one name for the images of several platforms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bundler.model import media_types
from bundler.model.descriptor import Descriptor, Json
from bundler.model.digest import Digest, OtherDigestError
from bundler.model.platform import Platform
from bundler.oci import document, manifest

_ATTESTS: Final = "vnd.docker.reference.digest"
# Variants that every processor of the architecture runs; an image may name them or not.
_BASELINE: Final = {"arm64": "v8", "amd64": "v1"}


@dataclass(frozen=True)
class UnreadEntry:
    """An entry that cannot be read, as another digest than SHA-256 names it; ``reason`` says so.

    ``platform`` is None where it is not known; ``attests`` is the digest of the image that buildx attests by it.
    """

    reason: str
    platform: Platform | None = None
    attests: str = ""

    def may_be_for(self, platform: Platform) -> bool:
        """Tell whether this may be the image for a platform."""
        return not self.attests and (self.platform is None or same_platform(self.platform, platform))


@dataclass(frozen=True)
class Index:
    """A list of manifests, one a platform; ``unread`` are those of a source that only matter where they are wanted."""

    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    media_type: str = media_types.OCI_INDEX
    unread: tuple[UnreadEntry, ...] = ()

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
            OtherDigestError: the entry for one of them may be one that cannot be read.
        """
        selected = {platform: self.for_platform(platform) for platform in platforms}
        missing = [str(platform) for platform, entry in selected.items() if entry is None]
        for unread in self.unread:
            if any(entry is None and unread.may_be_for(platform) for platform, entry in selected.items()):
                raise OtherDigestError(unread.reason)
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
        if kept == self.manifests and not self.unread:
            return self
        return replace(self, manifests=kept, unread=tuple(entry for entry in self.unread if entry.attests in digests))


def parse(content: bytes, media_type: str | None = None) -> Index:
    """Read an index, of the type that its descriptor announced; raise ``ValueError`` where it is not one."""
    value, known_type = _checked(content, media_type)
    return _index(value, known_type)


def parse_source(content: bytes, media_type: str) -> Index:
    """Read an index of which some entries may be wanted: those that another digest than SHA-256 names are ``unread``.

    Raises:
        ValueError: it is not an index.
    """
    value, known_type = _checked(content, media_type)
    rows = value.get("manifests")
    if not isinstance(rows, list):
        return _index(value, known_type)
    entries = [(row, unread_entry(row)) for row in rows]
    whole = _index({**value, "manifests": [row for row, unread in entries if unread is None]}, known_type)
    return replace(whole, unread=tuple(unread for _, unread in entries if unread is not None))


def _checked(content: bytes, media_type: str | None) -> tuple[dict[str, Json], str]:
    value = document.parse(content, "the image index")
    if media_type is None:
        named = value.get("mediaType", media_types.OCI_INDEX)
        media_type = named if isinstance(named, str) else ""
    if media_type not in media_types.INDEXES:
        raise ValueError(f"media type {media_type!r:.120} is not that of an image index")
    manifest.check_type(value, media_type)
    return value, media_type


def _index(value: Mapping[str, Json], media_type: str) -> Index:
    annotations = document.texts(value.get("annotations"), "the index's annotations")
    return Index(manifest.descriptors(value, "manifests"), annotations, media_type)


def unread_entry(row: Json) -> UnreadEntry | None:
    """Return what is known of an entry that is sound but for its digest, which is another than SHA-256."""
    digest = row.get("digest") if isinstance(row, dict) else None
    if not isinstance(row, dict) or not isinstance(digest, str):
        return None
    try:
        Digest.parse(digest)
    except OtherDigestError as error:
        entry = Descriptor.from_json({**row, "digest": str(Digest.of(b""))})
        return UnreadEntry(str(error), entry.platform, entry.annotations.get(_ATTESTS, ""))
    except ValueError:
        return None
    return None


def same_platform(first: Platform, second: Platform) -> bool:
    """Tell whether two platforms are the same, where one names the baseline variant and the other does not."""
    return _plain(first) == _plain(second)


def _plain(platform: Platform) -> Platform:
    return replace(platform, variant="") if platform.variant == _BASELINE.get(platform.architecture) else platform

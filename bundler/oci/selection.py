"""Which images of an index are for the chosen platforms, also where it holds indexes or does not name platforms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from bundler.model import limits, media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import OtherDigestError
from bundler.model.platform import Platform
from bundler.oci import index
from bundler.oci.index import Index, UnreadEntry


@dataclass(frozen=True)
class Lookup:
    """How to learn what an index does not say.

    ``read`` returns the bytes of an index; ``platform`` what a manifest's config is for, None for an artifact.
    """

    read: Callable[[Descriptor], bytes]
    platform: Callable[[Descriptor], Platform | None]


def select(whole: Index, platforms: Sequence[Platform], lookup: Lookup) -> Index:
    """Return the index with the images for these platforms alone; itself where that is all it has.

    What it names itself decides. Only where that does not suffice, indexes inside it are opened and entries without a
    platform looked up; the images found are then in one index, each with its platform.

    Raises:
        ValueError: the index lacks one of the platforms, or an index inside it cannot be read.
        OtherDigestError: what is wanted is named by another digest than SHA-256, or may be.
    """
    try:
        return whole.only(platforms)
    except ValueError:
        if all(entry.platform and entry.media_type not in media_types.INDEXES for entry in whole.manifests):
            raise
    entries = tuple(_entries(whole, lookup, limits.INDEX_DEPTH - 1))
    images = tuple(entry for entry in entries if isinstance(entry, Descriptor))
    unread = tuple(entry for entry in entries if isinstance(entry, UnreadEntry))
    kept = replace(whole, manifests=images, unread=unread).only(platforms)
    return whole if kept.manifests == images and not unread else kept


def _entries(image_index: Index, lookup: Lookup, depth: int) -> Iterator[Descriptor | UnreadEntry]:
    yield from image_index.unread
    for entry in image_index.manifests:
        if entry.media_type in media_types.INDEXES:
            if not depth:
                raise ValueError("its indexes are nested too deep")
            yield from _entries(index.parse_source(lookup.read(entry), entry.media_type), lookup, depth - 1)
        elif entry.platform is None:
            yield from _looked_up(entry, lookup)
        else:
            yield entry


def _looked_up(entry: Descriptor, lookup: Lookup) -> Iterator[Descriptor | UnreadEntry]:
    """Yield an entry with its platform; nothing for an artifact."""
    try:
        platform = lookup.platform(entry) if entry.media_type in media_types.MANIFESTS else None
    except OtherDigestError as error:
        yield UnreadEntry(str(error))
        return
    if platform:
        yield replace(entry, platform=platform)

"""Which images of an index are for the chosen platforms, also where it holds indexes or does not name platforms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from bundler.model import limits, media_types
from bundler.model.descriptor import Descriptor
from bundler.model.platform import Platform
from bundler.oci import index
from bundler.oci.index import Index


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
    """
    try:
        return whole.only(platforms)
    except ValueError:
        if all(entry.platform and entry.media_type not in media_types.INDEXES for entry in whole.manifests):
            raise
    images = tuple(_images(whole, lookup, limits.INDEX_DEPTH - 1))
    kept = replace(whole, manifests=images).only(platforms)
    return whole if kept.manifests == images else kept


def _images(image_index: Index, lookup: Lookup, depth: int) -> Iterator[Descriptor]:
    for entry in image_index.manifests:
        if entry.media_type in media_types.INDEXES:
            if not depth:
                raise ValueError("its indexes are nested too deep")
            yield from _images(index.parse(lookup.read(entry), entry.media_type), lookup, depth - 1)
        elif entry.platform is None:
            platform = lookup.platform(entry) if entry.media_type in media_types.MANIFESTS else None
            if platform:
                yield replace(entry, platform=platform)
        else:
            yield entry

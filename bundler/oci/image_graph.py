"""What an image consists of: the manifests and blobs that are reached from its root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.oci import document

_DEEPEST = 4  # indexes of indexes are allowed, and nobody nests them


@dataclass(frozen=True)
class References:
    """What one manifest or index names, in its order."""

    manifests: tuple[Descriptor, ...] = ()
    blobs: tuple[Descriptor, ...] = ()


@dataclass(frozen=True)
class ImageContents:
    """Everything below a root: manifests with children before parents, the root last; and blobs, each once."""

    manifests: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]


def references(content: bytes) -> References:
    """Read what a manifest names; raise ``ValueError`` where it is none."""
    value = document.parse(content, "the manifest")
    match value:
        case {"manifests": list(rows)}:
            return References(manifests=tuple(Descriptor.from_json(row) for row in rows))
        case {"config": config, "layers": list(layers)}:
            return References(blobs=tuple(Descriptor.from_json(row) for row in (config, *layers)))
        case {"blobs": list(rows)}:  # artifact manifests of the specification's 1.1 release candidates
            return References(blobs=tuple(Descriptor.from_json(row) for row in rows))
    raise ValueError("neither a manifest nor an index")


def walk(root: Descriptor, read: Callable[[Descriptor], bytes]) -> ImageContents:
    """Collect what is below ``root``; ``read`` returns a manifest's verified bytes.

    Raises:
        ValueError: a manifest is malformed, or indexes are nested too deeply.
    """
    manifests: dict[Digest, Descriptor] = {}
    blobs: dict[Digest, Descriptor] = {}

    def visit(node: Descriptor, depth: int) -> None:
        if depth > _DEEPEST:
            raise ValueError(f"indexes nested more than {_DEEPEST} deep")
        if node.digest in manifests:
            return
        found = references(read(node))
        for child in found.manifests:
            visit(child, depth + 1)
        for blob in found.blobs:
            if blobs.setdefault(blob.digest, blob).size != blob.size:
                raise ValueError(f"two sizes for {blob.digest}")
        manifests[node.digest] = node

    visit(root, 0)
    return ImageContents(tuple(manifests.values()), tuple(blobs.values()))


def is_manifest(media_type: str) -> bool:
    """Tell whether a descriptor points to a manifest or an index."""
    return media_type in media_types.MANIFESTS | media_types.INDEXES

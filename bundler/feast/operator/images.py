"""Image references in Kubernetes manifests: where a cluster reads them, and wherever else one is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from bundler.kube.objects import KubeObject
from bundler.model.descriptor import Json

# HOST/PATH with a tag or digest, not part of an address: what a string must look like to be taken for an image where
# nothing else says that it is one. HOST has a dot or a port, else documentation would be full of images.
_LOOKS_LIKE_AN_IMAGE: Final = re.compile(
    r"(?<![\w./:@-])"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*\.)+[A-Za-z0-9-]+(?::\d+)?|[A-Za-z0-9.-]+:\d+|localhost)"
    r"(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+"
    r"(?::\w[\w.-]{0,127}|@sha256:[0-9a-f]{64})+"
)
_IMAGE_KEYS: Final = frozenset({"image", "initImage"})
_RELATED: Final = re.compile(r"RELATED_IMAGE_\w+")


def image_references(documents: Iterable[Json]) -> tuple[str, ...]:
    """Return every image that a cluster would pull by a manifest's documents, each once, in their order.

    Those are the images of containers, the operator's ``RELATED_IMAGE_*`` variables (also in the ``config.env`` of an
    OLM Subscription), and whatever else in any string looks like one.
    """
    return tuple(dict.fromkeys(reference for document in documents for reference in references(document)))


def references(value: Json) -> Iterator[str]:
    """Yield the image references of a parsed document."""
    if isinstance(value, dict):
        related = _RELATED.fullmatch(KubeObject(value).text("name")) is not None
        for key, inner in value.items():
            named = key in _IMAGE_KEYS or (related and key == "value")
            if named and isinstance(inner, str):
                yield from [inner] if inner else []
            else:
                yield from references(inner)
            yield from references(key)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)
    elif isinstance(value, str):
        yield from (match[0] for match in _LOOKS_LIKE_AN_IMAGE.finditer(value))

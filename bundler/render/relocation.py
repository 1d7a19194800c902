"""Where an image lies in the internal registry, and the rewriting of references to say so."""

from __future__ import annotations

from collections.abc import Mapping

from bundler.model.reference import ImageRef
from bundler.model.spec import Registry


def prefix(registry: Registry) -> str:
    """Return HOST[:PORT][/PREFIX]."""
    return f"{registry.host}/{registry.prefix}" if registry.prefix else registry.host


def relocate(reference: ImageRef, registry: Registry) -> ImageRef:
    """Put an image below the registry's prefix under the path that it has at its source; tag and digest stay."""
    repository = f"{registry.prefix}/{reference.repository}" if registry.prefix else reference.repository
    return ImageRef(registry.host, repository, reference.tag, reference.digest)


def relocate_text(text: str, mapping: Mapping[str, str]) -> tuple[str, int]:
    """Replace references in a text by a mapping (source -> internal); return the text and how often."""
    count = 0
    for source in sorted(mapping, key=len, reverse=True):  # the longest first: one may begin another
        count += text.count(source)
        text = text.replace(source, mapping[source])
    return text, count

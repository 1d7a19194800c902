"""Where an image lies in the internal registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bundler.errors import SpecError
from bundler.model.reference import ImageRef, flattened
from bundler.model.spec import Registry


def prefix(registry: Registry) -> str:
    """Return HOST[:PORT][/PREFIX]."""
    return f"{registry.host}/{registry.prefix}" if registry.prefix else registry.host


def relocate(reference: ImageRef, registry: Registry) -> ImageRef:
    """Put an image below the registry's prefix under the path that it has at its source, or that path made flat."""
    path = _path(reference, registry)
    segments = (registry.prefix, flattened(path) if registry.flatten else path)
    return ImageRef(
        registry.host, "/".join(segment for segment in segments if segment), reference.tag, reference.digest
    )


def _path(reference: ImageRef, registry: Registry) -> str:
    """Return the repository, with the longest rule applied that names its source."""
    for rule in sorted(registry.rules, key=lambda rule: len(rule.source), reverse=True):
        if f"{reference.name}/".startswith(f"{rule.source}/"):
            return rule.path + reference.name[len(rule.source) :]
    return reference.repository


def relocations(references: Iterable[ImageRef], registry: Registry) -> Mapping[ImageRef, ImageRef]:
    """Return source -> internal for every image, in the order given.

    Raises:
        SpecError: two images would get the same name; the error has both.
    """
    mapping: dict[ImageRef, ImageRef] = {}
    sources: dict[str, ImageRef] = {}
    collisions: list[str] = []
    for reference in references:
        internal = relocate(reference, registry)
        other = sources.setdefault(internal.tagged, reference)
        if other != reference:
            collisions.append(f"{other} and {reference} would both be {internal.tagged}")
        mapping[reference] = internal
    if collisions:
        raise SpecError(
            "Two images would get the same name in the internal registry.",
            remedy="Give one of the sources another path with registry.rules.",
            details=tuple(collisions),
        )
    return mapping

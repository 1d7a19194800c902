"""What the bills of materials of a bundle list, for those who compare bundles or hold that a bill can be read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bundler.model import json_document, limits
from bundler.model.descriptor import Json

# The source package follows from the version: it distinguishes nothing.
_UPSTREAM: Final = re.compile(r"&?upstream=[^&]*")


@dataclass(frozen=True)
class Component:
    """An entry of a bill: its version (of a file its digest), and what distinguishes it from its namesakes."""

    version: str
    identity: str


def components(content: bytes) -> Mapping[str, Component]:
    """Return the components of a bill of this program, e.g. ``pypi/feast``, ``deb/debian/libc6``, the feature repo.

    Components of the same name are joined, with all their versions and identities.

    Raises:
        ValueError: it is not a bill of materials.
    """
    bill = json_document.parse_object(content, "it", size=limits.DOCUMENT_SIZE)
    by_name: dict[str, set[Component]] = {}
    for name, component in _components(bill):
        by_name.setdefault(name, set()).add(component)
    return {name: _joined(several) for name, several in by_name.items()}


def _joined(several: set[Component]) -> Component:
    ordered = sorted(several, key=lambda component: (component.version, component.identity))
    return Component(
        ", ".join(dict.fromkeys(component.version for component in ordered)),
        ", ".join(component.identity for component in ordered if component.identity),
    )


def _components(parent: dict[str, Json]) -> Iterator[tuple[str, Component]]:
    components = parent.get("components")
    for component in components if isinstance(components, list) else ():
        match component:
            case {"purl": str(purl), "version": str(version)} if isinstance(component, dict):
                name, _, qualified = purl.removeprefix("pkg:").partition("@")
                identity = (next(_digests(component), ""), _UPSTREAM.sub("", qualified.partition("?")[2]))
                yield name, Component(version, " ".join(filter(None, identity)))
            case {"bom-ref": str(name), "hashes": [{"content": str(digest)}]} if isinstance(component, dict):
                yield name, Component(f"sha256:{digest}", "")
                yield from _components(component)


def _digests(component: dict[str, Json]) -> Iterator[str]:
    hashes = component.get("hashes")
    for entry in hashes if isinstance(hashes, list) else ():
        match entry:
            case {"content": str(digest)}:
                yield f"sha256:{digest}"

"""The images that an operator's install manifest names: of its containers, and in its RELATED_IMAGE_* variables."""

from __future__ import annotations

import re

# One line each in the manifests of every release: `image: REF`, or `value: REF` below `name: RELATED_IMAGE_...`.
_IMAGE = re.compile(r"^\s*(?:-\s+)?image:[ \t]+[\"']?([^\s\"'#]+)", re.MULTILINE)
_RELATED = re.compile(r"name:\s*[\"']?RELATED_IMAGE_\w+[\"']?\s*\n[ \t]*value:[ \t]+[\"']?([^\s\"'#]+)")


def image_references(manifest: str) -> tuple[str, ...]:
    """Return every image reference, each once, in the order in which they stand."""
    return tuple(dict.fromkeys([*_IMAGE.findall(manifest), *_RELATED.findall(manifest)]))

"""JSON documents of images: read strictly, written in one canonical form."""

from __future__ import annotations

import json
from typing import Final

from bundler.model import json_document, limits
from bundler.model.descriptor import Json

# Registries may refuse larger manifests (OCI distribution specification, "Pushing Manifests").
LIMIT: Final = limits.IMAGE_DOCUMENT_SIZE


def parse(content: bytes, what: str) -> dict[str, Json]:
    """Read a JSON object; ``what`` begins the sentence of the error.

    Raises:
        ValueError: see ``json_document.parse``.
    """
    return json_document.parse_object(content, what, size=LIMIT)


def canonical(value: Json) -> bytes:
    """Return the one form in which this project writes a document: names sorted, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def texts(value: Json, what: str) -> dict[str, str]:
    """Return an object whose values are all strings (labels, annotations); absent and null mean empty."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{what} is not an object: {value!r:.100}")  # noqa: TRY004  (a malformed document)
    strings = {key: text for key, text in value.items() if isinstance(text, str)}
    if len(strings) != len(value):
        wrong = next(key for key in value if key not in strings)
        raise ValueError(f"{what} has a value that is not a string: {wrong!r:.100}")
    return strings


def strings(value: Json, what: str) -> tuple[str, ...]:
    """Return a list of strings; absent and null mean empty."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError(f"{what} is not a list: {value!r:.100}")  # noqa: TRY004  (a malformed document)
    items = tuple(item for item in value if isinstance(item, str))
    if len(items) != len(value):
        raise ValueError(f"{what} has an item that is not a string: {value!r:.100}")
    return items

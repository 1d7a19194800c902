"""JSON documents of images: read with suspicion, written in one canonical form."""

from __future__ import annotations

import json
from typing import Final, NoReturn

from bundler.model.descriptor import Json

# Registries may refuse manifests above 4 MiB (OCI distribution specification, "Pushing Manifests"); real ones have
# kilobytes. A real config or manifest is nested about five deep.
LIMIT: Final = 4 << 20
_DEPTH: Final = 32


def parse(content: bytes, what: str) -> dict[str, Json]:
    """Read a JSON object; ``what`` begins the sentence of the error.

    Raises:
        ValueError: not JSON in UTF-8, not an object, too large, nested too deep, a name twice in one object, or a
            number that JSON does not know.
    """
    if len(content) > LIMIT:
        raise ValueError(f"{what} has {len(content)} bytes, more than the {LIMIT} that any such document needs")
    try:
        value: Json = json.loads(content.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError(f"{what} is nested deeper than {_DEPTH} levels") from None
    except ValueError as error:  # also UnicodeDecodeError and numbers of absurd length
        raise ValueError(f"{what} is not JSON as images use it: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{what} is not a JSON object: {content[:60]!r}")  # noqa: TRY004  (a malformed document)
    if _deeper_than(value, _DEPTH):
        raise ValueError(f"{what} is nested deeper than {_DEPTH} levels")
    if b"\\u" in content:
        _check_surrogates(value, what)
    return value


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
        raise ValueError(f"{what} has a value that is no string: {wrong!r:.100}")
    return strings


def strings(value: Json, what: str) -> tuple[str, ...]:
    """Return a list of strings; absent and null mean empty."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError(f"{what} is not a list: {value!r:.100}")  # noqa: TRY004  (a malformed document)
    items = tuple(item for item in value if isinstance(item, str))
    if len(items) != len(value):
        raise ValueError(f"{what} has an item that is no string: {value!r:.100}")
    return items


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    # Parsers differ in which of two values they believe, so such a document could mean two things.
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r:.100} occurs twice in one object")
    return mapping


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _check_surrogates(value: Json, what: str) -> None:
    try:
        canonical(value)
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} holds half of a surrogate pair, which is no text") from error


def _deeper_than(value: Json, limit: int) -> bool:
    level: list[Json] = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True

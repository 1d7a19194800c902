"""JSON of unknown origin: a typed value with one meaning, or a sentence; the work grows with the bytes alone."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import NoReturn

from bundler.model import limits
from bundler.model.descriptor import Json


def parse(content: bytes, what: str, *, size: int, depth: int = limits.JSON_DEPTH) -> Json:
    """Read a JSON document of at most ``size`` bytes; ``what`` begins the sentence of the error.

    Raises:
        ValueError: not JSON in UTF-8, too large, too many values, nested too deep, a name twice in one object, a number
            of absurd length or one that JSON does not know, or half of a surrogate pair.
    """
    if len(content) > size:
        raise ValueError(f"{what} has {len(content)} bytes, more than the limit of {size}")
    # Before it is parsed: an empty list of three bytes takes 64 in memory.
    if sum(map(content.count, (b",", b"[", b"{"))) > limits.JSON_VALUES:
        raise ValueError(f"{what} has more than {limits.JSON_VALUES} values")
    try:
        value: Json = json.loads(
            content.decode(),
            object_pairs_hook=unique_names,
            parse_constant=no_constant,
            parse_int=_integer,
            parse_float=_float,
        )
    except RecursionError:
        raise ValueError(f"{what} is nested deeper than {depth} levels") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{what} is not JSON: byte {error.start} is not UTF-8") from error
    except ValueError as error:
        raise ValueError(f"{what} is not JSON as it is used here: {error}") from error
    if _deeper_than(value, depth):
        raise ValueError(f"{what} is nested deeper than {depth} levels")
    if b"\\u" in content:
        _check_surrogates(value, what)
    return value


def parse_object(content: bytes, what: str, *, size: int, depth: int = limits.JSON_DEPTH) -> dict[str, Json]:
    """Read a JSON object; see ``parse``."""
    value = parse(content, what, size=size, depth=depth)
    if not isinstance(value, dict):
        raise ValueError(f"{what} is not a JSON object: {content[:60]!r}")  # noqa: TRY004  (a malformed document)
    return value


def mapping(value: Json) -> dict[str, Json]:
    """Return a mapping, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def rows(value: Json) -> tuple[dict[str, Json], ...]:
    """Return the mappings of a list, none where it is not a list."""
    return tuple(row for row in value if isinstance(row, dict)) if isinstance(value, list) else ()


def text(value: Json) -> str:
    """Return a text, an empty one for anything else."""
    return value if isinstance(value, str) else ""


def unique_names(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """Return an object of JSON; raise ``ValueError`` for a name that occurs twice (a hook of ``json.loads``)."""
    # Parsers differ in which of two values they believe, so such a document could mean two things.
    keys = dict(pairs)
    if len(keys) != len(pairs):
        counted = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counted.items() if count > 1)
        raise ValueError(f"the name {twice!r:.100} occurs twice in one object")
    return keys


def no_constant(name: str) -> NoReturn:
    """Raise ``ValueError`` for NaN and the infinities, which JSON does not have (a hook of ``json.loads``)."""
    raise ValueError(f"{name} is not a number")


def _integer(digits: str) -> int:
    # CPython before 3.10.7 reads a number of a million digits in minutes.
    if len(digits) > limits.DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is not a finite number")
    return value


def _check_surrogates(value: Json, what: str) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} holds half of a surrogate pair, which is not text") from error


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

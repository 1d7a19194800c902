"""Kubernetes structural schemas: what an API server with strict field validation refuses, and what it fills in.

Written after the Kubernetes documentation of CustomResourceDefinitions (structural schemas, defaulting, field
validation). Only keywords that such schemas may hold are checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from bundler.model.descriptor import Json

Schema: TypeAlias = Mapping[str, Json]

_INTEGERS: Final = {"int32": 2**31, "int64": 2**63}
# The API server knows these itself; a CRD's schema only says that they are objects.
_ROOT_FIELDS: Final = frozenset({"apiVersion", "kind", "metadata"})
_METADATA_FIELDS: Final = frozenset({"name", "generateName", "namespace", "labels", "annotations", "finalizers"})


@dataclass(frozen=True, order=True)
class SchemaProblem:
    """Why a resource is refused: where in it, and the schema's or the rule's own words."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def with_defaults(value: Json, schema: Schema) -> Json:
    """Return the value as an API server stores it: nulls pruned and defaults filled in, at every depth.

    The server drops a null whose schema is not nullable before it fills in defaults ("Defaulting and Nullable" in the
    Kubernetes documentation). A null in a list stays, and so does one under a field that the schema does not know. The
    root's metadata stays as it is, because a CRD's schema does not describe it. The argument is not changed.
    """
    stored = _stored(value, schema)
    if isinstance(value, dict) and isinstance(stored, dict) and "metadata" in value:
        return {**stored, "metadata": value["metadata"]}
    return stored


def _stored(value: Json, schema: Schema) -> Json:
    if isinstance(value, dict):
        properties = _schemas(schema.get("properties"))
        kept = {name: inner for name, inner in value.items() if inner is not None or not _pruned(schema, name)}
        missing = {name: inner["default"] for name, inner in properties.items() if "default" in inner}
        filled = {**kept, **{name: default for name, default in missing.items() if name not in kept}}
        return {name: _stored(inner, _below(schema, properties, name)) for name, inner in filled.items()}
    if isinstance(value, list):
        items = _schema(schema.get("items"))
        return [_stored(inner, items) for inner in value]
    return value


def _pruned(schema: Schema, name: str) -> bool:
    """Tell whether the server drops a null at a field: the schema knows the field and does not say ``nullable``."""
    properties = _schemas(schema.get("properties"))
    known = name in properties or isinstance(schema.get("additionalProperties"), dict)
    return known and not _below(schema, properties, name).get("nullable")


def problems(resource: Json, schema: Schema) -> tuple[SchemaProblem, ...]:
    """Return everything in a resource that its schema refuses, in the order of the resource."""
    return tuple(_problems(resource, schema, ""))


def _problems(value: Json, schema: Schema, path: str) -> Iterator[SchemaProblem]:
    expected = schema.get("type")
    if value is None:
        if not schema.get("nullable") and (expected or schema.get("x-kubernetes-int-or-string")):
            yield SchemaProblem(path, f"must be {_article(expected)}, found null")
        return
    mismatch = _type_problem(value, schema)
    if mismatch:
        yield SchemaProblem(path, mismatch)
        return
    yield from (SchemaProblem(path, message) for message in _value_problems(value, schema))
    if isinstance(value, dict):
        yield from _object_problems(value, schema, path)
    elif isinstance(value, list):
        yield from _array_problems(value, schema, path)


def _type_problem(value: Json, schema: Schema) -> str | None:
    if schema.get("x-kubernetes-int-or-string"):
        fits = isinstance(value, (int, str)) and not isinstance(value, bool)
        return None if fits else f"must be an integer or a string, found {_kind(value)}"
    expected = schema.get("type")
    kind = _kind(value)
    if expected in (None, kind) or (expected == "number" and kind == "integer"):
        return None
    return f"must be {_article(expected)}, found {kind} {value!r:.60}"


def _kind(value: Json) -> str:
    if isinstance(value, bool):
        return "boolean"
    kinds = ((int, "integer"), (float, "number"), (str, "string"), (list, "array"), (dict, "object"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")


def _article(kind: Json) -> str:
    return f"an {kind}" if str(kind)[:1] in "aio" else f"a {kind}"


def _value_problems(value: Json, schema: Schema) -> Iterator[str]:
    allowed = schema.get("enum")
    if isinstance(allowed, list) and value not in allowed:
        yield f"unsupported value {value!r}: supported are {', '.join(map(str, allowed))}"
    if isinstance(value, str):
        yield from _text_problems(value, schema)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _number_problems(value, schema)
    yield from _combination_problems(value, schema)


def _text_problems(value: str, schema: Schema) -> Iterator[str]:
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and not re.search(_anchored(pattern), value, re.ASCII):
        yield f"{value!r} does not match {pattern}"
    yield from _size_problems(len(value), schema, "Length", "characters")
    if schema.get("format") == "date-time":
        try:
            datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            yield f"{value!r} is not a date and time (RFC 3339)"


def _anchored(pattern: str) -> str:
    """Return the pattern as Go means it: its ``$`` is the end of the text, not also the place before a last newline."""
    return f"{pattern[:-1]}\\Z" if pattern.endswith("$") and not pattern.endswith("\\$") else pattern


def _number_problems(value: float, schema: Schema) -> Iterator[str]:
    limit = _INTEGERS.get(str(schema.get("format")))
    if limit is not None and not -limit <= value < limit:
        yield f"{value} is out of the range of {schema['format']}"
    for keyword, broken in (("minimum", value.__lt__), ("maximum", value.__gt__)):
        bound = schema.get(keyword)
        if isinstance(bound, (int, float)):
            exclusive = schema.get(f"exclusive{keyword.capitalize()}") is True and value == bound
            if broken(bound) is True or exclusive:
                yield f"{value} is beyond the {keyword} of {bound}"


def _size_problems(size: int, schema: Schema, noun: str, unit: str) -> Iterator[str]:
    lowest, highest = schema.get(f"min{noun}"), schema.get(f"max{noun}")
    if isinstance(lowest, int) and size < lowest:
        yield f"has {size} {unit}, at least {lowest} are required"
    if isinstance(highest, int) and size > highest:
        yield f"has {size} {unit}, at most {highest} are allowed"


def _combination_problems(value: Json, schema: Schema) -> Iterator[str]:
    """Check the combinators, which in a structural schema hold value rules only."""
    fits = {
        keyword: [not any(_problems(value, branch, "")) for branch in map(_schema, branches)]
        for keyword in ("allOf", "anyOf", "oneOf")
        if isinstance(branches := schema.get(keyword), list)
    }
    if not all(fits.get("allOf", [])):
        yield "does not satisfy every schema of allOf"
    if "anyOf" in fits and not any(fits["anyOf"]):
        yield "does not satisfy any schema of anyOf"
    if "oneOf" in fits and sum(fits["oneOf"]) != 1:
        yield f"satisfies {sum(fits['oneOf'])} schemas of oneOf, must satisfy one"
    excluded = schema.get("not")
    if isinstance(excluded, dict) and not any(_problems(value, excluded, "")):
        yield "satisfies the schema of not"


def _object_problems(value: dict[str, Json], schema: Schema, path: str) -> Iterator[SchemaProblem]:
    required = schema.get("required")
    for name in required if isinstance(required, list) else []:
        if name not in value:
            yield SchemaProblem(_join(path, str(name)), "is required")
    yield from (SchemaProblem(path, message) for message in _size_problems(len(value), schema, "Properties", "entries"))
    properties = _schemas(schema.get("properties"))
    for name, inner in value.items():
        below = _join(path, name)
        if path == "" and name == "metadata":
            yield from _metadata_problems(inner)
        elif name in properties or isinstance(schema.get("additionalProperties"), dict):
            yield from _problems(inner, _below(schema, properties, name), below)
        elif not _open(schema) and not (path == "" and name in _ROOT_FIELDS):
            yield SchemaProblem(below, "unknown field")


def _open(schema: Schema) -> bool:
    return (
        bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        or schema.get("additionalProperties") is True
        # A branch of a combinator restricts values; the schema around it says which fields exist.
        or ("type" not in schema and "properties" not in schema)
    )


def _metadata_problems(metadata: Json) -> Iterator[SchemaProblem]:
    if not isinstance(metadata, dict):
        yield SchemaProblem("metadata", "must be an object")
        return
    for name, value in metadata.items():
        path = f"metadata.{name}"
        if name not in _METADATA_FIELDS:
            yield SchemaProblem(path, "unknown field")
        elif name in ("labels", "annotations"):
            texts = isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
            if not texts:
                yield SchemaProblem(path, "must be an object of strings")
        elif name != "finalizers" and not isinstance(value, str):
            yield SchemaProblem(path, f"must be a string, found {_kind(value)}")


def _array_problems(value: list[Json], schema: Schema, path: str) -> Iterator[SchemaProblem]:
    yield from (SchemaProblem(path, message) for message in _size_problems(len(value), schema, "Items", "items"))
    items = _schema(schema.get("items"))
    for position, inner in enumerate(value):
        yield from _problems(inner, items, f"{path}[{position}]")
    seen: list[Json] = []
    for position, identity in enumerate(_identities(value, schema)):
        if identity in seen:
            yield SchemaProblem(f"{path}[{position}]", f"duplicate value {identity!r}")
        seen.append(identity)


def _identities(value: list[Json], schema: Schema) -> list[Json]:
    """Return the keys in which the items of a list must differ; empty where they need not differ."""
    keys = schema.get("x-kubernetes-list-map-keys")
    match schema.get("x-kubernetes-list-type"):
        case "set":
            return value
        case "map" if isinstance(keys, list):
            entries = [item for item in value if isinstance(item, dict)]
            return [{str(key): item.get(str(key)) for key in keys} for item in entries]
    return []


def _below(schema: Schema, properties: Mapping[str, Schema], name: str) -> Schema:
    return properties[name] if name in properties else _schema(schema.get("additionalProperties"))


def _schema(value: Json) -> Schema:
    return value if isinstance(value, dict) else {}


def _schemas(value: Json) -> Mapping[str, Schema]:
    return {name: _schema(inner) for name, inner in value.items()} if isinstance(value, dict) else {}


def _join(path: str, name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w-]*", name):
        return f"{path}[{name}]"
    return f"{path}.{name}" if path else name

"""Read ``bundle.yaml``: every problem at once, each with its file, line, value and remedy.

``python -m bundler.model.spec_reader`` prints the JSON schema of the format, which docs/bundle.schema.json holds.
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bundler.model import yaml_document
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.model.spec import BundleSpec
from bundler.model.spec_parts import PATTERNS
from bundler.model.yaml_document import Document, DocumentProblem, Path, dotted

# pydantic's name of an error -> what is expected instead, which completes the sentence "..., but".
_WANTED: Final = {
    "bool_type": "true or false is expected",
    "int_type": "a whole number is expected",
    "float_type": "a number is expected",
    "tuple_type": "a list is expected: lines that begin with '- '",
    "list_type": "a list is expected: lines that begin with '- '",
    "dict_type": "a mapping is expected: lines of 'key: value'",
    "mapping_type": "a mapping is expected: lines of 'key: value'",
    "model_type": "a mapping is expected: lines of 'key: value'",
    "string_type": "a string is expected",
}


def read(text: str, file: str) -> BundleSpec:
    """Read the text of a spec.

    Raises:
        SpecError: every problem found is a line of its details, as ``FILE:LINE: key: what is wrong. Remedy.``
    """
    document = yaml_document.load(text)
    problems = list(document.problems)
    spec = None
    if isinstance(document.value, dict):
        try:
            # Keys only as the schema spells them: then editors that use the schema never mislead.
            spec = BundleSpec.model_validate(document.value, by_alias=True, by_name=False)
        except ValidationError as error:
            problems += _problems(error.errors(), document)
    elif not problems:
        problems.append(DocumentProblem(1, "expected a mapping with 'name', 'version', 'base', ..."))
    if spec is None or problems:
        raise yaml_document.refusal("The spec", file, problems)
    return spec


def fingerprint(spec: BundleSpec) -> Digest:
    """Return a digest of what the spec means: comments, order of keys and defaults written out do not change it."""
    # Without defaults: a key that a later release of this program adds does not make locks stale.
    # Nor does a policy, which judges what is in the bundle and changes none of it.
    value = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"vulnerabilities"})
    return Digest.of(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def schema() -> dict[str, Json]:
    """Return the JSON schema of the format, for editors."""
    value: dict[str, Json] = BundleSpec.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **value}


def _problems(rows: list[ErrorDetails], document: Document) -> Iterator[DocumentProblem]:
    """Yield each problem, but not the ones that only follow from another."""
    places = [tuple(row["loc"]) for row in rows]
    unread = {problem.line for problem in document.problems}
    for row, path in zip(rows, places, strict=True):
        deeper = any(len(other) > len(path) and other[: len(path)] == path for other in places)
        line = document.line(path)
        follows = row["input"] is None and path in document.lines and line in unread
        if not (follows or (deeper and row["type"] == "too_short")):
            yield DocumentProblem(line, _sentence(row, document))


def _sentence(row: ErrorDetails, document: Document) -> str:  # noqa: PLR0911  (one return a kind of problem)
    path = tuple(row["loc"])
    name = dotted(path) or "the spec"
    match row["type"]:
        case "extra_forbidden":
            known = _known_keys(path[:-1])
            near = difflib.get_close_matches(str(path[-1]), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"Known here: {', '.join(known)}."
            return f"{name}: unknown key; {hint}"
        case "missing":
            return f"{name}: is missing. Add it."
        case "value_error":
            return f"{name}: {row['msg'].removeprefix('Value error, ')}."
        case "string_pattern_mismatch":
            pattern = row["ctx"]["pattern"]
            return f"{name}: {row['input']!r:.80} is not {PATTERNS.get(pattern, f'of the form {pattern}')}."
        case "literal_error":
            return f"{name}: {row['input']!r:.80} is not one of {row['ctx']['expected']}."
        case kind if kind in _WANTED:
            return f"{name}: {_mistaken(kind, row['input'], document.texts.get(path))}"
    seen = "" if isinstance(row["input"], (dict, list)) else f", got {row['input']!r:.80}"
    return f"{name}: {row['msg']}{seen}."


def _mistaken(kind: str, value: object, written: str | None) -> str:
    """Describe a value of an unexpected type, and how YAML came to that type."""
    if written is None:
        return f"here is a {'mapping' if isinstance(value, dict) else 'list'}, but {_WANTED[kind]}."
    if not written:
        return f"is empty, but {_WANTED[kind]}."
    seen = type(value).__name__.replace("NoneType", "null").replace("str", "text")
    remedy = f" Quote it: '{written:.80}'." if kind == "string_type" else ""
    return f"YAML reads {written:.80} as {seen}, but {_WANTED[kind]}.{remedy}"


def _known_keys(path: Path) -> list[str]:
    """Return the keys that the spec knows at a place."""
    model: type[BaseModel] | None = BundleSpec
    for key in path:
        if isinstance(key, int) or model is None:
            continue
        fields = {_key(name, info.alias): info.annotation for name, info in model.model_fields.items()}
        model = _model_in(fields.get(key))
    return [_key(name, info.alias) for name, info in model.model_fields.items()] if model else []


def _key(name: str, alias: str | None) -> str:
    return alias or name


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((inner_model for inner in get_args(annotation) if (inner_model := _model_in(inner))), None)


def _print_schema(value: Mapping[str, Json]) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


if __name__ == "__main__":
    _print_schema(schema())

"""Read ``bundle.yaml``: every problem at once, each with its file, line, value and remedy.

``python -m bundler.model.spec_reader`` prints the JSON schema of the format, which docs/bundle.schema.json holds.
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bundler.errors import SpecError
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.model.spec import BundleSpec
from bundler.model.spec_parts import PATTERNS

_LIMIT: Final = 1 << 20  # characters; a spec is a few kilobytes
_DEPTH: Final = 32
_Path: TypeAlias = tuple[str | int, ...]


@dataclass
class _Document:
    """A YAML document as plain values, with the line (from 1) and the source text of every place in it."""

    value: Json = None
    lines: dict[_Path, int] = field(default_factory=dict)
    texts: dict[_Path, str] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def line(self, path: _Path) -> int:
        """Return the line of a place, or of the nearest one above it that exists."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)


def read(text: str, file: str) -> BundleSpec:
    """Read the text of a spec.

    Raises:
        SpecError: every problem found is a line of its details, as ``FILE:LINE: key: what is wrong. Remedy.``
    """
    document = _compose(text, file)
    problems = list(document.problems)
    spec = None
    if not isinstance(document.value, dict):
        problems.append((1, "expected a mapping with 'name', 'version', 'base', ..."))
    else:
        try:
            spec = BundleSpec.model_validate(document.value)
        except ValidationError as error:
            problems += _told(error.errors(), document)
    if spec is None or problems:
        details = tuple(f"{file}:{line}: {problem}" for line, problem in sorted(problems))
        count = "a problem" if len(details) == 1 else f"{len(details)} problems"
        raise SpecError(f"The spec {file} has {count}.", details=details)
    return spec


def fingerprint(spec: BundleSpec) -> Digest:
    """Return a digest of what the spec means: comments, order of keys and defaults written out do not change it."""
    # Without defaults: a key that a later release of this program adds does not make locks stale.
    value = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return Digest.of(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def schema() -> dict[str, Json]:
    """Return the JSON schema of the format, for editors."""
    value: dict[str, Json] = BundleSpec.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **value}


def _compose(text: str, file: str) -> _Document:
    if len(text) > _LIMIT:
        raise SpecError(f"{file} is {len(text)} characters long, which no spec is.")
    document = _Document()
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is not None:
            document.value = _plain(loader, node, (), document)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise SpecError(f"{file}:{line}: not YAML: {error.problem or error.context}.") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise SpecError(f"{file}: not YAML: {error}.") from error
    return document


def _plain(loader: yaml.SafeLoader, node: yaml.Node, path: _Path, document: _Document) -> Json:
    line = node.start_mark.line + 1
    document.lines.setdefault(path, line)
    if len(path) > _DEPTH:
        document.problems.append((line, "nested too deeply"))
        return None
    if isinstance(node, yaml.MappingNode):
        return dict(_pairs(loader, node, path, document))
    if isinstance(node, yaml.SequenceNode):
        return [_plain(loader, item, (*path, index), document) for index, item in enumerate(node.value)]
    document.texts[path] = node.value
    return _scalar(loader, node)


def _scalar(loader: yaml.SafeLoader, node: yaml.Node) -> Json:
    value = loader.construct_object(node)
    # A date is a scalar of YAML that JSON has not: keep what was written.
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(node.value)


def _pairs(
    loader: yaml.SafeLoader, node: yaml.MappingNode, path: _Path, document: _Document
) -> Iterator[tuple[str, Json]]:
    seen: set[str] = set()
    for key_node, value_node in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in seen:
            document.problems.append((line, f"{_dotted((*path, key))}: the key occurs twice. Keep one of them."))
            continue
        seen.add(key)
        place = (*path, key)
        document.lines[place] = line
        yield key, _plain(loader, value_node, place, document)


def _dotted(path: _Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def _told(rows: list[ErrorDetails], document: _Document) -> Iterator[tuple[int, str]]:
    """Yield line and sentence of each problem, but not the ones that only follow from a deeper one."""
    places = [tuple(row["loc"]) for row in rows]
    for row, path in zip(rows, places, strict=True):
        deeper = any(len(other) > len(path) and other[: len(path)] == path for other in places)
        if not (deeper and row["type"] == "too_short"):
            yield document.line(path), _sentence(row, document)


def _sentence(row: ErrorDetails, document: _Document) -> str:  # noqa: PLR0911  (one return a kind of problem)
    path = tuple(row["loc"])
    name = _dotted(path) or "the spec"
    written = document.texts.get(path)
    match row["type"]:
        case "extra_forbidden":
            known = _known_keys(path[:-1])
            near = difflib.get_close_matches(str(path[-1]), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"Known here: {', '.join(known)}."
            return f"{name}: unknown key; {hint}"
        case "missing":
            return f"{name}: is missing. Add it."
        case "string_type" if written is not None and not isinstance(row["input"], str):
            kind = type(row["input"]).__name__.replace("NoneType", "null")
            return f"{name}: YAML reads {written} as {kind}, but a text is wanted. Quote it: '{written}'."
        case "value_error":
            return f"{name}: {row['msg'].removeprefix('Value error, ')}."
        case "string_pattern_mismatch":
            pattern = row["ctx"]["pattern"]
            return f"{name}: {row['input']!r:.80} is not {PATTERNS.get(pattern, f'of the form {pattern}')}."
        case "literal_error":
            return f"{name}: {row['input']!r:.80} is none of {row['ctx']['expected']}."
    seen = "" if isinstance(row["input"], (dict, list)) else f", got {row['input']!r:.80}"
    return f"{name}: {row['msg']}{seen}."


def _known_keys(path: _Path) -> list[str]:
    """Return the keys that the spec knows at a place."""
    model: type[BaseModel] | None = BundleSpec
    for part in path:
        if isinstance(part, int) or model is None:
            continue
        fields = {_key(name, info.alias): info.annotation for name, info in model.model_fields.items()}
        model = _model_in(fields.get(part))
    return [_key(name, info.alias) for name, info in model.model_fields.items()] if model else []


def _key(name: str, alias: str | None) -> str:
    return alias or name


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)


def _print_schema(value: Mapping[str, Json]) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


if __name__ == "__main__":
    _print_schema(schema())

"""YAML as plain values with their lines; hostile text ends in an error, never in a traceback or out of memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import yaml

from bundler.errors import SpecError
from bundler.model import limits
from bundler.model.descriptor import Json

Path: TypeAlias = tuple[str | int, ...]
# Aliases let a short text expand to a huge value ("billion laughs"): a value counts once for each use.
_LONGEST: Final = limits.SPEC_SIZE
_DEEPEST: Final = limits.SPEC_DEPTH
_MOST_VALUES: Final = limits.SPEC_VALUES
_WIDEST_NUMBER: Final = 1 << 63
_STANDARD: Final = "tag:yaml.org,2002:"
# The types of scalars; a date stays the text that was written, because JSON has no dates.
_SCALARS: Final = frozenset(_STANDARD + kind for kind in ("null", "bool", "int", "float", "str"))
_DATE: Final = _STANDARD + "timestamp"
_MERGE: Final = _STANDARD + "merge"


@dataclass(frozen=True)
class DocumentProblem:
    """Something wrong at a line (from 1) of a document."""

    line: int
    sentence: str


@dataclass(frozen=True)
class Document:
    """A document: its value, the line of every place in it, and the source text of every scalar."""

    value: Json
    lines: Mapping[Path, int]
    texts: Mapping[Path, str]
    problems: tuple[DocumentProblem, ...]

    def line(self, path: Path) -> int:
        """Return the line of a place, or of the nearest one above it that exists."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)


def load(text: str) -> Document:
    """Read one document; where its text is not YAML, the problems say why and the value is None."""
    reading = _Reading()
    try:
        value = reading.document(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reading.problem(mark.line + 1 if mark else 1, f"not YAML: {error.problem or error.context}.")
        value = None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        code = error.character if isinstance(error.character, int) else ord(error.character)
        reading.problem(line, f"not YAML: the character U+{code:04X} is not allowed.")
        value = None
    except (_TooMuchError, RecursionError) as error:
        reading.problem(1, str(error) if isinstance(error, _TooMuchError) else "nested too deeply. Use fewer levels.")
        value = None
    return Document(value, reading.lines, reading.texts, tuple(reading.problems))


def refusal(what: str, file: str, problems: Sequence[DocumentProblem]) -> SpecError:
    """Return an error with all problems in the order of lines, each as ``FILE:LINE: sentence``."""
    ordered = sorted(problems, key=lambda problem: (problem.line, problem.sentence))
    details = tuple(dict.fromkeys(f"{file}:{problem.line}: {problem.sentence}" for problem in ordered))
    count = "a problem" if len(details) == 1 else f"{len(details)} problems"
    return SpecError(f"{what} {file} has {count}.", details=details)


def dotted(path: Path) -> str:
    """Return a place as people write it, e.g. ``deployment.cronJob.commands[0]``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")


class _TooMuchError(Exception):
    """The document is larger than the limits allow."""


@dataclass
class _Reading:
    """One document being read."""

    lines: dict[Path, int] = field(default_factory=dict)
    texts: dict[Path, str] = field(default_factory=dict)
    problems: list[DocumentProblem] = field(default_factory=list)
    values: int = 0

    def problem(self, line: int, sentence: str) -> None:
        self.problems.append(DocumentProblem(line, sentence))

    def document(self, text: str) -> Json:
        if len(text) > _LONGEST:
            raise _TooMuchError(f"{len(text)} characters long; at most {_LONGEST} are read.")
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        return None if node is None else self.plain(loader, node, ())

    def plain(self, loader: yaml.SafeLoader, node: yaml.Node, path: Path) -> Json:
        """Return a node's value, and record its line."""
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        self.count(path)
        if isinstance(node, yaml.ScalarNode):
            self.texts[path] = node.value
            return self.scalar(loader, node, path)
        expected = _STANDARD + ("map" if isinstance(node, yaml.MappingNode) else "seq")
        if node.tag != expected:
            self.problem(
                line, f"{dotted(path) or 'the document'}: the tag {_shown(node.tag)} is not supported. Remove it."
            )
            return None
        if isinstance(node, yaml.MappingNode):
            value: dict[str, Json] = {}
            for key, (key_line, inner) in self.pairs(node, path).items():
                self.lines[(*path, key)] = key_line
                value[key] = self.plain(loader, inner, (*path, key))
            return value
        return [self.plain(loader, item, (*path, index)) for index, item in enumerate(node.value)]

    def count(self, path: Path, number: int = 1) -> None:
        self.values += number
        if self.values > _MOST_VALUES:
            raise _TooMuchError(f"holds more than {_MOST_VALUES} values, counting aliases as often as they are used.")
        if len(path) > _DEEPEST:
            raise _TooMuchError(f"nested more than {_DEEPEST} deep at {dotted(path[:4])}...")

    def scalar(self, loader: yaml.SafeLoader, node: yaml.ScalarNode, path: Path) -> Json:
        line, text = node.start_mark.line + 1, str(node.value)
        if node.tag == _DATE:
            return text
        if node.tag not in _SCALARS:
            self.problem(line, f"{dotted(path)}: the tag {_shown(node.tag)} is not supported. Remove it.")
            return None
        try:
            value: Json = loader.construct_object(node)
        except (ValueError, KeyError, OverflowError):
            self.problem(line, f"{dotted(path)}: {text!r:.60} cannot be read as {_shown(node.tag).lstrip('!')}.")
            return None
        if isinstance(value, (int, float)) and not (math.isfinite(value) and abs(value) < _WIDEST_NUMBER):
            self.problem(line, f"{dotted(path)}: {text:.60} is not a finite 64-bit number. Quote it if it is a string.")
            return None
        return value

    def pairs(self, node: yaml.MappingNode, path: Path, depth: int = 0) -> dict[str, tuple[int, yaml.Node]]:
        """Return key -> line and node, the mappings merged with ``<<`` below its own keys."""
        own: dict[str, tuple[int, yaml.Node]] = {}
        merged: dict[str, tuple[int, yaml.Node]] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _MERGE:
                for source in self.sources(value_node, path, line):
                    if depth == _DEEPEST:
                        raise _TooMuchError("merges a mapping into itself. Remove the merge key (<<).")
                    merged = {**self.pairs(source, path, depth + 1), **merged}
            elif not isinstance(key_node, yaml.ScalarNode):
                self.problem(line, f"{dotted(path) or 'the document'}: a key must be a string. Quote it.")
            elif (key := str(key_node.value)) in own:
                self.problem(line, f"{dotted((*path, key))}: the key occurs twice. Keep one of them.")
            else:
                own[key] = (line, value_node)
        self.count(path, len(merged))
        return {**merged, **own}

    def sources(self, node: yaml.Node, path: Path, line: int) -> Iterator[yaml.MappingNode]:
        """Yield the mappings that a merge key names."""
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if isinstance(source, yaml.MappingNode):
                self.count(path)
                yield source
            else:
                self.problem(line, f"{dotted((*path, '<<'))}: only mappings can be merged.")


def _shown(tag: str) -> str:
    return tag.replace(_STANDARD, "!!")

"""YAML documents as JSON values, all of YAML: built from parser events, so that nothing recurses or multiplies.

The parser is PyYAML's own, in Python, on every machine. libyaml is ten times as fast, and takes other texts: tabs
between words, a byte order mark, halves of surrogate pairs. What is fast is ``plain_yaml``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import yaml

from bundler.kube.yaml_budget import Budget, too_many_values
from bundler.model import limits
from bundler.model.descriptor import Json

_STANDARD: Final = "tag:yaml.org,2002:"
_RESOLVERS: Final = yaml.SafeLoader.yaml_implicit_resolvers
_WORDS: Final = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_SEXAGESIMAL: Final = re.compile(r"[-+]?[0-9_]+(:[0-5]?[0-9])+(\.[0-9_]*)?")
_LINE_MAKERS: Final = re.compile("[\x85\u2028\u2029\ufeff]")  # the last one is a byte order mark
_INFINITE: Final = re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE)


@dataclass
class _Node:
    """A list or mapping that is being read; ``weight`` is what it stands for, aliases included."""

    value: list[Json] | dict[str, Json]
    anchor: str | None
    weight: int = 1
    key: str | None = None
    merging: bool = False
    merged: dict[str, Json] = field(default_factory=dict)


def documents(text: str, budget: Budget) -> Iterator[Json]:
    """Yield the value of each document; see ``yaml_values.documents``."""
    if character := _LINE_MAKERS.search(text):
        raise ValueError(f"the character U+{ord(character[0]):04X} is not allowed: some readers take it for a line end")
    budget.take(len(text))
    reading = _Reading()
    line = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            budget.take(0, 1)
            line = event.start_mark.line + 1 if event.start_mark else line
            if reading.take(event):
                yield reading.result
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ValueError(f"line {mark.line + 1 if mark else line}: {error.problem or error.context}") from error
    except yaml.YAMLError as error:  # a character that YAML does not allow
        raise ValueError(" ".join(str(error).split())) from error
    except ValueError as error:
        raise ValueError(f"line {line}: {error}") from error


class _Reading:
    """The documents of one text, event by event."""

    def __init__(self) -> None:
        self.result: Json = None
        self._open: list[_Node] = []
        self._anchors: dict[str, tuple[Json, int]] = {}
        self._weight = 0

    def take(self, event: yaml.Event) -> bool:
        """Take an event; tell whether a document is complete with it."""
        if isinstance(event, yaml.ScalarEvent):
            _check_text(event.value)
            weight = 1 + len(event.value) // limits.YAML_CHARACTERS
            parent = self._open[-1] if self._open else None
            if parent is not None and isinstance(parent.value, dict) and parent.key is None and not parent.merging:
                self._count(weight)
                self._key(parent, event)
            else:
                self._put(_scalar(event), weight, event.anchor)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._begin(event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            node = self._open.pop()
            if isinstance(node.value, dict) and node.merged:
                node.value = {**node.merged, **node.value}
            self._put(node.value, node.weight, node.anchor, counted=True)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event.anchor)
        elif isinstance(event, yaml.DocumentStartEvent):
            self.result = None
            self._anchors = {}
        return isinstance(event, yaml.DocumentEndEvent)

    def _begin(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        kind = "map" if isinstance(event, yaml.MappingStartEvent) else "seq"
        if event.tag not in (None, "!", _STANDARD + kind):
            raise ValueError(f"the tag {_shown(event.tag)} has no meaning here")
        if len(self._open) == limits.YAML_DEPTH:
            raise ValueError(f"nested deeper than {limits.YAML_DEPTH} levels")
        parent = self._open[-1] if self._open else None
        if parent is not None and isinstance(parent.value, dict) and parent.key is None and not parent.merging:
            raise ValueError("a key must be a text")
        self._count(1)
        # What was there before under this anchor is not meant by an alias inside of it.
        self._anchors.pop(event.anchor or "", None)
        self._open.append(_Node({} if kind == "map" else [], event.anchor))

    def _alias(self, anchor: str | None) -> None:
        if anchor is None or anchor not in self._anchors:
            raise ValueError(f"the alias *{anchor:.60} names nothing, or what it is part of")
        value, weight = self._anchors[anchor]
        parent = self._open[-1] if self._open else None
        if parent is not None and isinstance(parent.value, dict) and parent.key is None and not parent.merging:
            if not isinstance(value, str):
                raise ValueError("a key must be a text")
            self._count(weight)
            _enter(parent, value)
        else:
            self._put(value, weight, None)

    def _put(self, value: Json, weight: int, anchor: str | None, *, counted: bool = False) -> None:
        """Put a value where it belongs; it was ``counted`` already where it was read piece by piece."""
        if not counted:
            self._count(weight)
        if anchor is not None:
            self._anchors[anchor] = value, weight
        if not self._open:
            self.result = value
            return
        parent = self._open[-1]
        parent.weight += weight
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif parent.merging:
            parent.merging = False
            self._merge(parent, value)
        else:
            parent.value[parent.key or ""] = value
            parent.key = None

    def _merge(self, parent: _Node, value: Json) -> None:
        sources = value if isinstance(value, list) else [value]
        for source in sources:
            if not isinstance(source, dict):
                raise ValueError("only mappings can be merged")  # noqa: TRY004  (a malformed document)
            self._count(len(source))
            parent.merged = {**source, **parent.merged}
            self._count(len(parent.merged))

    def _key(self, parent: _Node, event: yaml.ScalarEvent) -> None:
        if event.tag is None and event.implicit[0] and event.value == "<<":
            parent.merging = True
            return
        if event.anchor is not None:
            self._anchors[event.anchor] = event.value, 1
        _enter(parent, event.value)

    def _count(self, weight: int) -> None:
        self._weight += weight
        if self._weight > limits.YAML_VALUES:
            raise too_many_values()


def _check_text(text: str) -> None:
    """Refuse half of a surrogate pair, which libyaml refuses and PyYAML's own parser does not."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("half of a surrogate pair, which is not text") from None


def _enter(parent: _Node, key: str) -> None:
    if key in parent.value:
        raise ValueError(f"the key {key!r:.100} occurs twice in one mapping")
    parent.key = key


def _scalar(event: yaml.ScalarEvent) -> Json:
    text: str = event.value
    tag = event.tag
    if tag in (None, "!"):
        tag = _resolved(text) if tag is None and event.implicit[0] else _STANDARD + "str"
    match tag.removeprefix(_STANDARD):
        case "str" | "timestamp" | "value":
            return text
        case "null":
            return None
        case "bool" if text.lower() in _WORDS:
            return _WORDS[text.lower()]
        case "int":
            return _integer(text)
        case "float":
            return _float(text)
    raise ValueError(f"the tag {_shown(tag)} has no meaning here")


def _resolved(text: str) -> str:
    """Return the tag of a text without quotes, as YAML 1.1 says."""
    candidates = _RESOLVERS.get(text[0] if text else "", ())
    # The expressions below look at every character; nothing that long is a number.
    if len(text) <= limits.YAML_CHARACTERS * 4:
        for tag, expression in candidates:
            if expression.match(text):
                # 1:30 is a number of base 60 in YAML 1.1, and a text for Kubernetes.
                return _STANDARD + "str" if _SEXAGESIMAL.fullmatch(text) else str(tag)
    elif text.strip("+-.0123456789_") == "":
        raise ValueError(f"a number has {len(text)} digits")
    return _STANDARD + "str"


def _integer(text: str) -> int:
    digits = text.replace("_", "")
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    if len(digits) > limits.DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    for prefix, base in (("0b", 2), ("0x", 16), ("0o", 8)):
        if digits.startswith(prefix):
            return sign * int(digits[2:], base)
    return sign * int(digits, 8 if digits.startswith("0") and len(digits) > 1 else 10)


def _float(text: str) -> float:
    if _INFINITE.fullmatch(text):
        raise ValueError(f"{text} is not a number that JSON has")
    value = float(text.replace("_", ""))
    if not math.isfinite(value):
        raise ValueError(f"{text:.40} is not a finite number")
    return value


def _shown(tag: str) -> str:
    return repr(tag.replace(_STANDARD, "!!"))[1:-1][:60]

"""YAML as nearly all Kubernetes manifests write it, read line by line: ten times as fast as PyYAML without libyaml.

What is read here is a part of YAML: block lists and mappings, texts without quotes or in simple quotes, literal blocks.
Everything else, and everything in doubt, is left to ``yaml_events``; so is the sentence about what is wrong. Both give
the same values, which tests hold.
"""

from __future__ import annotations

import re
from typing import Final

from bundler.kube.yaml_budget import too_many_values
from bundler.model import limits
from bundler.model.descriptor import Json

_KEY: Final = re.compile(
    r"""(?:(?P<plain>[A-Za-z0-9_/$.][A-Za-z0-9_/$.-]{0,200})|"(?P<double>[^"\\]{0,200})"|'(?P<single>[^'\\]{0,200})')"""
    r":(?: +|$)"
)
# What a text without quotes may begin with, when it is one and not the mark of something else.
_PLAIN: Final = re.compile(r"[A-Za-z0-9/.^(_<=+~$;\\]|-[^ ]|[^\x00-\x7f]")
_DOUBLE: Final = re.compile(r"""[^"\\]*(?:\\["\\/nt ][^"\\]*)*""")
_DOUBLE_END: Final = re.compile(r"""(?P<text>[^"\\]*(?:\\["\\/nt ][^"\\]*)*)"(?: +#.*| *)""")
_ESCAPES: Final = {'\\"': '"', "\\\\": "\\", "\\/": "/", "\\n": "\n", "\\t": "\t", "\\ ": " "}
_ESCAPE: Final = re.compile(r"\\.")
_SINGLE: Final = re.compile(r"[^']*(?:''[^']*)*")
_SINGLE_END: Final = re.compile(r"(?P<text>[^']*(?:''[^']*)*)'(?: +#.*| *)")
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_DECIMAL: Final = re.compile(r"-?[0-9]{1,15}\.[0-9]{1,15}")
_DOTTED: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){2,9}")
# May be a number, a date or a time in one of the many forms of YAML 1.1.
_ODD_NUMBER: Final = re.compile(r"[-+.0-9][-+.0-9_:a-fA-FxXoinINTtzZ ]*")
_CONSTANTS: Final[dict[str, Json]] = {
    **{form(word): True for word in ("yes", "true", "on") for form in (str.lower, str.capitalize, str.upper)},
    **{form(word): False for word in ("no", "false", "off") for form in (str.lower, str.capitalize, str.upper)},
    **dict.fromkeys(("~", "null", "Null", "NULL")),
}


class NotPlainError(Exception):
    """The text needs the other reader."""


def documents(text: str) -> tuple[Json, ...]:
    """Return the value of each document, None for an empty one.

    Raises:
        NotPlainError: the text is not plain.
        ValueError: it has more than ``limits.YAML_VALUES`` values.
    """
    if not text.endswith("\n") or not all(map(_allowed, set(text))):
        raise NotPlainError
    reading = _Reading(text.split("\n"))
    return tuple(reading.documents())


class _Reading:
    """The lines of a text, and the place in them; ``weight`` is counted as the other reader does."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._at = 0
        self._weight = 0
        self._known = (-1, -1)  # the line that was found last, and its indent

    def documents(self) -> list[Json]:
        documents: list[Json] = []
        begun = False
        while (indent := self._next()) >= 0:
            line = self._lines[self._at]
            if line == "---":
                if begun:
                    self._count(1)
                    documents.append(None)
                self._at += 1
                begun = True
            else:
                if documents and not begun:
                    raise NotPlainError
                documents.append(self._node(indent, 0))
                begun = False
        if begun:
            self._count(1)
            documents.append(None)
        return documents

    def _next(self) -> int:
        """Go to the next line that says something; return its indent, -1 behind the last one."""
        if self._at == self._known[0]:
            return self._known[1]
        lines = self._lines
        while self._at < len(lines):
            line = lines[self._at]
            content = line.lstrip(" ")
            if content and content[0] != "#":
                if line[0] in "%.-" and (line[0] == "%" or line.startswith(("---", "..."))) and line != "---":
                    raise NotPlainError
                self._known = self._at, len(line) - len(content)
                return self._known[1]
            self._at += 1
        return -1

    def _count(self, weight: int) -> None:
        self._weight += weight
        if self._weight > limits.YAML_VALUES:
            raise too_many_values()

    def _node(self, indent: int, depth: int) -> Json:
        """Read the list or mapping that begins at this line."""
        if depth == limits.YAML_DEPTH:
            raise NotPlainError
        content = self._lines[self._at][indent:]
        self._count(1)
        if _is_item(content):
            return self._list(indent, depth)
        if _KEY.match(content):
            return self._mapping(indent, depth)
        raise NotPlainError

    def _list(self, indent: int, depth: int) -> Json:
        items: list[Json] = []
        while self._next() == indent:
            line = self._lines[self._at]
            if line == "---":
                break
            if not _is_item(line[indent:]):
                break
            content = line[indent + 1 :].lstrip(" ")
            if not content or content[0] == "#":
                items.append(self._below(indent, depth))
            elif _is_item(content) or _KEY.match(content):
                # A list or mapping that begins on the line of its item reads as if it began on a line of its own.
                place = len(line) - len(content)
                self._lines[self._at] = " " * place + content
                self._known = self._at, place
                items.append(self._node(place, depth + 1))
            else:
                items.append(self._scalar(content, indent))
        self._ended(indent)
        return items

    def _mapping(self, indent: int, depth: int) -> Json:
        mapping: dict[str, Json] = {}
        while self._next() == indent:
            line = self._lines[self._at]
            if line == "---":
                break
            match = _KEY.match(line, indent)
            if not match:
                break
            key = match["plain"]
            if key is None:
                key = match["double"] if match["double"] is not None else match["single"]
            if key in mapping:
                raise NotPlainError
            self._count(1 + len(key) // limits.YAML_CHARACTERS)
            content = line[match.end() :]
            if not content or content[0] == "#":
                mapping[key] = self._below(indent, depth, after_key=True)
            else:
                mapping[key] = self._scalar(content, indent)
        self._ended(indent)
        return mapping

    def _ended(self, indent: int) -> None:
        """Hold that what follows belongs to something further out."""
        if self._next() > indent:
            raise NotPlainError

    def _below(self, indent: int, depth: int, *, after_key: bool = False) -> Json:
        """Read what stands on the lines behind a key or an item without a value of its own."""
        self._at += 1
        below = self._next()
        # The items of a list may stand as far to the left as the key that it belongs to.
        if below > indent or (after_key and below == indent and _is_item(self._lines[self._at][indent:])):
            return self._node(below, depth + 1)
        self._count(1)
        return None

    def _scalar(self, content: str, indent: int) -> Json:
        """Read a text that begins with ``content``, behind the indent of its key or item."""
        if content[0] == '"':
            return self._double(content, indent)
        if content[0] == "'":
            return self._single(content, indent)
        if content in ("|", "|-"):
            return self._literal(indent, end="\n" if content == "|" else "")
        if content in ("{}", "[]"):
            self._count(1)
            self._at += 1
            return {} if content == "{}" else []
        return self._plain(content, indent)

    def _text(self, text: str) -> str:
        self._count(1 + len(text) // limits.YAML_CHARACTERS)
        return text

    def _double(self, content: str, indent: int) -> str:
        pieces: list[str] = []
        rest = content[1:]
        while not (match := _DOUBLE_END.fullmatch(rest)):
            # A backslash at the end of a line joins it with the next one, and keeps the spaces before it.
            joined = rest.endswith("\\") and _DOUBLE.fullmatch(rest[:-1])
            piece = rest[:-1] if joined else rest.rstrip(" ")
            if not _DOUBLE.fullmatch(piece):
                raise NotPlainError
            pieces += [piece] if joined else [piece, " "]
            rest = self._continued(indent)
        self._at += 1
        return self._text(_ESCAPE.sub(lambda escape: _ESCAPES[escape[0]], "".join([*pieces, match["text"]])))

    def _single(self, content: str, indent: int) -> str:
        pieces: list[str] = []
        rest = content[1:]
        while not (match := _SINGLE_END.fullmatch(rest)):
            pieces.append(rest.rstrip(" "))
            if not _SINGLE.fullmatch(pieces[-1]):
                raise NotPlainError
            rest = self._continued(indent)
        self._at += 1
        return self._text(" ".join([*pieces, match["text"]]).replace("''", "'"))

    def _continued(self, indent: int) -> str:
        """Go to the next line of a text in quotes."""
        self._at += 1
        line = self._lines[self._at] if self._at < len(self._lines) else ""
        content = line.lstrip(" ")
        if not content or len(line) - len(content) <= indent:
            raise NotPlainError
        return content

    def _literal(self, indent: int, *, end: str) -> str:
        self._at += 1
        lines = self._lines
        begin = lines[self._at] if self._at < len(lines) else ""
        content = begin.lstrip(" ")
        inner = len(begin) - len(content)
        if not content or inner <= indent:
            raise NotPlainError
        block: list[str] = []
        while self._at < len(lines):
            line = lines[self._at]
            if line[:inner].strip(" "):
                break
            block.append(line[inner:])
            self._at += 1
        while not block[-1]:
            block.pop()
        return self._text("\n".join(block) + end)

    def _plain(self, content: str, indent: int) -> Json:
        if not _PLAIN.match(content):
            raise NotPlainError
        lines = self._lines
        text, commented = _without_comment(content)
        self._at += 1
        breaks = 0
        pieces = [text]
        while self._at < len(lines):
            line = lines[self._at]
            rest = line.strip(" ")
            if not rest:
                breaks += 1
                self._at += 1
                continue
            if len(line) - len(line.lstrip(" ")) <= indent:
                break
            if commented or rest[0] == "#":
                raise NotPlainError
            rest, commented = _without_comment(rest)
            pieces += ["\n" * breaks or " ", rest]
            breaks = 0
            self._at += 1
        return self._resolved(self._text("".join(pieces)))

    @staticmethod
    def _resolved(text: str) -> Json:
        """Return what a text without quotes stands for."""
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if text[0] in "-+.0123456789":
            if _INTEGER.fullmatch(text):
                return int(text)
            if _DECIMAL.fullmatch(text):
                return float(text)
            if not _DOTTED.fullmatch(text) and _ODD_NUMBER.fullmatch(text):
                raise NotPlainError
        elif text == "<<":
            raise NotPlainError
        return text


def _allowed(character: str) -> bool:
    """Tell whether a character has no meaning for lines and columns, or is a line end or a space."""
    return (
        " " <= character <= "~"
        or character == "\n"
        # Behind the controls of Latin-1, and but for two more line ends.
        or ("\u00a1" <= character <= "\ud7ff" and character not in "\u2028\u2029")
    )


def _is_item(content: str) -> bool:
    return content == "-" or content.startswith("- ")


def _without_comment(content: str) -> tuple[str, bool]:
    """Return a line of a text without quotes, and whether a comment followed it."""
    text, mark, _ = content.partition(" #")
    text = text.rstrip(" ")
    if ": " in text or text.endswith(":"):
        raise NotPlainError
    return text, bool(mark)

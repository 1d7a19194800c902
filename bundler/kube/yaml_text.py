"""YAML text that all readers understand alike: strings that look like another type are quoted, lines do not wrap."""

from __future__ import annotations

import re
from typing import Final

import yaml

from bundler.model.descriptor import Json

# A string that needs no quotes in YAML 1.1 (PyYAML) and 1.2 (Kubernetes): it begins with a
# letter or slash, so it is not a number or date, and has no special characters. The others are words of YAML 1.1.
_PLAIN: Final = re.compile(r"[A-Za-z/][A-Za-z0-9/_.@-]*(?:[:=+,][A-Za-z0-9/_.@-]+)*(?: [A-Za-z0-9/_.@-]+)*")
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
# In a literal block, these would be read as line ends, or refused.
_LINE_MAKERS: Final = re.compile("[\x85\u2028\u2029\ufeff]")
_WIDTH: Final = 1 << 20


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper with list items indented, the quoting rules above, and no aliases."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    if _is_plain(text):
        style = None
    elif "\n" in text and not text[0].isspace() and not text.endswith("\n\n") and not _LINE_MAKERS.search(text):
        style = "|"  # PyYAML itself falls back to quotes for what else a literal block cannot hold
    else:
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _is_plain(text: str) -> bool:
    return _PLAIN.fullmatch(text) is not None and text.lower() not in _WORDS


_Dumper.add_representer(str, _represent_text)


def scalar(value: Json) -> str:
    """Write a scalar on one line; raise ``TypeError`` for any other value."""
    if isinstance(value, (dict, list)):
        raise TypeError(f"a template writes {value!r} as a scalar")
    if isinstance(value, str) and not _is_plain(value):
        text: str = yaml.dump(value, default_style='"', width=_WIDTH, allow_unicode=True)
        return text.rstrip("\n")
    written: str = yaml.dump(value, Dumper=_Dumper, width=_WIDTH, allow_unicode=True)
    return written.removesuffix("...\n").rstrip("\n")


def dump(value: Json) -> str:
    """Write a document, keys in their order."""
    text: str = yaml.dump(value, Dumper=_Dumper, width=_WIDTH, allow_unicode=True, sort_keys=False)
    return text


def block(value: Json, indent: int) -> str:
    """Write a value after ``key:``: a scalar behind a space, all else on lines of its own, at ``indent`` columns."""
    if not isinstance(value, (dict, list)) and not (isinstance(value, str) and "\n" in value):
        return f" {scalar(value)}"
    if not value:
        return " {}" if isinstance(value, dict) else " []"
    if isinstance(value, str):
        # The header of a literal block stays on the key's line.
        header, _, lines = dump({"key": value}).removeprefix("key: ").partition("\n")
        return f" {header}\n{_indented(lines, indent - 2)}" if header.startswith("|") else f" {scalar(value)}"
    return f"\n{_indented(dump(value), indent)}"


def _indented(text: str, indent: int) -> str:
    return "\n".join(f"{' ' * indent}{line}" if line else "" for line in text.rstrip("\n").split("\n"))


def comment(text: str, indent: int = 0) -> str:
    """Write text as comment lines."""
    return "\n".join(f"{' ' * indent}# {line}".rstrip() for line in text.strip().splitlines())

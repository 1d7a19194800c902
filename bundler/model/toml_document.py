"""TOML of unknown origin: a table, or a sentence; ``tomllib`` alone recurses, and is quadratic in long keys."""

from __future__ import annotations

import re
from typing import Any, Final

import tomllib

from bundler.model import limits

# A text, or what begins like one and does not end on its line: what matches always, is searched but once.
_TEXT: Final = re.compile(r'"(?:[^"\\\n]|\\.|\\$)*(?:"|$)' + r"|'[^'\n]*(?:'|$)", re.MULTILINE)


def parse(text: str) -> dict[str, Any]:
    """Return the table that a document stands for.

    Raises:
        ValueError: not TOML, larger than ``limits.TOML_SIZE``, nested too deeply, or with a key of very many parts.
    """
    if len(text) > limits.TOML_SIZE:
        raise ValueError(f"{len(text)} characters, more than the limit of {limits.TOML_SIZE}")
    # Texts may have as many dots as they like, but not what stands outside of them: a.b.c = 1.
    if any(line.count(".") > limits.TOML_DOTS for line in _TEXT.sub("", text).split("\n")):
        raise ValueError(f"a line with more than {limits.TOML_DOTS} dots outside of texts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None

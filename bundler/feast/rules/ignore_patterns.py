"""Patterns that choose the files of a feature repo, as in ``.gitignore``, matched in time that grows with the path.

pathspec makes one regular expression of each pattern. A star in it tries every length, and so does every other star for
each of those: ``*a*a*a*a*a*b`` takes minutes on a name of fifty letters. A star may take the first place where what
follows it fits, as nothing before the next star depends on it; an atomic group says so.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from typing import Final

from pathspec import GitIgnoreSpec

from bundler.errors import SpecError
from bundler.model import limits

_STAR: Final = "[^/]*"
# What stands between two stars of one name: anything but a slash, a group or an end.
_WITHIN_A_NAME: Final = re.compile(r"(?:\\.|\[\^?(?:\\.|[^\]\\/])*\]|\[\^/\]|[^\\/()\[\]|$^+*?])*", re.DOTALL)


def read(place: str, lines: Iterable[str]) -> GitIgnoreSpec:
    """Read patterns; ``place`` is where they stand.

    Raises:
        SpecError: one cannot be read, or is past a limit.
    """
    patterns = list(lines)
    if len(patterns) > limits.IGNORE_PATTERNS:
        raise SpecError(f"{place}: more than {limits.IGNORE_PATTERNS} patterns.", remedy="Leave out folders instead.")
    for line in patterns:
        if len(line) > limits.IGNORE_LENGTH or line.count("**") > limits.IGNORE_DOUBLE_STARS:
            raise SpecError(
                f"{place}: the pattern {line[:60]!r} has more than {limits.IGNORE_LENGTH} characters or "
                f"{limits.IGNORE_DOUBLE_STARS} times **.",
                remedy="Write several shorter ones.",
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # of a set like [[a-z], which later Pythons may read otherwise
            spec = GitIgnoreSpec.from_lines(patterns)
            for pattern in spec.patterns:
                if (expression := getattr(pattern, "regex", None)) is not None:
                    pattern.regex = re.compile(_without_backtracking(expression.pattern))
    except (ValueError, re.error) as error:  # pathspec passes on what Python says of a range like [a-*]
        raise SpecError(f"{place}: a pattern cannot be read: {error}.", remedy="Write it as in .gitignore.") from error
    return spec


def _without_backtracking(expression: str) -> str:
    first, *rest = expression.split(_STAR)
    if not rest:
        return expression
    *middle, last = rest
    # Two stars beside each other are one.
    return "".join((first, *map(_first_fit, filter(None, middle)), _STAR, last))


def _first_fit(text: str) -> str:
    """Return a star and what follows it up to the next one, at the first place where it fits."""
    return f"(?>{_STAR}?{text})" if _WITHIN_A_NAME.fullmatch(text) else _STAR + text

"""Patterns match what git's do, and soon, whatever the pattern."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from bundler.errors import SpecError
from bundler.feast.rules import ignore_patterns
from bundler.model import limits

PATTERN = (
    st.lists(
        st.sampled_from(
            ["*", "**", "/", "a", "b", "?", "[ab]", "[!a]", "[a-c]", ".", "\\*", "!", "[]a]", "(", "$", "+", "^"]
        ),
        min_size=1,
        max_size=8,
    )
    .map("".join)
    .filter(lambda line: line.count("**") <= limits.IGNORE_DOUBLE_STARS)
)
PATH = st.lists(st.text("ab.*($+^]", min_size=1, max_size=5), min_size=1, max_size=3).map("/".join)


@given(st.lists(PATTERN, min_size=1, max_size=3), st.lists(PATH, min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_patterns_match_what_pathspec_says(patterns: list[str], paths: list[str]) -> None:
    try:
        expected = GitIgnoreSpec.from_lines(patterns)
    except (ValueError, re.error):
        with pytest.raises(SpecError):
            ignore_patterns.read("x", patterns)
        return
    found = ignore_patterns.read("x", patterns)
    for path in [*paths, *(f"{path}/" for path in paths)]:
        assert found.match_file(path) == expected.match_file(path), path


@pytest.mark.parametrize("pattern", ["*a" * 60 + "b", "*a?" * 40 + "b", "**/*a*a*a*a*a*a*a*b", "**/a/**/a/**/a/**/b"])
def test_many_stars_take_no_time(pattern: str) -> None:
    patterns = ignore_patterns.read("x", [pattern])
    began = time.process_time()
    assert not patterns.match_file("a" * 250)
    assert not patterns.match_file("a/" * 100 + "a")
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("at", "past"),
    [
        (["a"] * limits.IGNORE_PATTERNS, ["a"] * (limits.IGNORE_PATTERNS + 1)),
        (["a" * limits.IGNORE_LENGTH], ["a" * (limits.IGNORE_LENGTH + 1)]),
        (["**/" * limits.IGNORE_DOUBLE_STARS + "a"], ["**/" * (limits.IGNORE_DOUBLE_STARS + 1) + "a"]),
    ],
)
def test_each_limit_is_held_and_what_is_at_it_is_read(at: list[str], past: list[str]) -> None:
    ignore_patterns.read(".bundlerignore", at)
    with pytest.raises(SpecError, match=r"^\.bundlerignore: "):
        ignore_patterns.read(".bundlerignore", past)


def test_a_range_that_runs_backwards_is_refused_with_a_sentence() -> None:
    with pytest.raises(SpecError, match="a pattern cannot be read"):
        ignore_patterns.read(".bundlerignore", ["[a-*z]"])


def test_a_bracket_in_a_set_is_no_warning() -> None:
    assert ignore_patterns.read(".bundlerignore", ["[[a]x"]).match_file("ax")

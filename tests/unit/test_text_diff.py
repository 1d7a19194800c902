"""A diff is a patch that makes the new text of the old one, whatever the texts; its time grows with their lines."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.render import text_diff

LINES = st.lists(st.sampled_from("abcdef"), max_size=12)


def patched(old: list[str], diff: list[str]) -> list[str]:
    """Apply a unified diff as ``patch`` does, refusing lines that are not where it says."""
    new: list[str] = []
    position = 0
    for line in diff[2:]:
        if line.startswith("@@"):
            begin, _, length = line.split()[1].removeprefix("-").partition(",")
            start = int(begin) - (0 if length == "0" else 1)
            new += old[position:start]
            position = start
        elif line.startswith("+"):
            new.append(line[1:])
        else:
            assert old[position] == line[1:]
            new += [] if line.startswith("-") else [line[1:]]
            position += 1
    return new + old[position:]


@given(LINES, LINES)
@settings(max_examples=300, deadline=None)
def test_a_diff_makes_the_new_text_of_the_old_one(old: list[str], new: list[str]) -> None:
    diff = list(text_diff.unified(old, new, "a/x", "b/x"))
    assert patched(old, diff) == new
    assert bool(diff) == (old != new)


def test_a_moved_and_a_changed_line_are_shown_with_three_lines_around_them() -> None:
    old = [f"line {number}" for number in range(20)]
    new = [*old[:10], "new", *old[11:]]
    assert list(text_diff.unified(old, new, "a/x", "b/x")) == [
        *("--- a/x", "+++ b/x", "@@ -8,7 +8,7 @@", " line 7", " line 8", " line 9", "-line 10", "+new"),
        *(" line 11", " line 12", " line 13"),
    ]


@pytest.mark.parametrize("distinct", [1, 2, 400, 20_000])
def test_texts_of_repeated_lines_are_compared_soon(distinct: int) -> None:
    numbers = random.Random(1)  # noqa: S311  (content, not a secret)
    old = [f"k{numbers.randrange(distinct)}: v" for _ in range(40_000)]
    new = [f"k{numbers.randrange(distinct)}: v" for _ in range(40_000)]
    began = time.process_time()
    assert patched(old, list(text_diff.unified(old, new, "a", "b"))) == new
    assert time.process_time() - began < 5

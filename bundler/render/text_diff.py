"""Unified diffs of texts of unknown origin, in time that grows with their lines.

difflib compares repeated lines with each other, which takes minutes where texts consist of them. Here, lines that occur
once in both texts are aligned first (patience diff), then those between two of them, and so on.
"""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

# Each round looks at each line at most once; what is not aligned then is shown as removed and added.
_ROUNDS: Final = 12


def unified(old: Sequence[str], new: Sequence[str], old_name: str, new_name: str) -> Iterator[str]:
    """Yield the lines of a unified diff, none where the texts are the same; as ``difflib.unified_diff`` does."""
    for number, group in enumerate(_Aligned(old, new).get_grouped_opcodes()):
        if not number:
            yield f"--- {old_name}"
            yield f"+++ {new_name}"
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@"
        for tag, begin, end, other_begin, other_end in group:
            if tag == "equal":
                yield from (f" {line}" for line in old[begin:end])
            else:
                yield from (f"-{line}" for line in old[begin:end])
                yield from (f"+{line}" for line in new[other_begin:other_end])


class _Aligned(difflib.SequenceMatcher[str]):
    """Groups changes with the lines around them as difflib does, from an alignment of our own."""

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        super().__init__(None, [], [])
        self._blocks = [difflib.Match(*run) for run in (*_runs(old, new), (len(old), len(new), 0))]

    def get_matching_blocks(self) -> list[difflib.Match]:
        return self._blocks


def _range(begin: int, end: int) -> str:
    length = end - begin
    if length == 1:
        return str(begin + 1)
    return f"{begin + 1 if length else begin},{length}"


def _runs(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int, int]]:
    """Return runs of lines that are the same in both: begin in the old, begin in the new, length; in order."""
    same: list[tuple[int, int]] = []
    gaps = [(0, len(old), 0, len(new))]
    for _ in range(_ROUNDS):
        gaps = [inner for gap in gaps for inner in _narrowed(old, new, gap, same)]
    runs: list[tuple[int, int, int]] = []
    for old_line, new_line in sorted(same):
        if runs and (runs[-1][0] + runs[-1][2], runs[-1][1] + runs[-1][2]) == (old_line, new_line):
            runs[-1] = (*runs[-1][:2], runs[-1][2] + 1)
        else:
            runs.append((old_line, new_line, 1))
    return runs


def _narrowed(
    old: Sequence[str], new: Sequence[str], gap: tuple[int, int, int, int], same: list[tuple[int, int]]
) -> Iterator[tuple[int, int, int, int]]:
    """Align what is at both ends of a gap, and the lines that occur once; yield the gaps that are left."""
    begin, end, other, other_end = gap
    while begin < end and other < other_end and old[begin] == new[other]:
        same.append((begin, other))
        begin, other = begin + 1, other + 1
    while begin < end and other < other_end and old[end - 1] == new[other_end - 1]:
        end, other_end = end - 1, other_end - 1
        same.append((end, other_end))
    if begin == end or other == other_end:
        return
    counts, other_counts = Counter(old[begin:end]), Counter(new[other:other_end])
    places = {new[place]: place for place in range(other, other_end)}
    pairs = [
        (place, places[line])
        for place, line in enumerate(old[begin:end], begin)
        if counts[line] == 1 and other_counts.get(line) == 1
    ]
    anchors = _longest_rising(pairs)
    if not anchors:
        return
    same += anchors
    for place, other_place in (*anchors, (end, other_end)):
        yield begin, place, other, other_place
        begin, other = place + 1, other_place + 1


def _longest_rising(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the most pairs that rise in their second number, too; the first ones rise already."""
    ends: list[int] = []  # of the rising sequences of each length, the smallest last number
    indexes: list[int] = []
    before: list[int] = []
    for index, (_, place) in enumerate(pairs):
        length = bisect_left(ends, place)
        before.append(indexes[length - 1] if length else -1)
        if length == len(ends):
            ends.append(place)
            indexes.append(index)
        else:
            ends[length] = place
            indexes[length] = index
    rising = []
    index = indexes[-1] if indexes else -1
    while index >= 0:
        rising.append(pairs[index])
        index = before[index]
    return rising[::-1]

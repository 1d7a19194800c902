"""The rewriting of image references in texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

# A run of characters that references consist of; a reference begins where such a run does.
_RUN: Final = re.compile(r"[\w/@:.-]+")
# Characters of references: a match that is followed by one of these is only the beginning of another reference.
_GOES_ON: Final = r"[\w/@:]|[.-]\w"
_GOES_BEFORE: Final = r"[\w/@:.-]"
# A value of YAML that a registry by IPv6 address begins: without quotes it would be a list.
_BRACKETED_VALUE: Final = re.compile(r"^(\s*(?:- )*(?:[\w.-]+: )?)(\[[0-9a-fA-F:]+\][\w/@:.-]+)$", re.MULTILINE)
_ENDS: Final = re.compile(rf"(?!{_GOES_ON})")


def relocate_text(text: str, mapping: Mapping[str, str]) -> tuple[str, int]:
    """Replace references in YAML by a mapping (source -> internal); return the text and how many were replaced.

    Whole references only: where ``app:1`` is mapped, ``app:1.2``, ``app:1@sha256:...`` and ``other/app:1`` stay. The
    time grows with the text, however many references there are. What begins with an IPv6 address gets quotes.
    """
    if not mapping:
        return text, 0
    plain = {source: internal for source, internal in mapping.items() if _RUN.fullmatch(source)}
    replaced, count = _replace_runs(text, plain)
    # References of other transports and hosts in brackets; a bundle has a handful at most.
    if odd := sorted(mapping.keys() - plain.keys(), key=len, reverse=True):
        pattern = re.compile(rf"(?<!{_GOES_BEFORE})(?:{'|'.join(map(re.escape, odd))})(?!{_GOES_ON})")
        replaced, more = pattern.subn(lambda match: mapping[match[0]], replaced)
        count += more
    if any(internal.startswith("[") for internal in mapping.values()):
        replaced = _BRACKETED_VALUE.sub(r'\1"\2"', replaced)
    return replaced, count


def _replace_runs(text: str, mapping: Mapping[str, str]) -> tuple[str, int]:
    lengths = sorted({len(source) for source in mapping}, reverse=True)
    count = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal count
        run = match[0]
        for end in lengths:
            if end <= len(run) and (internal := mapping.get(run[:end])) is not None and _ENDS.match(run, end):
                count += 1
                return internal + run[end:]
        return run

    return (_RUN.sub(replace, text), count) if mapping else (text, 0)

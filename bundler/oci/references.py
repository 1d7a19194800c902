"""The rewriting of image references in texts."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Characters of references: a match that is followed by one of these is only the beginning of another reference.
_GOES_ON = r"[\w/@:]|[.-]\w"
_GOES_BEFORE = r"[\w/@:.-]"


def relocate_text(text: str, mapping: Mapping[str, str]) -> tuple[str, int]:
    """Replace references in a text by a mapping (source -> internal); return the text and how many were replaced.

    Whole references only: where ``app:1`` is mapped, ``app:1.2``, ``app:1@sha256:...`` and ``other/app:1`` stay.
    """
    if not mapping:
        return text, 0
    alternatives = "|".join(re.escape(source) for source in sorted(mapping, key=len, reverse=True))
    pattern = re.compile(rf"(?<!{_GOES_BEFORE})(?:{alternatives})(?!{_GOES_ON})")
    return pattern.subn(lambda match: mapping[match[0]], text)

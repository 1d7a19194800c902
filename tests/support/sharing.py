"""Which tests run on the same worker: those that share what takes long to make."""

from __future__ import annotations

from typing import Final

from xdist.scheduler import LoadScopeScheduling

_END_TO_END: Final = "tests/e2e/"
_ALONE: Final = frozenset({"tests/e2e/test_engines.py", "tests/e2e/test_rehearse.py"})
"""They take as long as all others together, so that a bundle more to make is worth it."""


class BySharing(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Give a worker one file of tests after the other, and one of them all end-to-end tests that share a bundle.

    The grouping that pytest-xdist 3.8 has for this writes an attribute that pytest 9.2 does not read.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return _END_TO_END if file.startswith(_END_TO_END) and file not in _ALONE else file

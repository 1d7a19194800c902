"""Which releases of Feast work with this tool and the operator, and which one is proposed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

OLDEST_FEAST: Final = "0.50"
WHY_OLDEST: Final = (
    "the operator starts `feast serve_registry --grpc`, and servers find the baked repo by FEATURE_REPO_DIR_ENV_VAR; "
    "Feast 0.50 is the first that knows both"
)
NEWEST_FEAST: Final = "0.67.0"
# The newest release of the operator whose CRD was read.
NEWEST_OPERATOR: Final = "0.66.0"
# Of the releases that Feast has made, the last one of each minor version, for ranges such as >=0.60,<0.63.
_LAST_OF_MINOR: Final = {48: 1, 54: 1}
RELEASES: Final = tuple(f"0.{minor}.{_LAST_OF_MINOR.get(minor, 0)}" for minor in range(42, 68))


def too_old(version: str) -> str:
    """Return why a release of Feast cannot be deployed, empty where it can; what is not a version is not judged."""
    try:
        if Version(version).release[:2] >= Version(OLDEST_FEAST).release[:2]:
            return ""
    except InvalidVersion:
        return ""
    return f"Feast {version} is older than {OLDEST_FEAST}, the oldest that works: {WHY_OLDEST}"


def newest_in(ranges: Sequence[str]) -> str | None:
    """Return the newest release that all specifiers allow, None where there is none or one cannot be read."""
    try:
        allowed = SpecifierSet(",".join(text for text in ranges if text))
    except InvalidSpecifier:
        return None
    return next((release for release in reversed(RELEASES) if release in allowed), None)

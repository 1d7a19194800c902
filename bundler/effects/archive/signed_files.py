"""What checking signatures and approvals needs of an open bundle: which files it has, and the small ones among them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class SignedFiles(Protocol):
    """An open bundle, as far as its signatures and approvals are concerned."""

    path: Path

    @property
    def members(self) -> Mapping[str, object]:
        """Every member by path."""

    def __contains__(self, path: str) -> bool:
        """Tell whether a file is in the bundle."""

    def read(self, path: str, *, limit: int) -> bytes:
        """Return a small file whole; raise ``VerificationError`` where it has more than ``limit`` bytes."""

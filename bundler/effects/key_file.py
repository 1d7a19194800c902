"""Read a private key's file, where nobody but its owner may read it."""

from __future__ import annotations

import stat
from pathlib import Path

from bundler.effects import files
from bundler.errors import UsageError


def read(path: Path, remedy: str) -> bytes:
    """Return the content of a key's file; ``remedy`` says how to make a key.

    Raises:
        UsageError: it cannot be read, or other users have rights on it.
    """
    content = files.read_content(path, "the signing key", remedy=remedy)
    if open_to := stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise UsageError(
            f"Other users have rights ({open_to:03o}) on the signing key {path}.", remedy=f"Run: chmod 600 {path}"
        )
    return content

"""Where Docker keeps what its users configured: logins and contexts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

FILE: Final = "config.json"


def folder(environment: Mapping[str, str]) -> Path | None:
    """Return Docker's configuration folder, None where the environment names neither one nor a home."""
    if named := environment.get("DOCKER_CONFIG"):
        return Path(named)
    home = environment.get("HOME")
    return Path(home, ".docker") if home else None

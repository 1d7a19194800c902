"""The configuration folders of the programs whose logins, mirrors and engines this program uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

DOCKER_FILE: Final = "config.json"


def docker(environment: Mapping[str, str]) -> Path | None:
    """Return Docker's folder, None where the environment names neither it nor a home."""
    if named := environment.get("DOCKER_CONFIG"):
        return Path(named)
    home = environment.get("HOME")
    return Path(home, ".docker") if home else None


def containers(environment: Mapping[str, str]) -> Path | None:
    """Return the folder of Podman, skopeo and Buildah, None where the environment names no home."""
    if named := environment.get("XDG_CONFIG_HOME"):
        return Path(named, "containers")
    home = environment.get("HOME")
    return Path(home, ".config/containers") if home else None

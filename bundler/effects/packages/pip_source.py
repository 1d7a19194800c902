"""The pip that this program was installed with, as files to copy into an image that may have none."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

from bundler.errors import ToolMissingError

_PACKAGE: Final = "pip"


def files() -> Iterator[tuple[str, bytes]]:
    """Yield path below the package's folder and content of every file that pip needs to run, sorted."""
    files = _distribution().files or []
    for file in sorted(files, key=str):
        names = file.parts
        # Launchers are for Windows.
        if names[0] == _PACKAGE and "__pycache__" not in names and file.suffix != ".exe":
            yield "/".join(names[1:]), Path(str(file.locate())).read_bytes()


def _distribution() -> metadata.Distribution:
    try:
        return metadata.distribution(_PACKAGE)
    except metadata.PackageNotFoundError as error:
        raise ToolMissingError(
            "pip is not installed; container engines need it to install packages.",
            remedy="Install pip into the environment of bundler.",
        ) from error

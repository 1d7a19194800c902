"""Files that travel with the program: templates of manifests, and what every bundle carries.

In an installed wheel they lie inside this package; in a checkout they are the top-level folders of the same name, so
that what people read in the repository is what the program uses.
"""

from __future__ import annotations

import pkgutil
from pathlib import Path


def folder(name: str) -> Path:
    """Return the resource folder ``name``, e.g. ``manifests``."""
    packaged = Path(__file__).resolve().parent / name
    if packaged.is_dir():
        return packaged
    return Path(__file__).resolve().parents[2] / name


def read(name: str) -> bytes:
    """Return a file of this package itself, e.g. ``install.sh``."""
    content = pkgutil.get_data(__name__, name)  # also inside bundler.pyz
    if content is None:
        raise FileNotFoundError(name)
    return content

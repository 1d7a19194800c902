"""Files that travel with the program: templates of manifests and Dockerfiles.

In an installed wheel they lie inside this package; in a checkout they are the top-level folders of the same name, so
that what people read in the repository is what the program uses.
"""

from __future__ import annotations

from pathlib import Path


def folder(name: str) -> Path:
    """Return the resource folder ``name`` (``manifests`` or ``dockerfiles``)."""
    packaged = Path(__file__).resolve().parent / name
    if packaged.is_dir():
        return packaged
    return Path(__file__).resolve().parents[2] / name

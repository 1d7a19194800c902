"""What a rehearsal is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bundler.effects import files
from bundler.errors import UsageError
from bundler.model import assignments

ANY_USER: Final = "1000730000:0"
"""A user as OpenShift chooses one: a UID without an account, in group 0."""


@dataclass(frozen=True)
class RehearseOptions:
    """What ``bundler rehearse`` was asked.

    ``store_images`` is kind (redis, postgres) -> image that the engine has. Without one, the rehearsal takes an image
    of the bundle, or else stores in files. ``manifests`` replaces those of the bundle. ``values`` is variable -> value
    for what a site fills in; a variable without a value gets a random one. ``notes_folder`` holds a note of this run
    while it lasts, so that the next run removes from the engine what a killed one left; with None there is no note.
    """

    engine: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    store_images: Mapping[str, str] = field(default_factory=dict)
    user: str = ANY_USER
    read_only_root: bool = False
    manifests: Path | None = None
    operator_version: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    keep_images: bool = False
    notes_folder: Path | None = None


def read_values(path: Path) -> Mapping[str, str]:
    """Read NAME=VALUE lines, as ``kubectl create secret --from-env-file`` does; empty lines and # comments are skipped.

    Raises:
        UsageError: the file cannot be read, or a line is not NAME=VALUE.
    """
    text = files.read_text(path, "the values of variables", error=UsageError)
    return assignments.parse(text, path, form="NAME=VALUE", remedy="Write one variable a line.")

"""The Dockerfile by which a container engine bakes a feature server, and the requirement file that it reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bundler.errors import SpecError
from bundler.model.lock import LockedSource, LockedWheel
from bundler.render import jinja

MAIN: Final = "Dockerfile"
SYSTEM: Final = "Dockerfile.system"
"""The Dockerfile whose steps have a network."""
_PLAIN_PATH: Final = re.compile(r"(/[A-Za-z0-9._+-]+)+")
_USER: Final = re.compile(r"[A-Za-z0-9._-]*(:[A-Za-z0-9._-]+)?")
_NOT_IN_LABELS: Final = re.compile(r"[\x00-\x1f]")


@dataclass(frozen=True)
class SystemPackages:
    """The packages that the base image's package manager, ``apt`` or ``rpm``, installs."""

    manager: str
    packages: tuple[str, ...]


@dataclass(frozen=True)
class DockerfileInputs:
    """The values that a Dockerfile is written from; paths are absolute paths in the image.

    ``base`` is the engine's name for the base image, ``user`` the base image's user (empty for root), ``epoch`` the
    time of the files that are made, in seconds. ``writable`` is a file below ``site_packages`` that group 0 may write,
    ``sources`` are names of distributions that are built from source.
    """

    title: str
    base: str
    base_name: str
    user: str
    python: str
    site_packages: str
    home: str
    repo_folder: str
    epoch: int
    labels: Mapping[str, str]
    packages: bool = True
    writable: str = ""
    system: SystemPackages | None = None
    sources: tuple[str, ...] = ()


def render(recipe: DockerfileInputs) -> Mapping[str, str]:
    """Return file name -> text: ``MAIN``, and ``SYSTEM`` before it where there are system packages.

    They are two files because engines give a network to all steps of a build or to none.

    Raises:
        SpecError: the base image's config or the labels hold characters that a Dockerfile cannot hold.
    """
    paths = (recipe.python, recipe.site_packages, recipe.home, recipe.repo_folder)
    strange = [path for path in paths if not _PLAIN_PATH.fullmatch(path)]
    strange += [] if _USER.fullmatch(recipe.user) else [recipe.user]
    strange += [
        value for value in (recipe.title, recipe.base_name, *recipe.labels.values()) if _NOT_IN_LABELS.search(value)
    ]
    if strange:
        raise SpecError(
            f"A Dockerfile cannot hold {strange[0]!r:.200}.",
            remedy="Change that text in the base image or the spec, or bake with 'engine: none'.",
        )
    environment = jinja.environment("dockerfiles", {"quoted": _quoted})
    names = [SYSTEM, MAIN] if recipe.system else [MAIN]
    return {name: environment.get_template(f"{name}.j2").render(vars(recipe), system_file=SYSTEM) for name in names}


def requirements(files: Sequence[LockedWheel | LockedSource]) -> str:
    """Return the requirement file that pip installs: each release with the hash of its one file."""
    return "".join(f"{file.name}=={file.version} --hash=sha256:{file.sha256}\n" for file in files)


def _quoted(value: str) -> str:
    """Return a value in double quotes for a Dockerfile, with everything escaped that would be replaced."""
    return '"' + re.sub(r'([\\"$])', r"\\\1", value) + '"'

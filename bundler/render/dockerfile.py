"""The Dockerfile of a feature server, for those who let a container engine bake it, and what it reads beside wheels."""

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
"""The one that a network is given to."""
_PLAIN_PATH: Final = re.compile(r"(/[A-Za-z0-9._+-]+)+")
_USER: Final = re.compile(r"[A-Za-z0-9._-]*(:[A-Za-z0-9._-]+)?")
_NOT_IN_LABELS: Final = re.compile(r"[\x00-\x1f]")


@dataclass(frozen=True)
class SystemPackages:
    """What the base's package manager, ``apt`` or ``rpm``, is to install."""

    manager: str
    packages: tuple[str, ...]


@dataclass(frozen=True)
class DockerfileInputs:
    """What a Dockerfile is written from; paths are absolute and the image's.

    ``base`` is the name under which the engine has the base, ``user`` the base's own (empty for root), ``epoch`` the
    time of what is made, in seconds. ``writable`` is a file below ``site_packages`` that group 0 may write, ``sources``
    are names of distributions that are built from source.
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
        SpecError: the base, or what the image says of itself, holds what no Dockerfile can.
    """
    paths = (recipe.python, recipe.site_packages, recipe.home, recipe.repo_folder)
    strange = [path for path in paths if not _PLAIN_PATH.fullmatch(path)]
    strange += [] if _USER.fullmatch(recipe.user) else [recipe.user]
    strange += [
        value for value in (recipe.title, recipe.base_name, *recipe.labels.values()) if _NOT_IN_LABELS.search(value)
    ]
    if strange:
        raise SpecError(
            f"No Dockerfile can be written for {strange[0]!r:.200}.",
            remedy="Bake without an engine ('engine: none'), or change it: it is of the base, or of the spec.",
        )
    environment = jinja.environment("dockerfiles", {"quoted": _quoted})
    names = [SYSTEM, MAIN] if recipe.system else [MAIN]
    return {name: environment.get_template(f"{name}.j2").render(vars(recipe), system_file=SYSTEM) for name in names}


def requirements(files: Sequence[LockedWheel | LockedSource]) -> str:
    """Return the requirement file that pip installs: each release with the hash of its one file."""
    return "".join(f"{file.name}=={file.version} --hash=sha256:{file.sha256}\n" for file in files)


def _quoted(value: str) -> str:
    """Return a value as a Dockerfile takes it: in double quotes, nothing in it replaced."""
    return '"' + re.sub(r'([\\"$])', r"\\\1", value) + '"'

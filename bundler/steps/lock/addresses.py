"""Lines of requirement files that name a place instead of a release: a folder, a wheel, a repository."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from bundler.effects import files
from bundler.effects.packages.index import masked

_EDITABLE: Final = re.compile(r"(?:-e|--editable)(?:\s+|=)(.+)$")
_NAMED: Final = re.compile(r"([A-Za-z0-9._-]+)\s*(\[[^\]]*\])?\s*@\s*(\S+)(.*)$")
_EXTRAS: Final = re.compile(r"(.*[^\]])\[([A-Za-z0-9._,\s-]+)\]$")
_REPOSITORY: Final = re.compile(r"(git|hg|svn|bzr)\+", re.IGNORECASE)
_CONDA: Final = re.compile(r"(feedstock_root|conda-bld|/croot/|/opt/conda|build_artifacts)")
_ARCHIVE: Final = re.compile(r"\.(tar\.gz|tgz|tar\.bz2|zip)$")
_WHEELS: Final = "keep the wheel in the folder 'wheels' beside the spec, and name it as NAME==VERSION"


class AddressKind(Enum):
    """What a line names."""

    PROJECT = "project"
    WHEEL = "wheel"


@dataclass(frozen=True)
class Address:
    """A place that a line names: ``local`` on this machine, else ``url``; ``rest`` is what stands after it."""

    kind: AddressKind
    place: str
    local: Path | None
    url: str
    extras: str = ""
    rest: str = ""

    @property
    def filename(self) -> str:
        """The name of a wheel."""
        return self.local.name if self.local else unquote(urlsplit(self.url).path.rpartition("/")[2])

    @property
    def location(self) -> str:
        """The address as a URL."""
        return self.local.resolve().as_uri() if self.local else self.url

    def line(self, wheel: Path | None = None) -> str:
        """Return the line for uv; ``wheel`` is what was built of a project."""
        path = wheel or self.local
        location = path.resolve().as_uri() if path else self.url
        name = (path.name if path else self.filename).partition("-")[0]
        return f"{name}{self.extras} @ {location}{self.rest}"


def parse(text: str, place: str, folder: Path) -> Address | str | None:
    """Return what a line names, a sentence that refuses it, or None where it is another kind of line.

    Paths are relative to ``folder``, that of the requirement file.
    """
    editable = _EDITABLE.match(text)
    named = None if editable else _NAMED.match(text)
    target = (editable[1] if editable else named[3] if named else text).strip().strip("'\"")
    if not (editable or named) and not _is_address(target):
        return None
    extras = (named[2] or "") if named else ""
    rest = named[4].rstrip() if named else ""
    if not named and (with_extras := _EXTRAS.match(target)):
        target, extras = with_extras[1], f"[{with_extras[2]}]"
    if _CONDA.search(target):
        return (
            f"{place}: {masked(text)} is a path of the machine where conda built it. Write NAME==VERSION instead: "
            "pip list --format=freeze > requirements.txt"
        )
    if _REPOSITORY.match(target):
        return (
            f"{place}: {masked(text)} is a repository, and sources are not fetched from one. Build a wheel once "
            f"(pip wheel --no-deps '{masked(target)}' -w wheels), {_WHEELS}."
        )
    return _located(target, place, folder, extras, rest)


def _is_address(target: str) -> bool:
    begins = target.startswith(("./", "../", "/", "file:", "~")) or target in (".", "..")
    return (
        begins
        or _REPOSITORY.match(target) is not None
        or re.search(r"^https?://|^[^\s=<>!~]+\.whl$", target) is not None
    )


def _located(target: str, place: str, folder: Path, extras: str, rest: str) -> Address | str:
    scheme = urlsplit(target).scheme
    if scheme in ("http", "https"):
        if urlsplit(target).path.endswith(".whl"):
            return Address(AddressKind.WHEEL, place, None, target, extras, rest)
        return (
            f"{place}: {masked(target)} is not a wheel, and sources are not built. Build a wheel once "
            f"(pip wheel --no-deps '{masked(target)}' -w wheels), {_WHEELS}."
        )
    path = Path(unquote(urlsplit(target).path)) if scheme == "file" else Path(target)
    return _on_this_machine((folder / path).absolute(), place, extras, rest)


def _on_this_machine(path: Path, place: str, extras: str, rest: str) -> Address | str:
    if not files.is_there(path):
        return f"{place}: {path} does not exist. Correct the path, or name a release: NAME==VERSION."
    if path.name.endswith(".whl"):
        return Address(AddressKind.WHEEL, place, path, "", extras, rest)
    if any(files.is_there(path / name) for name in ("pyproject.toml", "setup.py")):
        return Address(AddressKind.PROJECT, place, path, "", extras, rest)
    if _ARCHIVE.search(path.name):
        return f"{place}: {path} is a source distribution, which is not built. Build a wheel of it once, {_WHEELS}."
    return (
        f"{place}: {path} is not a Python project: it has neither pyproject.toml nor setup.py. Add one, or move the "
        "modules into the feature repo."
    )

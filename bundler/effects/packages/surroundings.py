"""What lies in and around a feature repo and says what it was developed with; read for ``init``, and not believed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from bundler.effects import files
from bundler.effects.packages import declared
from bundler.effects.packages.declared import Declaration
from bundler.errors import SpecError
from bundler.feast.rules import supported
from bundler.model import toml_document

_READERS: Final[tuple[tuple[str, Callable[[str, str], Iterator[Declaration]]], ...]] = (
    ("pyproject.toml", declared.pyproject),
    ("setup.cfg", declared.setup_cfg),
    ("setup.py", declared.setup_py),
    ("Pipfile", declared.pipfile),
    ("environment.yml", declared.conda),
    ("environment.yaml", declared.conda),
    ("conda.yaml", declared.conda),
)
# Requirement files of these names are of developers, not of servers.
_OF_DEVELOPERS: Final = re.compile(r"dev|test|lint|doc|ci|constraint|notebook|build|typing|example", re.IGNORECASE)
_INCLUDE: Final = re.compile(r"^\s*(?:-r|--requirement)(?:\s+|=)(\S+)", re.MULTILINE)
_VERSION_FILE: Final = ".python-version"
_LOCKS: Final = ("uv.lock", "poetry.lock", "pdm.lock", "pylock.toml")
_NONE_FITS: Final = ": none of the Pythons that there are bases for"
# Debian suite -> the Python that it has.
SUITES: Final = {"bookworm": (3, 11), "trixie": (3, 13)}
_PYTHONS: Final = ((3, 11), (3, 12), (3, 13), (3, 10))


@dataclass(frozen=True)
class FeastChoice:
    """The release of Feast, and how it is known."""

    version: str
    source: str
    known: bool = True


@dataclass(frozen=True)
class PythonChoice:
    """What the image is built on, and why: a Debian suite, or the image; beside a suite, the image is another way."""

    suite: str | None
    image: str | None
    why: str


@dataclass(frozen=True)
class Surroundings:
    """The folders in and around a repo; ``folder`` is where the spec will lie."""

    repo: Path
    folder: Path

    def relative(self, path: Path) -> str:
        """Return a path as the spec names it."""
        return Path(os.path.relpath(path, self.folder)).as_posix()

    @cached_property
    def places(self) -> tuple[Path, ...]:
        """The folders that may say something of the repo, the nearest to the spec first."""
        return tuple(dict.fromkeys((self.folder, self.repo, self.repo.parent)))

    @cached_property
    def requirement_files(self) -> tuple[Path, ...]:
        """The requirement files of servers: requirements.txt, else its .in, else what else is named so."""
        for place in self.places:
            for name in ("requirements.txt", "requirements.in"):
                if (place / name).is_file():
                    return (place / name,)
        for place in self.places:
            files = [path for path in _requirement_files(place) if not _OF_DEVELOPERS.search(path.stem)]
            texts = {path for path in files if path.suffix == ".txt"}
            files = [path for path in files if path in texts or path.with_suffix(".txt") not in texts]
            naming = [path for path in files if any(True for _ in _feast(self._requirements(path).requirements))]
            if files:
                return tuple(naming or files)
        return ()

    @cached_property
    def others(self) -> tuple[Path, ...]:
        """Requirement files that are not taken."""
        included = {inner for file in self.requirement_files for inner in _with_included(file)}
        files = (path for place in self.places for path in _requirement_files(place))
        return tuple(dict.fromkeys(path for path in files if path not in included))

    @cached_property
    def declarations(self) -> tuple[Declaration, ...]:
        """What the project files of the nearest folder that has one declare."""
        for place in self.places:
            declarations = [
                declaration
                for name, reader in _READERS
                if (place / name).is_file()
                for declaration in reader(_read(place / name), self.relative(place / name))
            ]
            if any(declaration.requirements or declaration.left or declaration.python for declaration in declarations):
                return tuple(declarations)
        return ()

    @cached_property
    def taken(self) -> tuple[Declaration, ...]:
        """The declarations whose packages go into the spec: none beside a requirement file, which is taken whole.

        What is always installed counts, and an extra or a group that asks for Feast.
        """
        if self.requirement_files:
            return ()
        main = tuple(declaration for declaration in self.declarations if not declaration.part)
        if any(True for declaration in main for _ in _feast(declaration.requirements)):
            return main
        return (
            *main,
            *(
                declaration
                for declaration in self.declarations
                if declaration.part and any(_feast(declaration.requirements))
            ),
        )

    def _requirements(self, file: Path) -> Declaration:
        texts = "\n".join(_read(path) for path in _with_included(file))
        return declared.requirement_lines(texts, file.name)

    def feast(self) -> FeastChoice:
        """Return the Feast release that the repo was developed with, and how that is known."""
        return next(self._choices(), FeastChoice(supported.NEWEST_FEAST, _NOT_SAID, known=False))

    def _choices(self) -> Iterator[FeastChoice]:
        declarations = [self._requirements(file) for file in self.requirement_files] + list(self.declarations)
        for declaration in declarations:
            wanted = (requirement for requirement in _feast(declaration.requirements) if self._applies(requirement))
            pins = (pin for requirement in wanted if (pin := _pin(requirement)))
            yield from (FeastChoice(pin, f"as pinned in {declaration.place}") for pin in pins)
        for place in self.places:
            for file in _LOCKS:
                if version := _locked(place / file):
                    yield FeastChoice(version, f"as locked in {file}")
            for environment in (".venv", "venv"):
                if installed := _installed(place / environment):
                    yield FeastChoice(installed, f"as installed in {environment}")
        for declaration in declarations:
            ranges = [str(requirement.specifier) for requirement in _feast(declaration.requirements)]
            if any(ranges) and (version := supported.newest_in(ranges)):
                yield FeastChoice(version, f"the newest that {declaration.place} allows: feast{','.join(ranges)}")

    def _applies(self, requirement: Requirement) -> bool:
        """Tell whether a requirement is one for the Python that is proposed."""
        if requirement.marker is None:
            return True
        choice = self.python()
        if choice.suite:
            major, minor = SUITES[choice.suite]
        else:
            major, minor = next(version for version in _PYTHONS if _image(version) == choice.image)
        version = {"python_version": f"{major}.{minor}", "python_full_version": f"{major}.{minor}.0"}
        return requirement.marker.evaluate({**version, "sys_platform": "linux"})

    @cached_property
    def extras(self) -> frozenset[str]:
        """The extras of Feast that the taken declarations ask for."""
        return frozenset(
            extra
            for declaration in self.taken
            for requirement in _feast(declaration.requirements)
            for extra in requirement.extras
        )

    def packages(self) -> tuple[str, ...]:
        """Return the packages that the spec names, without Feast itself."""
        lines = (line for declaration in self.taken for line in declaration.requirements)
        return tuple(dict.fromkeys(line for line in lines if Requirement(line).name.lower() != "feast"))

    def python(self) -> PythonChoice:
        """Return a base whose Python is one that the repo asks for."""
        wanted = [
            (declaration.python, declaration.file)
            for declaration in self.declarations
            if declaration.python and not declaration.part
        ]
        minor = self._developed_with()
        allowed = [version for version in _PYTHONS if all(_allows(text, version) for text, _ in wanted)]
        reasons = [f"Python {text} in {file}" for text, file in wanted]
        reasons += [f"Python {minor[0]}.{minor[1]} in {_VERSION_FILE}"] if minor else []
        why = "; ".join(reasons)
        fitting = [suite for suite, version in SUITES.items() if version in allowed]
        if fitting:  # that of the developers, else a newer one rather than an older
            nearest = min(fitting, key=lambda suite: (SUITES[suite] != minor, SUITES[suite] < (minor or (0, 0))))
            other = minor if minor in allowed and minor != SUITES[nearest] else None
            return PythonChoice(nearest, _image(other) if other else None, why)
        if allowed:
            return PythonChoice(None, _image(minor if minor in allowed and minor else allowed[0]), why)
        return PythonChoice("bookworm", None, f"{why}{_NONE_FITS}" if why else "")

    def _developed_with(self) -> tuple[int, int] | None:
        for place in self.places:
            # The first line that is not a comment; it may name the implementation.
            if match := re.search(r"^\s*(?:c?python-?)?(\d+)\.(\d+)", _read(place / _VERSION_FILE), re.MULTILINE):
                return int(match[1]), int(match[2])
        return None

    def left(self) -> Iterator[str]:
        """Yield what is not taken, each with the reason."""
        for place in self.places:
            for name, _ in _READERS:
                if (place / name).is_file() and (why := declared.fault(_read(place / name), name)):
                    yield f"{self.relative(place / name)}: cannot be read: {why}"
        if self.python().why.endswith(_NONE_FITS):
            yield self.python().why
        for declaration in (self._requirements(file) for file in self.requirement_files):
            yield from (
                f"the release of Feast: {declaration.place}: {line}"
                for line in declaration.left
                if line.startswith("feast:")
            )
        if not self.requirement_files:
            yield from (
                f"{declaration.place}: {line}" for declaration in self.declarations for line in declaration.left
            )
        if not self.requirement_files:
            others = (
                declaration for declaration in self.declarations if declaration.part and declaration not in self.taken
            )
            yield from (f"{declaration.place}: is not always installed" for declaration in others)
        elif self.declarations:
            names = ", ".join(dict.fromkeys(declaration.file for declaration in self.declarations))
            yield f"packages of {names}: the requirement file is taken instead"
        yield from (f"{self.relative(path)}: not the requirements of servers" for path in self.others)


_NOT_SAID: Final = "not pinned by the repo: set what it was developed with"


def _image(version: tuple[int, int]) -> str:
    return f"docker.io/library/python:{version[0]}.{version[1]}-slim-bookworm"


def _allows(specifier: str, version: tuple[int, int]) -> bool:
    """Tell whether a Python's newest patch releases are allowed; what cannot be read forbids nothing."""
    try:
        allowed = SpecifierSet(specifier)
    except InvalidSpecifier:
        return True
    return any(allowed.contains(f"{version[0]}.{version[1]}.{patch}") for patch in range(20))


def _requirement_files(place: Path) -> list[Path]:
    patterns = ("requirements*.txt", "requirements*.in", "requirements/*.txt", "requirements/*.in")
    return sorted({path for pattern in patterns for path in place.glob(pattern) if path.is_file()})


def _with_included(file: Path, seen: frozenset[Path] = frozenset()) -> tuple[Path, ...]:
    if file in seen or not file.is_file():
        return ()
    inner = (file.parent / name for name in _INCLUDE.findall(_read(file)))
    return (file, *(path for included in inner for path in _with_included(included, seen | {file})))


def _feast(lines: Sequence[str]) -> Iterator[Requirement]:
    for line in lines:
        requirement = Requirement(line)
        if requirement.name.lower() == "feast":
            yield requirement


def _pin(requirement: Requirement) -> str | None:
    exact = (specifier.version for specifier in requirement.specifier if specifier.operator in ("==", "==="))
    return next((version for version in exact if _is_version(version)), None)


def _locked(file: Path) -> str | None:
    try:
        document = toml_document.parse(_read(file))
        packages = document.get("package", document.get("packages"))
    except ValueError:
        return None
    for package in packages if isinstance(packages, list) else []:
        if isinstance(package, dict) and package.get("name") == "feast" and _is_version(str(package.get("version"))):
            source = package.get("source")
            rows = source if isinstance(source, dict) else {}
            # A commit has the version of the release before it, or of one that never was.
            elsewhere = {"git", "url", "path", "directory", "editable"} & {*rows, str(rows.get("type"))}
            return None if elsewhere else str(package["version"])
    return None


def _installed(environment: Path) -> str | None:
    folders = sorted(environment.glob("lib/python3*/site-packages/feast-*.dist-info"))
    released = (path for path in folders if not (path / "direct_url.json").exists())
    versions = (path.name.removeprefix("feast-").removesuffix(".dist-info") for path in released)
    return next((version for version in versions if _is_version(version)), None)


def _read(file: Path) -> str:
    """Return a text that may help; what cannot be read does not."""
    try:
        return files.read_text(file, "what the repo was developed with", utf16=True).removeprefix("\ufeff")
    except SpecError:
        return ""


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True

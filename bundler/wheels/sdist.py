"""Source distributions: what they say of themselves, read without running any of their code.

Requirements are those of PKG-INFO, or of the requires.txt that setuptools leaves beside it. Whether they are all is
found out when it is built: the engine's build ends with ``pip check``.
"""

from __future__ import annotations

import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.parser import HeaderParser
from io import BytesIO
from typing import BinaryIO, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.model import toml_document

_WANTED: Final = re.compile(r"[^/]+/(PKG-INFO|pyproject\.toml|(?:[^/]+/){0,2}[^/]+\.egg-info/requires\.txt)")
_MOST: Final = 4 << 20  # bytes of one of these files; real ones have kilobytes
_SECTION: Final = re.compile(r"\[([^:\]]*)(?::([^\]]+))?\]")
# What pip takes where pyproject.toml names no build system (PEP 517, PEP 518).
_DEFAULT: Final = ("setuptools>=40.8.0",)


@dataclass(frozen=True)
class SourceFacts:
    """What a source distribution says: its name and version, what it needs when it runs and when it is built."""

    name: str
    version: str
    requires: tuple[str, ...]
    extras: tuple[str, ...]
    build_requires: tuple[str, ...]

    def stand_in(self) -> tuple[str, bytes]:
        """Return name and content of a wheel that holds nothing but these facts: a resolver reads no more of it."""
        stem = f"{self.name.replace('-', '_')}-{self.version}"
        lines = ["Metadata-Version: 2.1", f"Name: {self.name}", f"Version: {self.version}"]
        lines += [f"Provides-Extra: {extra}" for extra in self.extras]
        lines += [f"Requires-Dist: {line}" for line in self.requires]
        folder, target = f"{stem}.dist-info", BytesIO()
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr(f"{folder}/METADATA", "\n".join(lines) + "\n")
            archive.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{folder}/RECORD", "")
        return f"{stem}-py3-none-any.whl", target.getvalue()


def read(stream: BinaryIO) -> SourceFacts:
    """Read a source distribution (.tar.gz).

    Raises:
        ValueError: it is not a source distribution, or its metadata cannot be read.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|gz") as archive:
            files = dict(_files(archive))
    # TypeError: what tarfile makes of a gzip header that is cut off.
    except (tarfile.TarError, zlib.error, EOFError, OSError, TypeError) as error:
        raise ValueError(f"it cannot be unpacked: {error}") from error
    info = HeaderParser().parsestr(files.get("PKG-INFO", ""))
    name, version = info.get("Name", ""), info.get("Version", "")
    requires, extras = tuple(info.get_all("Requires-Dist") or ()), tuple(info.get_all("Provides-Extra") or ())
    if not requires and "requires.txt" in files:
        requires, extras = _of_setuptools(files["requires.txt"])
    try:
        checked = tuple(str(Requirement(line)) for line in requires)
        build = tuple(str(Requirement(line)) for line in _build_requires(files.get("pyproject.toml", "")))
        return SourceFacts(str(canonicalize_name(name, validate=True)), str(Version(version)), checked, extras, build)
    except (InvalidRequirement, InvalidVersion, ValueError) as error:
        raise ValueError(f"what it says of itself cannot be understood: {error}") from error


def _files(archive: tarfile.TarFile) -> Iterator[tuple[str, str]]:
    for member in archive:
        match = _WANTED.fullmatch(member.name)
        content = archive.extractfile(member) if match and member.isfile() else None
        if match and content is not None:
            yield match[1].rpartition("/")[2], content.read(_MOST).decode(errors="replace")


def _build_requires(text: str) -> tuple[str, ...]:
    system = toml_document.parse(text).get("build-system")
    requires = system.get("requires") if isinstance(system, Mapping) else None
    if requires is None:
        return _DEFAULT
    if not isinstance(requires, list) or not all(isinstance(line, str) for line in requires):
        raise ValueError("build-system.requires of its pyproject.toml is not a list of texts")
    return tuple(requires)


def _of_setuptools(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return requirements and extras of a requires.txt: lines below ``[EXTRA:MARKER]``, either may be empty."""
    requires: list[str] = []
    extras: dict[str, None] = {}
    markers: list[str] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if heading := _SECTION.fullmatch(line):
            if heading[1]:
                extras[heading[1]] = None
            markers = [f"({heading[2]})"] if heading[2] else []
            markers += [f'extra == "{heading[1]}"'] if heading[1] else []
        else:
            requires.append(f"{line} ; {' and '.join(markers)}" if markers else line)
    return tuple(requires), tuple(extras)

"""BundleLock: everything a build uses, resolved and pinned, without the name of a package index or host."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Final, Literal

import yaml
from packaging.utils import parse_wheel_filename
from packaging.version import Version
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from bundler.errors import LockError
from bundler.model import json_document, limits
from bundler.model.digest import Digest
from bundler.model.platform import Platform

FORMAT: Final = 1

_Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
_Size = Annotated[int, Field(ge=0)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# A wheel's file name (PEP 427) becomes part of a path, so other characters are refused.
_WheelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._+!-]+\.whl$")]
_SourceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._+!-]+\.tar\.gz$")]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _check_unique(what: str, names: list[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"the {what} {name} occurs {count} times")


class LockedWheel(_Record):
    """One wheel; ``size`` in bytes."""

    name: str
    version: str
    filename: _WheelName
    size: _Size
    sha256: _Sha256
    yanked: str | None = None
    """Why its authors withdrew the release from the index, empty where they do not say; None where they did not."""

    @model_validator(mode="after")
    def _is_consistent(self) -> LockedWheel:
        name, version, *_ = parse_wheel_filename(self.filename)  # raises ValueError, as pydantic wants it
        if (name, version) != (self.name, Version(self.version)):
            raise ValueError(f"{self.filename} is not a wheel of {self.name} {self.version}")
        return self


class LockedSource(_Record):
    """One source distribution, which a container engine builds; ``size`` in bytes."""

    name: str
    version: str
    filename: _SourceName
    size: _Size
    sha256: _Sha256


class LockedImage(_Record):
    """One image; ``digest`` is what enters the bundle, ``source_digest`` what the source registry calls it."""

    reference: str
    role: str
    digest: _Digest
    source_digest: _Digest
    size: _Size


class LockedPlatform(_Record):
    """What a platform's image is made of."""

    platform: str
    python: str
    """Full version of the image's Python, e.g. 3.11.2."""
    glibc: str
    """Version of the image's C library, e.g. 2.36; decides which manylinux wheels run."""
    base_digest: _Digest
    base_packages: dict[str, str]
    """Debian package -> version, for a base made from Debian's packages."""
    wheels: Annotated[tuple[LockedWheel, ...], Field(strict=False)]
    sources: Annotated[tuple[LockedSource, ...], Field(strict=False)] = ()
    """What is built from source, because the spec says so."""
    tools: Annotated[tuple[LockedWheel, ...], Field(strict=False)] = ()
    """The wheels that those are built with; they do not enter the image."""

    @property
    def installed(self) -> tuple[LockedWheel | LockedSource, ...]:
        """Everything that enters the image, sorted by name."""
        return tuple(sorted((*self.wheels, *self.sources), key=lambda package: package.name))

    @model_validator(mode="after")
    def _has_each_once(self) -> LockedPlatform:
        _check_unique("wheel", [package.name for package in self.installed])
        return self


class BundleLock(_Record):
    """The whole lock; ``created`` in seconds since 1970, and the time of everything the build writes."""

    format: Literal[1] = FORMAT
    tool: str
    created: Annotated[int, Field(ge=0)]
    spec: _Digest
    repo: _Digest
    compressor: str
    requirements: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """The requirements of the spec and of its requirement files."""
    constraints: str
    """Where the versions come from that these requirements leave open."""
    platforms: Annotated[tuple[LockedPlatform, ...], Field(strict=False)]
    images: Annotated[tuple[LockedImage, ...], Field(strict=False)]

    @model_validator(mode="after")
    def _has_each_once(self) -> BundleLock:
        _check_unique("platform", [row.platform for row in self.platforms])
        _check_unique("image", [row.reference for row in self.images])
        return self

    @cached_property
    def digest(self) -> Digest:
        """Digest of the lock's text."""
        return Digest.of(self.to_text().encode())

    @cached_property
    def rows(self) -> Mapping[Platform, LockedPlatform]:
        """Platform -> what its image is made of."""
        return {Platform.parse(row.platform): row for row in self.platforms}

    def to_text(self) -> str:
        """Return the lock as JSON with one wheel, package or image a line, so that a diff shows what changed."""
        value = self.model_dump(mode="json", exclude={"requirements", "platforms", "images"})
        lines = [f"  {json.dumps(key)}: {json.dumps(item)}" for key, item in value.items()]
        lines.append(f'  "requirements": {_rows([json.dumps(line) for line in self.requirements], 2)}')
        lines.append(f'  "platforms": {_rows([_platform(row) for row in self.platforms], 2)}')
        lines.append(f'  "images": {_rows([json.dumps(row.model_dump()) for row in self.images], 2)}')
        return "{\n" + ",\n".join(lines) + "\n}\n"


def _platform(platform: LockedPlatform) -> str:
    row = platform.model_dump(exclude={"wheels", "base_packages", "sources", "tools"})
    inner = [f"      {json.dumps(key)}: {json.dumps(item)}" for key, item in row.items()]
    packages = sorted(platform.base_packages.items())
    named = [f"{json.dumps(name)}: {json.dumps(version)}" for name, version in packages]
    inner.append('      "base_packages": ' + _rows(named, 6, "{}"))
    inner.append('      "wheels": ' + _rows([_wheel(wheel) for wheel in platform.wheels], 6))
    if platform.sources:
        inner.append('      "sources": ' + _rows([json.dumps(package.model_dump()) for package in platform.sources], 6))
        inner.append('      "tools": ' + _rows([_wheel(wheel) for wheel in platform.tools], 6))
    return "{\n" + ",\n".join(inner) + "\n    }"


def _wheel(wheel: LockedWheel) -> str:
    return json.dumps(wheel.model_dump(exclude={"yanked"} if wheel.yanked is None else None))


def _rows(rows: list[str], indent: int, brackets: str = "[]") -> str:
    if not rows:
        return brackets
    pad = " " * (indent + 2)
    return brackets[0] + "\n" + ",\n".join(pad + row for row in rows) + "\n" + " " * indent + brackets[1]


def read(text: str, file: str) -> BundleLock:
    """Read a lock; raise ``LockError`` naming ``file`` and what is wrong."""
    remedy = "Write a new lock: bundler lock --upgrade -f SPEC"
    try:
        # The lock is what people review: both values of a name would be read, by different readers.
        value = json.loads(text, object_pairs_hook=json_document.unique_names, parse_constant=json_document.no_constant)
    except json.JSONDecodeError as error:
        raise LockError(f"{file}:{error.lineno}: not a lock: {error.msg}.", remedy=remedy) from error
    except RecursionError as error:
        raise LockError(f"{file} is not a lock: it is nested too deeply.", remedy=remedy) from error
    except ValueError as error:
        raise LockError(f"{file} is not a lock: {error}.", remedy=remedy) from error
    if not isinstance(value, dict):
        raise LockError(f"{file} is not a lock: it is not a JSON object.", remedy=remedy)
    if value.get("format") != FORMAT:
        raise LockError(
            f"{file} has the lock format {value.get('format')!r:.80}, this program reads {FORMAT}.", remedy=remedy
        )
    try:
        return BundleLock.model_validate(value)
    except ValidationError as error:
        problems = tuple(_problem(row, text, file) for row in error.errors())
        raise LockError(f"{file} is not a lock.", remedy=remedy, details=problems) from error


def _problem(row: ErrorDetails, text: str, file: str) -> str:
    return f"{file}:{_line(text, row['loc'])}: {'.'.join(map(str, row['loc']))}: {row['msg']}"


def _line(text: str, place: tuple[str | int, ...]) -> int:
    """Return the line of a place in a JSON document, or of the nearest one above it: JSON is YAML."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader) if len(text) <= limits.SPEC_SIZE else None
    except (yaml.YAMLError, RecursionError):  # YAML does not know tabs
        return 1
    for key in place:
        inner = None
        if isinstance(node, yaml.MappingNode):
            inner = next((value for named, value in node.value if named.value == key), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int):
            inner = node.value[key]
        if inner is None:
            break
        node = inner
    return node.start_mark.line + 1 if node is not None else 1


def differences(old: BundleLock, new: BundleLock) -> tuple[str, ...]:
    """Return the differences between two locks, a line for each fact, ``-`` for the old and ``+`` for the new one."""
    before, after = (_facts(lock) for lock in (old, new))
    return tuple(line for line in difflib.ndiff(before, after) if line.startswith(("-", "+")))


def _facts(lock: BundleLock) -> list[str]:
    rows = [f"spec {lock.spec}", f"feature repo {lock.repo}", f"compressor {lock.compressor}", lock.constraints]
    rows += [f"requirement {line}" for line in lock.requirements]
    for platform in lock.platforms:
        at = platform.platform
        rows += [f"{at}: Python {platform.python}, glibc {platform.glibc}", f"{at}: base {platform.base_digest}"]
        rows += [f"{at}: {name} {version} (Debian)" for name, version in sorted(platform.base_packages.items())]
        rows += [
            f"{at}: {package.name} {package.version} ({package.filename}, {package.sha256[:12]})"
            for package in platform.installed
        ]
        rows += [f"{at}: built with {package.filename} ({package.sha256[:12]})" for package in platform.tools]
    rows += [f"image {image.reference} {image.digest}" for image in lock.images]
    return rows

"""Resolve Python requirements with uv, for another Python and platform than the host's."""

from __future__ import annotations

import json
import logging
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import tomllib
from uv import find_uv_bin

from bundler.effects import process
from bundler.effects.packages import uv_errors
from bundler.effects.packages.index import PackageIndexes
from bundler.errors import LockError, ToolFailedError, ToolMissingError
from bundler.model.lock import LockedWheel
from bundler.wheels.compatibility import ImagePython

_MOST_LINES = 400  # of an explanation: its beginning says why
# uv chooses a release that was withdrawn where it is asked for by its version, and warns.
_YANKED = re.compile(r"^warning: `([^`=]+)==([^`]+)` is yanked(?: \(reason: \"(.*)\"\))?", re.MULTILINE)
_LOG = logging.getLogger(__name__)  # shown by --verbose


@dataclass(frozen=True)
class Resolution:
    """What to resolve, for which image.

    ``files`` are requirement files, ``constraints`` lines that bound what is chosen, ``preferences`` versions to keep
    where they still fit, by name. Wheels in the folder ``wheels`` are preferred over all of those.
    """

    python: ImagePython
    requirements: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    constraints: tuple[str, ...] = ()
    preferences: Mapping[str, str] = field(default_factory=dict)
    wheels: Path | None = None
    stand_ins: Path | None = None
    """A folder of wheels in the place of what is built from source."""
    dependencies: bool = True
    sources: bool = False
    """Ask for source distributions, which only Feast's release lock is read from."""
    options: tuple[str, ...] = ()
    """Lines of requirement files that name indexes, where the files themselves are not given."""
    overrides: tuple[str, ...] = ()
    """Requirements that stand in the place of what any distribution asks of the same name."""
    pins: str = ""
    """Where the constraints come from, for the person whose requirement contradicts one."""


@dataclass(frozen=True)
class Candidate:
    """A file of a release: what the lock keeps, and where this index has it (which the lock does not keep).

    ``size`` in bytes and ``sha256`` are what the index says, which need not be anything.
    """

    name: str
    version: str
    filename: str
    size: int | None
    sha256: str
    url: str = field(repr=False)
    yanked: str | None = None
    """Why the index has withdrawn the release, empty where it does not say; None where it has not."""

    @property
    def local(self) -> Path | None:
        """The file on this machine, where the index is a folder."""
        return Path(unquote(urlsplit(self.url).path)) if self.url.startswith("file:") else None

    def locked(self, size: int) -> LockedWheel:
        """Return the entry of the lock."""
        return LockedWheel(
            name=self.name,
            version=self.version,
            filename=self.filename,
            size=size,
            sha256=self.sha256,
            yanked=self.yanked,
        )


@dataclass(frozen=True)
class ResolvedPackage:
    """One version of a distribution that uv chose, and every file of it that is offered."""

    name: str
    version: str
    files: tuple[Candidate, ...]

    def best(self, python: ImagePython) -> Candidate:
        """Return the file that pip would choose, one on this machine rather than the same from an index.

        Raises:
            LockError: none of them runs in the image.
        """
        ordered = sorted(self.files, key=lambda candidate: candidate.local is None)
        chosen = python.best(tuple(candidate.filename for candidate in ordered))
        if chosen is None:
            offered = (
                ", ".join(candidate.filename for candidate in self.files) or "only a source distribution, or an address"
            )
            raise LockError(
                f"{self.name} {self.version} has no wheel for Python {python.full_version} on {python.platform} "
                f"(offered: {offered}).",
                remedy=uv_errors.wheel_remedy(f"{self.name}=={self.version}" if self.version else self.name),
            )
        return next(candidate for candidate in ordered if candidate.filename == chosen)


def resolve(wanted: Resolution) -> tuple[Candidate, ...]:
    """Return one file a distribution, sorted by name, such that all of them fit together.

    Raises:
        LockError: requirements contradict each other, or a distribution has no wheel that runs in the image.
        RegistryError: an index refused or cannot be reached.
    """
    return tuple(release.best(wanted.python) for release in releases(wanted))


def releases(resolution: Resolution) -> tuple[ResolvedPackage, ...]:
    """Return the releases that fit together, sorted by name; raises as ``resolve`` does."""
    with tempfile.TemporaryDirectory(prefix="bundler-uv-") as name:
        folder = Path(name)
        indexes = PackageIndexes.of_this_host()
        _LOG.debug("Package indexes: %s", indexes.described)
        environment = indexes.for_uv(folder)
        lock = folder / "pylock.toml"
        if pins := {**resolution.preferences, **_in_folder(resolution)}:
            lock.write_text(_preferences(pins), encoding="utf-8")
        try:
            # Not in the current folder: a pyproject.toml or uv.toml there is not an input of the lock.
            printed = process.run(
                _command(resolution, folder),
                purpose="resolving the requirements",
                environment=environment,
                cwd=folder,
                most_lines=_MOST_LINES,
            )
        except ToolFailedError as error:
            raise uv_errors.explained(error, resolution.python, folder, resolution.pins) from None
        rows = tomllib.loads(lock.read_text(encoding="utf-8")).get("packages", [])
        yanked = {(name, version): reason for name, version, reason in _YANKED.findall(printed.stderr)}
        packages = [_release(row, resolution, folder, yanked) for row in rows if _applies(row, resolution)]
    return tuple(sorted(packages, key=lambda release: release.name))


def _preferences(pins: Mapping[str, str]) -> str:
    """Return an earlier lock as uv's own format has it: uv keeps its versions where nothing speaks against them."""
    rows = [f"[[packages]]\nname = {json.dumps(name)}\nversion = {json.dumps(pins[name])}\n" for name in sorted(pins)]
    return "\n".join(['lock-version = "1.0"\ncreated-by = "bundler"\n', *rows])


def _in_folder(wanted: Resolution) -> Mapping[str, str]:
    names = [path.name for path in sorted(wanted.wheels.glob("*.whl"))] if wanted.wheels else []
    return wanted.python.newest(tuple(names))


def _command(wanted: Resolution, folder: Path) -> list[str | Path]:
    listed, constraints = folder / "requirements.in", folder / "constraints.txt"
    listed.write_text("".join(f"{line}\n" for line in (*wanted.options, *wanted.requirements)), encoding="utf-8")
    constraints.write_text("".join(f"{line}\n" for line in wanted.constraints), encoding="utf-8")
    try:
        uv = find_uv_bin()
    except FileNotFoundError as error:
        raise ToolMissingError("uv is not installed.", remedy="pip install uv") from error
    major, minor = wanted.python.version
    command: list[str | Path] = [uv, "pip", "compile", listed, *wanted.files, "--constraints", constraints]
    # uv only needs some interpreter; with --python it does not search for others.
    command += ["--python", sys.executable, "--python-platform", wanted.python.uv_platform]
    command += ["--python-version", wanted.python.full_version if wanted.dependencies else f"{major}.{minor}"]
    command += ["--format", "pylock.toml", "--no-header", "--output-file", folder / "pylock.toml"]
    if wanted.overrides:
        overrides = folder / "overrides.txt"
        overrides.write_text("".join(f"{line}\n" for line in wanted.overrides), encoding="utf-8")
        command += ["--overrides", overrides]
    command += [] if wanted.sources else ["--only-binary", ":all:"]
    command += [] if wanted.dependencies else ["--no-deps"]
    if wanted.wheels is not None and wanted.wheels.is_dir():
        command += ["--find-links", wanted.wheels]
    command += ["--find-links", wanted.stand_ins] if wanted.stand_ins else []
    return command


def _applies(package: Mapping[str, object], wanted: Resolution) -> bool:
    marker = package.get("marker")
    return wanted.python.satisfies(marker if isinstance(marker, str) else None)


def _release(
    package: Mapping[str, object], wanted: Resolution, folder: Path, yanked: Mapping[tuple[str, str], str]
) -> ResolvedPackage:
    name, version = str(package["name"]), str(package.get("version", ""))
    candidates = (_candidate(name, version, row, folder) for row in _files(package, sources=wanted.sources))
    reason = yanked.get((name, version))
    return ResolvedPackage(name, version, tuple(replace(candidate, yanked=reason) for candidate in candidates))


def _files(package: Mapping[str, object], *, sources: bool) -> Iterator[Mapping[str, object]]:
    listed = [package.get("sdist")] if sources else package.get("wheels")
    yield from (row for row in listed if isinstance(row, Mapping)) if isinstance(listed, list) else ()
    archive = package.get("archive")  # of an address that a requirement names
    if not sources and isinstance(archive, Mapping) and _is_wheel(archive):
        yield archive


def _is_wheel(archive: Mapping[str, object]) -> bool:
    return str(archive.get("url") or archive.get("path", "")).partition("#")[0].endswith(".whl")


def _candidate(name: str, version: str, row: Mapping[str, object], folder: Path) -> Candidate:
    size, hashes, url = row.get("size"), row.get("hashes"), row.get("url")
    sha256 = hashes.get("sha256") if isinstance(hashes, Mapping) else None
    location = url if isinstance(url, str) else (folder / str(row.get("path", ""))).resolve().as_uri()
    return Candidate(
        name,
        version,
        str(row.get("name") or unquote(urlsplit(location).path.rpartition("/")[2])),
        size if isinstance(size, int) else None,
        sha256 if isinstance(sha256, str) else "",
        location,
    )

"""Resolve Python requirements with uv, for another Python and platform than the host's."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from uv import find_uv_bin

from bundler.effects import process
from bundler.errors import LockError, RegistryError, ToolFailedError, ToolMissingError
from bundler.model.digest import Digest
from bundler.model.lock import LockedWheel
from bundler.wheels.compatibility import ImagePython

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# What a site configures for pip means the same for uv, which has names of its own.
_PIP_TO_UV = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_CERT": "SSL_CERT_FILE",
}
_SECRET = re.compile(r"(https?://)[^/@\s]+@")
_UNREACHABLE = re.compile(
    r"Failed to fetch|error sending request|dns error|Connection refused|401|403|timed out", re.IGNORECASE
)
_NO_WHEEL = re.compile(
    r"no usable wheels|has no wheels|no wheels with a matching|only-binary|building is disabled", re.IGNORECASE
)


@dataclass(frozen=True)
class Resolution:
    """What to resolve: requirement lines, constraint lines, files of requirements, a folder of preferred wheels."""

    python: ImagePython
    requirements: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    constraints: tuple[str, ...] = ()
    wheels: Path | None = None
    dependencies: bool = True
    pins: str = ""
    """Where the constraints come from, for the person whose requirement contradicts one."""
    sources: bool = False
    """Allow source distributions, which only Feast's release lock is read from."""


@dataclass(frozen=True)
class Candidate:
    """A file that uv chose: what the lock keeps, and where this index has it (which the lock does not keep)."""

    name: str
    version: str
    filename: str
    size: int | None
    sha256: str
    url: str

    @property
    def local(self) -> Path | None:
        """The file on this machine, where the index is a folder."""
        return Path(unquote(urlsplit(self.url).path)) if self.url.startswith("file:") else None

    def locked_from_file(self) -> LockedWheel:
        """Return the entry of the lock for a file on this machine; hashes it where the index did not."""
        if self.local is None:
            raise AssertionError("only a local file can be read")
        with self.local.open("rb") as stream:
            sha256 = Digest.of_stream(stream).hex
        return replace(self, sha256=sha256).locked(self.local.stat().st_size)

    def locked(self, size: int) -> LockedWheel:
        """Return the entry of the lock."""
        return LockedWheel(name=self.name, version=self.version, filename=self.filename, size=size, sha256=self.sha256)


def masked(text: str) -> str:
    """Hide the user information of every URL in a text."""
    return _SECRET.sub(r"\1***@", text)


def index_environment() -> dict[str, str]:
    """Return the environment that tells uv what the host's pip configuration says."""
    environment = {
        theirs: os.environ[ours]
        for ours, theirs in _PIP_TO_UV.items()
        if ours in os.environ and theirs not in os.environ
    }
    return {**environment, "UV_NO_PROGRESS": "1", "NO_COLOR": "1", "UV_PYTHON_DOWNLOADS": "never"}


def resolve(wanted: Resolution) -> tuple[Candidate, ...]:
    """Return one file a distribution, sorted by name, such that all of them fit together.

    Raises:
        LockError: requirements contradict each other, or a distribution has no wheel that runs in the image.
        RegistryError: an index refused or cannot be reached.
    """
    with tempfile.TemporaryDirectory(prefix="bundler-uv-") as name:
        folder = Path(name)
        listed = folder / "requirements.in"
        listed.write_text("".join(f"{line}\n" for line in wanted.requirements))
        constraints = folder / "constraints.txt"
        constraints.write_text("".join(f"{line}\n" for line in wanted.constraints))
        lock = folder / "pylock.toml"
        command = [*_command(wanted, listed, constraints), "-o", lock]
        try:
            process.run(command, purpose="resolving the requirements", environment=index_environment())
        except ToolFailedError as error:
            raise _explained(error, wanted) from None
        packages = tomllib.loads(lock.read_text()).get("packages", [])
    return tuple(
        sorted(
            (_chosen(package, wanted, folder) for package in packages if _applies(package, wanted)),
            key=lambda found: found.name,
        )
    )


def _command(wanted: Resolution, listed: Path, constraints: Path) -> list[str | Path]:
    major, minor = wanted.python.version
    try:
        uv = find_uv_bin()
    except FileNotFoundError as error:
        raise ToolMissingError("uv is not installed.", remedy="pip install uv") from error
    command: list[str | Path] = [uv, "pip", "compile", listed, *wanted.files, "--constraints", constraints]
    command += ["--python-version", wanted.python.full_version if wanted.dependencies else f"{major}.{minor}"]
    command += ["--python-platform", wanted.python.uv_platform, "--format", "pylock.toml", "--no-header", "--quiet"]
    command += [] if wanted.sources else ["--only-binary", ":all:"]
    command += [] if wanted.dependencies else ["--no-deps"]
    if wanted.wheels is not None and wanted.wheels.is_dir():
        command += ["--find-links", wanted.wheels]
    return command


def _applies(package: Mapping[str, object], wanted: Resolution) -> bool:
    marker = package.get("marker")
    return wanted.python.satisfies(marker if isinstance(marker, str) else None)


def _chosen(package: Mapping[str, object], wanted: Resolution, folder: Path) -> Candidate:
    name, version = str(package["name"]), str(package.get("version", ""))
    offered = {_filename(row): row for row in _files(package, sources=wanted.sources)}
    chosen = next(iter(offered), None) if wanted.sources else wanted.python.best(tuple(offered))
    if chosen is None:
        raise LockError(
            f"{name} {version} has no wheel for Python {wanted.python.full_version} on {wanted.python.platform} "
            f"(offered: {', '.join(offered) or 'only a source distribution'}).",
            remedy=_wheel_remedy(name),
        )
    row = offered[chosen]
    size, hashes = row.get("size"), row.get("hashes")
    sha256 = str(hashes.get("sha256", "")) if isinstance(hashes, Mapping) else ""
    url = row.get("url")
    location = url if isinstance(url, str) else (folder / str(row["path"])).resolve().as_uri()
    return Candidate(name, version, chosen, size if isinstance(size, int) else None, sha256, location)


def _files(package: Mapping[str, object], *, sources: bool) -> list[Mapping[str, object]]:
    if sources:
        sdist = package.get("sdist")
        return [sdist] if isinstance(sdist, Mapping) else []
    wheels = package.get("wheels")
    return [row for row in wheels if isinstance(row, Mapping)] if isinstance(wheels, list) else []


def _filename(row: Mapping[str, object]) -> str:
    place = row.get("name") or row.get("url") or row.get("path") or ""
    return unquote(urlsplit(str(place)).path.rpartition("/")[2])


def _wheel_remedy(name: str) -> str:
    return (
        f"Build a wheel of {name} once (pip wheel {name}) and put it into the folder 'wheels' beside the spec, "
        "or ask for a release that has one."
    )


def _explained(error: ToolFailedError, wanted: Resolution) -> LockError | RegistryError:
    details = tuple(masked(line).removeprefix("error: ") for line in error.details)
    text = "\n".join(details)
    if _NO_WHEEL.search(text):
        return LockError(
            "A requirement has no wheel that runs in the image.", remedy=_wheel_remedy("it"), details=details
        )
    if _UNREACHABLE.search(text):
        return RegistryError(
            "The package index refused or cannot be reached.",
            remedy="Check the index, proxy and credentials that uv or pip are configured with.",
            details=details,
        )
    remedy = "Change one of the requirements named."
    if wanted.pins:
        remedy += f" Versions that you did not ask for are those of {wanted.pins}."
    return LockError("The requirements cannot be resolved together.", remedy=remedy, details=details)


def constraint_lines(pins: Mapping[str, str]) -> tuple[str, ...]:
    """Return ``name==version`` lines, sorted."""
    return tuple(f"{name}=={version}" for name, version in sorted(pins.items()))


def without(candidates: Sequence[Candidate], held: Mapping[str, str]) -> tuple[Candidate, ...]:
    """Leave out what an image holds already, by normalised name."""
    return tuple(found for found in candidates if found.name not in held)

"""The Python of an image: which one ``python3`` starts, and where packages must go so that it finds them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from posixpath import basename, dirname, join
from typing import Final

from bundler.model.descriptor import Json
from bundler.oci.overlay import Overlay

_DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROGRAM: Final = re.compile(r"python3\.(\d{1,2})")
_RELEASE: Final = re.compile(rb"(3)\.(\d+)\.\d+(?:[+]|rc\d+|[ab]\d+)?")
# Debian's python3 and RHEL's are changed to keep what pip installs apart from the distribution's own packages.
_DEBIAN: Final = frozenset({"debian", "ubuntu"})
_RED_HAT: Final = frozenset({"rhel", "fedora", "centos"})


@dataclass(frozen=True)
class PythonInstallation:
    """A Python as an installer needs to know it; all paths are absolute, as the image's processes see them."""

    version: tuple[int, int]
    full_version: str
    executable: str
    site_packages: str
    scripts: str

    def to_json(self) -> dict[str, Json]:
        """Return the installation as a record of the cache."""
        return {
            "version": list(self.version),
            "full_version": self.full_version,
            "executable": self.executable,
            "site_packages": self.site_packages,
            "scripts": self.scripts,
        }

    @classmethod
    def from_json(cls, value: Json) -> PythonInstallation:
        """Read a record of the cache; raise ``ValueError`` where it is malformed."""
        match value:
            case {
                "version": [int(major), int(minor)],
                "full_version": str(full),
                "executable": str(executable),
                "site_packages": str(site_packages),
                "scripts": str(scripts),
            }:
                return cls((major, minor), full, executable, site_packages, scripts)
        raise ValueError(f"not the record of a Python: {value!r:.200}")


@dataclass(frozen=True)
class FoundPython:
    """A Python and the directories of its ``sys.path`` that may hold distributions, the first one winning."""

    installation: PythonInstallation
    search_path: tuple[str, ...]


@dataclass(frozen=True)
class _Program:
    """What a search of PATH found: the path that was tried, and the file at the end of its links."""

    candidate: str
    path: str
    version: tuple[int, int]

    @property
    def prefix(self) -> str:
        return dirname(dirname(self.path))


def find(files: Overlay, env: Mapping[str, str], os_release: Mapping[str, str]) -> FoundPython | None:
    """Find what ``python3`` (else ``python``) starts, by the image's PATH; None where there is no Python 3."""
    for name in ("python3", "python"):
        for folder in env.get("PATH", _DEFAULT_PATH).split(":"):
            candidate = join(folder, name)
            executable = files.find(candidate) if folder.startswith("/") else None
            if executable and executable[1].is_file and (version := _version(files, executable[0])):
                return _described(files, _Program(candidate, executable[0], version), _family(os_release), env)
    return None


def _version(files: Overlay, program: str) -> tuple[int, int] | None:
    """Tell the version by the program's name, or by the library beside it."""
    if match := _PROGRAM.fullmatch(basename(program)):
        return 3, int(match[1])
    libraries = files.children(join(dirname(dirname(program)), "lib"))
    versions = sorted(int(match[1]) for match in map(_PROGRAM.fullmatch, libraries) if match)
    return (3, versions[-1]) if versions else None


def _family(os_release: Mapping[str, str]) -> frozenset[str]:
    return frozenset([os_release.get("ID", ""), *os_release.get("ID_LIKE", "").split()])


def _described(files: Overlay, program: _Program, family: frozenset[str], env: Mapping[str, str]) -> FoundPython:
    name = f"python{program.version[0]}.{program.version[1]}"
    search_path = [folder for folder in env.get("PYTHONPATH", "").split(":") if folder.startswith("/")]
    system_path = _system_path(program.prefix, name, family)
    settings: Mapping[str, str] = {}
    if venv := _venv(files, program.candidate):
        prefix, settings = venv
        search_path += [f"{prefix}/lib/{name}/site-packages", f"{prefix}/lib64/{name}/site-packages"]
        site_packages = f"{prefix}/lib/{name}/site-packages"
        if settings.get("include-system-site-packages", "").lower() == "true":
            search_path += system_path
        executable = f"{prefix}/bin/{name}" if files.find(f"{prefix}/bin/{name}") else program.candidate
    else:
        search_path += system_path
        site_packages = system_path[0]
        executable = program.path
        prefix = site_packages.partition("/lib/")[0]
    full_version = _full_version(files, program) or settings.get("version") or name.removeprefix("python")
    installation = PythonInstallation(program.version, full_version, executable, site_packages, f"{prefix}/bin")
    return FoundPython(installation, tuple(dict.fromkeys(search_path)))


def _system_path(prefix: str, name: str, family: frozenset[str]) -> list[str]:
    """Return the site directories of a Python outside of virtual environments, the one of ``pip install`` first."""
    if prefix == "/usr" and family & _DEBIAN:
        return [
            f"/usr/local/lib/{name}/dist-packages",
            "/usr/lib/python3/dist-packages",
            f"/usr/lib/{name}/dist-packages",
        ]
    own = [f"{prefix}/lib/{name}/site-packages", f"{prefix}/lib64/{name}/site-packages"]
    if prefix == "/usr" and family & _RED_HAT:
        return [f"/usr/local/lib/{name}/site-packages", f"/usr/local/lib64/{name}/site-packages", *own]
    return own


def _venv(files: Overlay, candidate: str) -> tuple[str, Mapping[str, str]] | None:
    """Return prefix and settings of the virtual environment that a program is in (as CPython's ``getpath`` does)."""
    # CPython looks beside the program and one folder up, at the path by which it was started: the program of a
    # virtual environment is a link to one outside.
    for folder in (dirname(candidate), dirname(dirname(candidate))):
        content = files.content(join(folder, "pyvenv.cfg"))
        if content is not None:
            pairs = (line.partition("=") for line in content.decode(errors="replace").splitlines())
            settings = {key.strip().lower(): value.strip() for key, _, value in pairs}
            return dirname(dirname(candidate)), settings
    return None


def _full_version(files: Overlay, program: _Program) -> str | None:
    """Find the release (e.g. 3.11.2) in the program or in the library that it is linked to."""
    library = f"libpython{program.version[0]}.{program.version[1]}.so"
    places = [program.path]
    for folder in (f"{program.prefix}/lib", f"{program.prefix}/lib64"):
        for name in sorted(files.children(folder)):
            if name.startswith(library):
                places.append(f"{folder}/{name}")
            elif name.endswith("-linux-gnu"):
                places.append(f"{folder}/{name}/{library}.1.0")
    for place in places:
        for word in (files.content(place) or b"").split():
            match = _RELEASE.fullmatch(word)
            if match and (int(match[1]), int(match[2])) == program.version:
                return word.decode()
    return None

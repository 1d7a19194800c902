"""A wheel as the files it becomes in an image, read straight from the zip: nothing is installed on the build host."""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Final

from installer.scripts import InvalidScript, Script
from installer.utils import parse_entrypoints

from bundler.wheels.archive import WheelArchive

_INSTALLER: Final = b"bundler\n"
_WHITEOUT: Final = ".wh."  # what a name in a layer begins with that deletes (OCI image specification, layer.md)
_SCRIPT_LIMIT: Final = 1 << 20  # bytes; a larger file in "scripts" is a program, not a script with a first line to mend
_EXECUTABLE: Final = 0o111


@dataclass(frozen=True)
class InstallTarget:
    """Where an image's Python looks: absolute paths, e.g. /usr/bin/python3.11, .../dist-packages, /usr/local/bin."""

    version: tuple[int, int]
    interpreter: str
    site_packages: str
    scripts: str

    @property
    def prefix(self) -> str:
        """The folder above the scripts, which a wheel's ``data`` is relative to."""
        return str(PurePosixPath(self.scripts).parent)

    @property
    def cache_tag(self) -> str:
        """The tag in the names of ``.pyc`` files (PEP 3147)."""
        return f"cpython-{self.version[0]}{self.version[1]}"


@dataclass(frozen=True)
class InstalledFile:
    """One file below the root of an image (no leading slash); ``open`` yields ``size`` bytes."""

    path: str
    size: int
    open: Callable[[], BinaryIO]
    executable: bool = False


@dataclass(frozen=True)
class _Placed:
    """An installed file, and its hash as RECORD writes it."""

    file: InstalledFile
    recorded: str


class OpenWheel:
    """A wheel that is open for reading: the files that installing it would make.

    Raises:
        VerificationError: the wheel is damaged or holds what a wheel must not; also raised while the content of its
            files is read, before it ends, where that is not what the wheel's RECORD says.
    """

    def __init__(self, stream: BinaryIO, filename: str) -> None:
        self._archive = WheelArchive(stream, filename)
        self.filename = filename

    def files(self, target: InstallTarget, *, requested: bool = False) -> tuple[InstalledFile, ...]:
        """Return every file that installing the wheel would make, sorted by path, byte code excepted."""
        placed: dict[str, _Placed] = {}
        for entry, installed in self._placed(target):
            if installed.file.path in placed:
                raise self._archive.refuse(entry, f"would be installed as {installed.file.path!r} like another entry")
            placed[installed.file.path] = installed
        for script in self._entry_points(target):
            placed[script.file.path] = script  # as with pip: it takes the place of a file of that name
        folder = f"{target.site_packages.lstrip('/')}/{self._archive.dist_info}"
        extra = {"INSTALLER": _INSTALLER} | ({"REQUESTED": b""} if requested else {})
        for name, content in extra.items():
            placed[f"{folder}/{name}"] = _in_memory(f"{folder}/{name}", content)
        self._check_folders(placed)
        for path in placed:
            if any(segment.startswith(_WHITEOUT) for segment in path.split("/")):
                raise self._archive.refuse(path, "would delete files of other layers of the image")
        record = _in_memory(f"{folder}/RECORD", _record(placed, target, f"{folder}/RECORD"))
        files = [record.file, *(installed.file for installed in placed.values())]
        return tuple(sorted(files, key=lambda file: file.path))

    def _placed(self, target: InstallTarget) -> Iterator[tuple[str, _Placed]]:
        archive = self._archive
        for entry, info in archive.entries.items():
            if entry not in archive.recorded or _is_byte_code(entry):
                continue  # RECORD is written again, so its signatures (PEP 427) no longer match
            path = self._place(entry, target)
            is_script = entry.startswith(f"{archive.data}/scripts/")
            if is_script and info.file_size <= _SCRIPT_LIMIT:
                content = _with_interpreter(archive.read(entry), target.interpreter)
                yield entry, _in_memory(path, content, executable=True)
            else:
                executable = is_script or bool(info.external_attr >> 16 & _EXECUTABLE)
                file = InstalledFile(path, info.file_size, self._opener(entry), executable)
                yield entry, _Placed(file, str(archive.recorded[entry]))

    def _opener(self, entry: str) -> Callable[[], BinaryIO]:
        return lambda: self._archive.open(entry)

    def _place(self, entry: str, target: InstallTarget) -> str:
        data = f"{self._archive.data}/"
        if not entry.startswith(data):
            return f"{target.site_packages.lstrip('/')}/{entry}"
        scheme, _, rest = entry.removeprefix(data).partition("/")
        project = self._archive.dist_info.partition("-")[0]
        major, minor = target.version
        places = {
            "purelib": target.site_packages,
            "platlib": target.site_packages,
            "scripts": target.scripts,
            "data": target.prefix,
            "headers": f"{target.prefix}/include/python{major}.{minor}/{project}",
        }
        if scheme not in places or not rest:
            raise self._archive.refuse(entry, "is in a scheme that installers do not know (PEP 427)")
        return f"{places[scheme].lstrip('/')}/{rest}"

    def _entry_points(self, target: InstallTarget) -> Iterator[_Placed]:
        entry = f"{self._archive.dist_info}/entry_points.txt"
        if entry not in self._archive.entries:
            return
        try:
            points = list(parse_entrypoints(self._archive.read(entry).decode()))
            scripts = [(name, Script(name, module, attribute, section)) for name, module, attribute, section in points]
            generated = [(name, script.generate(target.interpreter, "posix")[1]) for name, script in scripts]
        except (ValueError, AssertionError, InvalidScript, configparser.Error) as error:  # the parser's, on bad text
            raise self._archive.refuse(entry, f"cannot be read: {error}") from error
        for name, content in generated:
            if "/" in name or name in ("", ".", "..") or not name.isprintable():
                raise self._archive.refuse(entry, f"names a script {name!r}")
            yield _in_memory(f"{target.scripts.lstrip('/')}/{name}", content, executable=True)

    def _check_folders(self, placed: Mapping[str, _Placed]) -> None:
        """Refuse a path that would be a file and a folder: moved entries may meet."""
        for path in placed:
            for parent in PurePosixPath(path).parents:
                if str(parent) in placed:
                    raise self._archive.refuse(path, f"would be installed below the file {str(parent)!r}")


def _is_byte_code(entry: str) -> bool:
    """Tell byte code in a cache: it is compiled again, because that of a wheel cannot be reviewed."""
    return "__pycache__" in entry.split("/")


def _record(placed: Mapping[str, _Placed], target: InstallTarget, record: str) -> bytes:
    """Return the RECORD of what is installed, paths relative to site-packages (PEP 376, PEP 627)."""
    site = PurePosixPath("/" + target.site_packages.lstrip("/"))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for path in sorted(placed):
        installed = placed[path]
        writer.writerow((_relative(PurePosixPath("/" + path), site), installed.recorded, installed.file.size))
    writer.writerow((_relative(PurePosixPath("/" + record), site), "", ""))
    return text.getvalue().encode()


def _in_memory(path: str, content: bytes, *, executable: bool = False) -> _Placed:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return _Placed(InstalledFile(path, len(content), lambda: io.BytesIO(content), executable), f"sha256={digest}")


def _with_interpreter(content: bytes, interpreter: str) -> bytes:
    """Replace the first line ``#!python`` (PEP 427, "Recommended installer features")."""
    first, newline, rest = content.partition(b"\n")
    if not first.startswith(b"#!python"):
        return content
    return b"#!" + interpreter.encode() + newline + rest


def _relative(path: PurePosixPath, folder: PurePosixPath) -> str:
    parts, base = path.parts, folder.parts
    common = next((i for i, (a, b) in enumerate(zip(parts, base, strict=False)) if a != b), min(len(parts), len(base)))
    return "/".join([".."] * (len(base) - common) + list(parts[common:]))

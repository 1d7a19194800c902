"""A wheel as the files it becomes in an image, read straight from the zip: nothing is installed on the build host."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Final, cast

from installer.scripts import Script
from installer.utils import parse_entrypoints

from bundler.errors import VerificationError

_INSTALLER: Final = b"bundler\n"
_SCRIPT_LIMIT: Final = 1 << 20  # bytes; a larger file in "scripts" is a program, not a script with a first line to mend
_METADATA_LIMIT: Final = 64 << 20
# A wheel holds code; one that claims to unpack to more than this is not one.
_MOST_ENTRIES: Final = 200_000
_MOST_RATIO: Final = 200
_UNPACKED_FREE: Final = 256 << 20
_SYMLINK: Final = 0o120000
_KINDS: Final = 0o170000


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


class OpenWheel:
    """A wheel that is open for reading: what it is called and the files it becomes.

    Raises:
        VerificationError: the zip is damaged, or holds an entry that a wheel must not (an absolute path, one that
            leaves its folder, a link, a duplicate, an absurd size).
    """

    def __init__(self, stream: BinaryIO, filename: str) -> None:
        self.filename = filename
        try:
            self._zip = zipfile.ZipFile(stream)
        except zipfile.BadZipFile as error:
            raise VerificationError(f"{filename} is not a zip file: {error}.") from error
        self._entries = {info.filename: info for info in self._checked()}
        self._dist_info = self._only_folder(".dist-info")
        self._data = self._dist_info.removesuffix(".dist-info") + ".data"

    def _refuse(self, entry: str, reason: str) -> VerificationError:
        return VerificationError(f"{self.filename}: the entry {entry!r} {reason}.", remedy="Do not use this wheel.")

    def _checked(self) -> Iterator[zipfile.ZipInfo]:
        infos = self._zip.infolist()
        packed = sum(info.compress_size for info in infos)
        unpacked = sum(info.file_size for info in infos)
        if len(infos) > _MOST_ENTRIES or unpacked > packed * _MOST_RATIO + _UNPACKED_FREE:
            raise VerificationError(
                f"{self.filename} unpacks to {len(infos)} files of {unpacked} bytes, which no wheel does."
            )
        seen: set[str] = set()
        for info in infos:
            name = info.filename
            parts = name.rstrip("/").split("/")
            if name.startswith("/") or "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts):
                raise self._refuse(name, "has a path that leaves the wheel or is not plain")
            if (info.external_attr >> 16) & _KINDS == _SYMLINK:
                raise self._refuse(name, "is a symbolic link, which wheels cannot hold")
            if name in seen:
                raise self._refuse(name, "occurs twice")
            if info.flag_bits & 1:
                raise self._refuse(name, "is encrypted")
            seen.add(name)
            if not info.is_dir():
                yield info

    def _only_folder(self, suffix: str) -> str:
        folders = {name.partition("/")[0] for name in self._entries}
        found = sorted(folder for folder in folders if folder.endswith(suffix))
        if len(found) != 1:
            raise VerificationError(f"{self.filename} has {len(found)} folders {suffix!r} instead of one.")
        return found[0]

    def files(self, target: InstallTarget, *, requested: bool = False) -> tuple[InstalledFile, ...]:
        """Return every file that installing the wheel would make, sorted by path, byte code excepted."""
        files = {file.path: file for file in self._placed(target)}
        for script in self._entry_points(target):
            files[script.path] = script
        extra = {"INSTALLER": _INSTALLER} | ({"REQUESTED": b""} if requested else {})
        for name, content in extra.items():
            path = f"{target.site_packages.lstrip('/')}/{self._dist_info}/{name}"
            files[path] = _in_memory(path, content)
        record = f"{target.site_packages.lstrip('/')}/{self._dist_info}/RECORD"
        files[record] = _in_memory(record, self._record(files, target, record))
        return tuple(files[path] for path in sorted(files))

    def _placed(self, target: InstallTarget) -> Iterator[InstalledFile]:
        for name, info in self._entries.items():
            if name == f"{self._dist_info}/RECORD" or name.startswith(f"{self._dist_info}/RECORD."):
                continue  # written anew; its signatures (PEP 427) no longer fit
            path = self._place(name, target)
            mode = info.external_attr >> 16
            is_script = path.startswith(target.scripts.lstrip("/") + "/") and name.startswith(self._data)
            if is_script and info.file_size <= _SCRIPT_LIMIT:
                content = self._zip.read(info)
                yield _in_memory(path, _with_interpreter(content, target.interpreter), executable=True)
            else:
                yield InstalledFile(path, info.file_size, self._opener(info), is_script or bool(mode & 0o111))

    def _opener(self, info: zipfile.ZipInfo) -> Callable[[], BinaryIO]:
        return lambda: cast("BinaryIO", self._zip.open(info))  # ZipExtFile checks the size and the CRC

    def _place(self, name: str, target: InstallTarget) -> str:
        if not name.startswith(f"{self._data}/"):
            return f"{target.site_packages.lstrip('/')}/{name}"
        scheme, _, rest = name.removeprefix(f"{self._data}/").partition("/")
        project = self._dist_info.partition("-")[0]
        major, minor = target.version
        places = {
            "purelib": target.site_packages,
            "platlib": target.site_packages,
            "scripts": target.scripts,
            "data": target.prefix,
            "headers": f"{target.prefix}/include/python{major}.{minor}/{project}",
        }
        if scheme not in places or not rest:
            raise self._refuse(name, "is in a scheme that installers do not know (PEP 427)")
        return f"{places[scheme].lstrip('/')}/{rest}"

    def _entry_points(self, target: InstallTarget) -> Iterator[InstalledFile]:
        info = self._entries.get(f"{self._dist_info}/entry_points.txt")
        if info is None:
            return
        if info.file_size > _METADATA_LIMIT:
            raise self._refuse(info.filename, "is absurdly large")
        for name, module, attribute, section in parse_entrypoints(self._zip.read(info).decode()):
            if "/" in name or name in ("", ".", ".."):
                raise self._refuse(info.filename, f"names a script {name!r}")
            _, content = Script(name, module, attribute, section).generate(target.interpreter, "posix")
            yield _in_memory(f"{target.scripts.lstrip('/')}/{name}", content, executable=True)

    def _record(self, files: dict[str, InstalledFile], target: InstallTarget, record: str) -> bytes:
        known = self._recorded()
        site = PurePosixPath("/" + target.site_packages.lstrip("/"))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for path in sorted(files):
            file = files[path]
            row = known.get(path.removeprefix(f"{target.site_packages.lstrip('/')}/"))
            # Entries that were moved or mended get their hash anew; the rest is as the wheel says.
            digest = row if row and path.startswith(target.site_packages.lstrip("/")) else _record_hash(file)
            writer.writerow((_relative(PurePosixPath("/" + path), site), digest, file.size))
        writer.writerow((_relative(PurePosixPath("/" + record), site), "", ""))
        return text.getvalue().encode()

    def _recorded(self) -> dict[str, str]:
        info = self._entries.get(f"{self._dist_info}/RECORD")
        if info is None:
            raise VerificationError(f"{self.filename} has no RECORD.", remedy="It is not a wheel (PEP 427).")
        if info.file_size > _METADATA_LIMIT:
            raise self._refuse(info.filename, "is absurdly large")
        rows = csv.reader(io.StringIO(self._zip.read(info).decode()))
        return {row[0]: row[1] for row in rows if len(row) == 3}  # noqa: PLR2004  (path, hash, size)


def _in_memory(path: str, content: bytes, *, executable: bool = False) -> InstalledFile:
    return InstalledFile(path, len(content), lambda: io.BytesIO(content), executable)


def _with_interpreter(content: bytes, interpreter: str) -> bytes:
    """Replace the first line ``#!python`` (PEP 427, "Recommended installer features")."""
    first, newline, rest = content.partition(b"\n")
    if not first.startswith(b"#!python"):
        return content
    return b"#!" + interpreter.encode() + newline + rest


def _record_hash(file: InstalledFile) -> str:
    state = hashlib.sha256()
    with file.open() as stream:
        while chunk := stream.read(_SCRIPT_LIMIT):
            state.update(chunk)
    return "sha256=" + base64.urlsafe_b64encode(state.digest()).rstrip(b"=").decode()


def _relative(path: PurePosixPath, folder: PurePosixPath) -> str:
    parts, base = path.parts, folder.parts
    common = next((i for i, (a, b) in enumerate(zip(parts, base, strict=False)) if a != b), min(len(parts), len(base)))
    return "/".join([".."] * (len(base) - common) + list(parts[common:]))

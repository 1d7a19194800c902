"""What a base image already holds, read from its layers: Python, distributions, glibc, users, Debian packages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from posixpath import basename
from typing import BinaryIO, Final

from bundler.model import licences
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.oci import installed_python, layer_format, tar_reader
from bundler.oci.document import texts
from bundler.oci.image import Image
from bundler.oci.installed_python import PythonInstallation
from bundler.oci.layer_format import Readable
from bundler.oci.overlay import Overlay, Reader

__all__ = ["BaseContents", "PythonInstallation", "inspect"]

_CHUNK: Final = 1 << 18
_OVERLAP: Final = 256
_MOST_TEXT: Final = 32 << 20
_MOST_SMALL: Final = 1 << 20
_GLIBC: Final = re.compile(rb"GNU C Library [^\n\0]{0,200}?version (\d+\.\d+)")
_PYTHON_RELEASE: Final = re.compile(rb"\0(3\.\d+\.\d+(?:\+|rc\d+|[ab]\d+)?)(?=\0)")
_PYTHON_PROGRAM: Final = re.compile(r"python(3(\.\d+)?)?|libpython3\.\d+\.so[.\d]*")
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION: Final = re.compile(r"[A-Za-z0-9.!+_-]{1,100}")
_KEPT: Final = (b"name:", b"version:", b"license:", b"license-expression:", b"classifier: license ::")
_SOURCE: Final = re.compile(r"([a-z0-9][a-z0-9.+-]*)(?: \(([^()\s]+)\))?")
_COPYRIGHT: Final = re.compile(r"usr/share/doc/[^/]+/copyright")
_LIBC_FOLDERS: Final = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")


@dataclass(frozen=True)
class BaseContents:
    """What an image holds; ``distributions`` are those its Python can import, normalised name -> version."""

    python: PythonInstallation | None
    distributions: Mapping[str, str]
    glibc: tuple[int, int] | None
    users: Mapping[str, int]
    has_bash: bool
    os_release: Mapping[str, str]
    debian_packages: Mapping[str, str]
    python_licences: Mapping[str, str] = field(default_factory=dict)
    """Distribution -> the licences that it declares, one a line."""
    debian_licences: Mapping[str, str] = field(default_factory=dict)
    """Package -> the licences that its copyright file names, one a line."""
    debian_sources: Mapping[str, str] = field(default_factory=dict)
    """Package -> NAME@VERSION of the source package that it was built from, where one of them is another."""

    def to_json(self) -> dict[str, Json]:
        """Return the contents as a record of the cache; the key is the digest of the image's manifest."""
        return {
            "python": self.python.to_json() if self.python else None,
            "distributions": dict(self.distributions),
            "glibc": list(self.glibc) if self.glibc else None,
            "users": dict(self.users),
            "has_bash": self.has_bash,
            "os_release": dict(self.os_release),
            "debian_packages": dict(self.debian_packages),
            "python_licences": dict(self.python_licences),
            "debian_licences": dict(self.debian_licences),
            "debian_sources": dict(self.debian_sources),
        }

    @classmethod
    def from_json(cls, value: Json) -> BaseContents:
        """Read a record of the cache; raise ``ValueError`` where it is malformed."""
        if not isinstance(value, dict):
            raise ValueError(f"not the record of a base image: {value!r:.200}")  # noqa: TRY004  (a malformed document)
        python, glibc, users = value.get("python"), value.get("glibc"), value.get("users")
        return cls(
            python=PythonInstallation.from_json(python) if python else None,
            distributions=texts(value.get("distributions"), "distributions"),
            glibc=_pair(glibc),
            users={name: uid for name, uid in users.items() if isinstance(uid, int)} if isinstance(users, dict) else {},
            has_bash=value.get("has_bash") is True,
            os_release=texts(value.get("os_release"), "os_release"),
            debian_packages=texts(value.get("debian_packages"), "debian_packages"),
            python_licences=texts(value.get("python_licences"), "python_licences"),
            debian_licences=texts(value.get("debian_licences"), "debian_licences"),
            debian_sources=texts(value.get("debian_sources"), "debian_sources"),
        )


def inspect(image: Image, open_blob: Callable[[Digest], BinaryIO]) -> BaseContents:
    """Read each layer of an image once, lowest first, and return what the image holds.

    Raises:
        ValueError: a layer is not a tar, escapes the root, or is compressed in a way that this Python cannot unpack.
    """
    files = Overlay(_wanted)
    for layer in image.layers:
        digest, media_type = layer.descriptor.digest, layer.descriptor.media_type
        try:
            with open_blob(digest) as stream:
                files.apply(tar_reader.members(layer_format.unpacked(stream, media_type)))
        except ValueError as error:
            raise ValueError(f"layer {digest} of image {image.descriptor.digest}: {error}") from error
    os_release = _os_release(files)
    python = installed_python.find(files, image.config.env, os_release)
    distributions = _distributions(files, python.search_path if python else ())
    packages, sources = _debian_packages(files)
    return BaseContents(
        python=python.installation if python else None,
        distributions={name: distribution.version for name, distribution in distributions.items()},
        glibc=_glibc(files),
        users=_users(files),
        has_bash=any((place := files.find(f"{folder}/bash")) and place[1].is_file for folder in ("/bin", "/usr/bin")),
        os_release=os_release,
        debian_packages=packages,
        python_licences={
            name: distribution.licences for name, distribution in distributions.items() if distribution.licences
        },
        debian_licences=dict(_debian_licences(files, packages)),
        debian_sources=sources,
    )


def _wanted(path: str) -> Reader | None:
    name = basename(path)
    if name in {"METADATA", "PKG-INFO"} or name.endswith(".egg-info") or _COPYRIGHT.fullmatch(path):
        return _licences if name == "copyright" else _identity
    if name == "pyvenv.cfg" or path in {"etc/passwd", "etc/os-release", "usr/lib/os-release"}:
        return lambda stream: _text(stream, _MOST_SMALL)
    if path == "var/lib/dpkg/status" or path.startswith("var/lib/dpkg/status.d/"):
        return lambda stream: _text(stream, _MOST_TEXT)
    if name == "libc.so.6" or re.fullmatch(r"libc-2\.\d+\.so", name):
        return lambda stream: b" ".join(_matches(stream, _GLIBC))
    if _PYTHON_PROGRAM.fullmatch(name):
        return lambda stream: b" ".join(_matches(stream, _PYTHON_RELEASE))
    return None


def _text(stream: Readable, most: int) -> bytes:
    """Return the content up to a limit; the files that are read need no more."""
    chunks = []
    while most and (chunk := stream.read(min(most, _CHUNK))):
        chunks.append(chunk)
        most -= len(chunk)
    return b"".join(chunks)


def _identity(stream: Readable) -> bytes:
    """Return the lines of core metadata with name and version; descriptions can be long, and there may be many."""
    header = _text(stream, _MOST_SMALL).replace(b"\r\n", b"\n").split(b"\n\n", 1)[0]
    return b"\n".join(line for line in header.split(b"\n") if line.lower().startswith(_KEPT))


def _licences(stream: Readable) -> bytes:
    return "\n".join(licences.of_copyright(_text(stream, _MOST_SMALL).decode(errors="replace"))).encode()


def _matches(stream: Readable, pattern: re.Pattern[bytes]) -> Iterator[bytes]:
    """Yield what the first group of a pattern matches in a binary, each once."""
    seen: set[bytes] = set()
    window = b""
    while chunk := stream.read(_CHUNK):
        window = window[-_OVERLAP:] + chunk
        for match in pattern.finditer(window):
            if match[1] not in seen and len(seen) < 16:  # noqa: PLR2004  (a binary names a release once or twice)
                seen.add(match[1])
                yield match[1]


def _pair(value: Json) -> tuple[int, int] | None:
    match value:
        case [int(major), int(minor)]:
            return major, minor
    return None


def _os_release(files: Overlay) -> Mapping[str, str]:
    content = files.content("/etc/os-release") or files.content("/usr/lib/os-release") or b""
    pairs = (line.partition("=") for line in content.decode(errors="replace").splitlines())
    return {
        key.strip(): value.strip().strip("\"'") for key, equals, value in pairs if equals and not key.startswith("#")
    }


def _users(files: Overlay) -> Mapping[str, int]:
    lines = (files.content("/etc/passwd") or b"").decode(errors="replace").splitlines()
    fields = (line.split(":") for line in lines)
    return {field[0]: int(field[2]) for field in fields if len(field) > 2 and field[2].isdecimal()}  # noqa: PLR2004


def _debian_packages(files: Overlay) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return package -> version, and -> source; images without dpkg keep one file a package in ``status.d``."""
    databases = [files.content("/var/lib/dpkg/status") or b""]
    databases += [node.content or b"" for _, node in sorted(files.children("/var/lib/dpkg/status.d").items())]
    packages: dict[str, str] = {}
    sources: dict[str, str] = {}
    for paragraph in b"\n\n".join(databases).decode(errors="replace").split("\n\n"):
        fields = _fields(paragraph)
        if fields.get("Status", "install ok installed").endswith(" installed") and "Version" in fields:
            name, version = fields.get("Package", ""), fields["Version"]
            packages[name] = version
            if match := _SOURCE.fullmatch(fields.get("Source", "")):
                sources[name] = f"{match[1]}@{match[2] or version}"
    packages.pop("", None)
    return dict(sorted(packages.items())), dict(sorted(sources.items()))


def _debian_licences(files: Overlay, packages: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in packages:
        content = files.content(f"/usr/share/doc/{name}/copyright")
        if content:
            yield name, content.decode()


def _fields(paragraph: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in paragraph.splitlines() if line[:1].isalpha())
    return {key: value.strip() for key, colon, value in pairs if colon}


def _glibc(files: Overlay) -> tuple[int, int] | None:
    """Return the version of glibc from the library itself, which holds it in the same form on every distribution."""
    folders = [f"{folder}/{name}" for folder in ("/lib", "/usr/lib") for name in sorted(files.children(folder))]
    for folder in (*_LIBC_FOLDERS, *(name for name in folders if name.endswith("-linux-gnu"))):
        version = (files.content(f"{folder}/libc.so.6") or b"").split()
        if version:
            major, minor = version[0].split(b".")
            return int(major), int(minor)
    return None


@dataclass(frozen=True)
class _Distribution:
    """What core metadata says; ``licences`` are one a line."""

    name: str
    version: str
    licences: str


def _distributions(files: Overlay, search_path: tuple[str, ...]) -> Mapping[str, _Distribution]:
    distributions: dict[str, _Distribution] = {}
    for folder in search_path:
        for distribution in _in_folder(files, folder):
            distributions.setdefault(distribution.name, distribution)
    return dict(sorted(distributions.items()))


def _in_folder(files: Overlay, folder: str) -> Iterator[_Distribution]:
    """Yield what is installed in one folder of ``sys.path``."""
    for name, node in sorted(files.children(folder).items()):
        if name.startswith("~"):  # a leftover of an interrupted pip
            continue
        if name.endswith(".dist-info"):
            content = files.content(f"{folder}/{name}/METADATA")
        elif name.endswith(".egg-info"):
            content = node.content or files.content(f"{folder}/{name}/PKG-INFO")
        else:
            continue
        if distribution := _metadata(content):
            yield distribution


def _metadata(content: bytes | None) -> _Distribution | None:
    """Read core metadata; None where the name or the version is missing."""
    text = (content or b"").decode(errors="replace")
    fields = {key.lower(): value for key, value in _fields(text).items()}
    name, version = fields.get("name", ""), fields.get("version", "")
    if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
        return None
    declared = "\n".join(licences.of_metadata(text))
    return _Distribution(re.sub(r"[-_.]+", "-", name).lower(), version, declared)

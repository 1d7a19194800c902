"""The versions that a Feast release was tested with: the lock that its own source distribution carries."""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from bundler.effects.blobs import BlobStore
from bundler.effects.packages import uv, wheelhouse
from bundler.effects.packages.uv import Resolution
from bundler.errors import LockError, VerificationError
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.model.progress import Progress
from bundler.wheels.compatibility import ImagePython

_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)\s*(?:;\s*([^\\]+))?")
_FILE = re.compile(r"sdk/python/requirements/py3\.(\d+)-minimal-requirements\.txt$")
# Part of the record's key: raise it when the same release is read differently.
_RECIPE = 2
_MOST = 4 << 20  # bytes; the real files are a tenth of it
_OTHER_RELEASE = "Set feast.version to a release that the index has as a source distribution with its lock."


@dataclass(frozen=True)
class ReleaseLock:
    """Versions that a Feast release pins, by normalised name, and the file of the release they were read from."""

    source: str
    pins: Mapping[str, str]


def release_lock(version: str, python: ImagePython, store: BlobStore, *, progress: Progress) -> ReleaseLock:
    """Return the pins that a Feast release was tested with on this Python, or on the nearest that it has a lock for.

    A fresh resolution of Feast's open lower bounds gets releases that it was never run with: the registry's REST
    server then dies at its start while every probe passes.

    Raises:
        LockError: the release does not exist, or does not carry a lock.
    """
    key = f"{_RECIPE} {version} {python.full_version} {python.platform}"
    known = _recalled(store.recall("feast-release", key))
    if known is not None:
        return known
    resolution = Resolution(python, requirements=(f"feast=={version}",), dependencies=False, sources=True)
    sources = [candidate for release in uv.releases(resolution) for candidate in release.files]
    if not sources:
        raise LockError(
            f"Feast {version} does not have a source distribution, from which its lock would be read.",
            remedy=_OTHER_RELEASE,
        )
    ((sha256, _),) = wheelhouse.download(sources[:1], store, progress=progress)
    lock = _read(store, Digest(sha256), version, python)
    store.remember("feast-release", key, {"source": lock.source, "pins": dict(lock.pins)})
    return lock


def _recalled(record: Json) -> ReleaseLock | None:
    match record:
        case {"source": str(source), "pins": dict(pins)}:
            return ReleaseLock(source, {name: str(version) for name, version in pins.items()})
    return None


def _read(store: BlobStore, digest: Digest, version: str, python: ImagePython) -> ReleaseLock:
    try:
        with store.open(digest) as stream, tarfile.open(fileobj=stream, mode="r|gz") as archive:
            locks = dict(_locks(archive))
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise VerificationError(
            f"The source distribution of Feast {version} cannot be read: {error}.", remedy=_OTHER_RELEASE
        ) from error
    if not locks:
        raise LockError(
            f"The source distribution of Feast {version} does not carry a lock of its dependencies.",
            remedy=_OTHER_RELEASE,
        )
    nearest = min(locks, key=lambda minor: (abs(minor - python.version[1]), minor))
    return ReleaseLock(f"Feast {version}'s own lock for Python 3.{nearest}", dict(_pins(locks[nearest], python)))


def _locks(archive: tarfile.TarFile) -> Iterator[tuple[int, str]]:
    """Yield minor version of Python and text of each lock."""
    for member in archive:
        match = _FILE.search(member.name)
        content = archive.extractfile(member) if match and member.isfile() else None
        if match and content is not None:
            yield int(match[1]), content.read(_MOST).decode(errors="replace")


def _pins(text: str, python: ImagePython) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        match = _PIN.match(line)
        if match and python.satisfies((match[3] or "").strip()) and (name := canonicalize_name(match[1])) != "feast":
            yield name, match[2]

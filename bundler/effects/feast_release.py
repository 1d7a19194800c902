"""The versions that a Feast release was tested with: the lock that its own source distribution carries."""

from __future__ import annotations

import re
import tarfile
from dataclasses import dataclass, replace

from bundler.effects import uv, wheelhouse
from bundler.effects.blobs import BlobStore
from bundler.effects.uv import Resolution
from bundler.errors import LockError
from bundler.model.digest import Digest
from bundler.model.progress import Progress
from bundler.wheels.compatibility import ImagePython

_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)")
_FILE = re.compile(r"sdk/python/requirements/py3\.(\d+)-minimal-requirements\.txt$")
_MOST = 4 << 20  # bytes; the real files are a tenth of it


@dataclass(frozen=True)
class ReleaseLock:
    """Pins of a Feast release: constraint lines, and the file of the release they were read from."""

    source: str
    pins: tuple[str, ...]


def release_lock(version: str, python: ImagePython, store: BlobStore, *, progress: Progress) -> ReleaseLock:
    """Return the pins that a Feast release was tested with on this Python, or on the nearest that it has a lock for.

    A fresh resolution of Feast's open lower bounds gets releases that it was never run with: the registry's REST
    server then dies at its start while every probe passes.

    Raises:
        LockError: there is no such release, or it carries no lock.
    """
    key = f"{version} {python.version[0]}.{python.version[1]}"
    record = store.recall("feast-release", key)
    if isinstance(record, dict) and isinstance(record.get("pins"), list) and isinstance(record.get("source"), str):
        return ReleaseLock(str(record["source"]), tuple(str(pin) for pin in record["pins"] or ()))  # type: ignore[union-attr]  # narrowed above
    found = uv.resolve(Resolution(python, requirements=(f"feast=={version}",), dependencies=False, sources=True))
    if not found or not found[0].sha256:
        raise LockError(f"Feast {version} has no source distribution to read its lock from.")
    sdist = replace(found[0])
    wheelhouse.download([(sdist, sdist.size)], store, progress=progress)
    lock = _read(store, Digest(sdist.sha256), version, python)
    store.remember("feast-release", key, {"source": lock.source, "pins": list(lock.pins)})
    return lock


def _read(store: BlobStore, digest: Digest, version: str, python: ImagePython) -> ReleaseLock:
    locks: dict[int, str] = {}
    with store.open(digest) as stream, tarfile.open(fileobj=stream, mode="r|gz") as archive:
        for member in archive:
            match = _FILE.search(member.name)
            content = archive.extractfile(member) if match and member.isfile() else None
            if match and content is not None:
                locks[int(match[1])] = content.read(_MOST).decode()
    if not locks:
        raise LockError(f"Feast {version} carries no lock of its dependencies.")
    nearest = min(locks, key=lambda minor: (abs(minor - python.version[1]), minor))
    pins = (match for line in locks[nearest].splitlines() if (match := _PIN.match(line)))
    lines = tuple(sorted(f"{match[1].lower()}=={match[2]}" for match in pins if match[1].lower() != "feast"))
    return ReleaseLock(f"Feast {version}'s own lock for Python 3.{nearest}", lines)

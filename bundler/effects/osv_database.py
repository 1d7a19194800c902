"""An OSV database on this machine: a file, a folder or a zip; only records about the packages asked for are kept."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundler.errors import UsageError
from bundler.model import json_document
from bundler.model.descriptor import Json
from bundler.model.digest import Digest, Hasher
from bundler.wheels import osv

_LARGEST: Final = 64 << 20  # bytes of one file of records
_REMEDY: Final = "Name a file, a folder or a zip of OSV records, such as the all.zip of an ecosystem at osv.dev."


@dataclass(frozen=True)
class OsvDatabase:
    """The records about the packages that were asked for: (ecosystem, name) -> records.

    ``count`` is of all records; ``digest`` is over all of them in the order of their files, and ``newest`` the time of
    the last change that one of them names.
    """

    records: Mapping[tuple[str, str], tuple[dict[str, Json], ...]]
    count: int
    digest: Digest
    newest: str

    def __str__(self) -> str:
        return f"{self.count} records, changed last {self.newest or 'at an unknown time'}, {self.digest}"


def read(path: Path, wanted: Iterable[tuple[str, str]]) -> OsvDatabase:
    """Read a database, and keep the records about some packages.

    Raises:
        UsageError: it is not there, or a file in it is not made of OSV records.
    """
    keys, hasher = frozenset(wanted), Hasher()
    kept: dict[tuple[str, str], list[dict[str, Json]]] = {}
    count, newest = 0, ""
    for name, content in _files(path):
        hasher.update(content)
        for record in _records(name, content):
            count += 1
            newest = max(newest, str(record.get("modified") or ""))
            for key in keys.intersection(osv.affected_keys(record)):
                kept.setdefault(key, []).append(record)
    if not count:
        raise UsageError(f"{path} has no OSV record.", remedy=_REMEDY)
    ordered = {key: tuple(sorted(rows, key=lambda row: str(row.get("id")))) for key, rows in kept.items()}
    return OsvDatabase(ordered, count, hasher.digest, newest)


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file of records, in the order of the names."""
    try:
        if path.is_dir():
            for file in sorted(path.rglob("*.json")):
                yield str(file), _small(str(file), file.stat().st_size) or file.read_bytes()
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for entry in sorted(archive.infolist(), key=lambda entry: entry.filename):
                    if entry.filename.endswith(".json"):
                        name = f"{path}: {entry.filename}"
                        yield name, _small(name, entry.file_size) or archive.read(entry)
        else:
            yield str(path), _small(str(path), path.stat().st_size) or path.read_bytes()
    except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(f"Cannot read the OSV database {path}: {reason}.", remedy=_REMEDY) from error


def _small(name: str, size: int) -> bytes:
    """Raise ``UsageError`` for a file that is too large to be read."""
    if size > _LARGEST:
        raise UsageError(f"{name} has {size} bytes, more than {_LARGEST}.", remedy=_REMEDY)
    return b""


def _records(name: str, content: bytes) -> Iterator[dict[str, Json]]:
    """Yield the records of a file: one, a list, or one a line."""
    try:
        lines = content.splitlines() if content.count(b"\n{") else [content]
        values = [json_document.parse(line, name, size=_LARGEST) for line in lines if line.strip()]
    except ValueError:
        try:
            values = [json_document.parse(content, name, size=_LARGEST)]
        except ValueError as error:
            raise UsageError(f"{error}.", remedy=_REMEDY) from error
    for row in (row for value in values for row in (value if isinstance(value, list) else [value])):
        if not isinstance(row, dict) or not isinstance(row.get("id"), str):
            raise UsageError(f"{name} has something that is not an OSV record: it has no id.", remedy=_REMEDY)
        yield row

"""Match records of an OSV database (OSV schema 1.6) with packages: Python's by PEP 440, Debian's by Debian's rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cmp_to_key, partial
from typing import Final

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.model import cvss, debian_version, vulnerabilities
from bundler.model.descriptor import Json
from bundler.model.vulnerabilities import UNKNOWN, Vulnerability

_RELEASES: Final = {"buster": "10", "bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14", "duke": "15"}
_UBUNTU: Final = {"focal": "20.04", "jammy": "22.04", "noble": "24.04"}
_SUMMARY: Final = 200


@dataclass(frozen=True)
class ListedPackage:
    """A package of a bill: ``names`` are those that databases may call it, of binary and of source packages."""

    ecosystem: str
    """PyPI, Debian, Ubuntu."""
    release: str
    """Of a distribution, e.g. 12; empty where it is not known."""
    name: str
    version: str
    source: str = ""
    source_version: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """By which records are found: ecosystem, and the name that its database uses."""
        return self.ecosystem, self.source or self.name


def release(distribution: str, suite: str) -> str:
    """Return the number of a release of Debian or Ubuntu for its name, empty where it is not known here."""
    return (_UBUNTU if distribution == "ubuntu" else _RELEASES).get(suite, "")


def affected_keys(record: dict[str, Json]) -> Iterator[tuple[str, str]]:
    """Yield the ecosystem and the package of each part of a record; nothing of one that was withdrawn."""
    if record.get("withdrawn"):
        return
    for row in _rows(record.get("affected")):
        ecosystem, name = _package(row)
        yield ecosystem.partition(":")[0], str(canonicalize_name(name)) if ecosystem == "PyPI" else name


def match(record: dict[str, Json], package: ListedPackage) -> Vulnerability | None:
    """Return the vulnerability of a package that a record describes, None where its version is not affected."""
    rows = [row for row in _rows(record.get("affected")) if _is_of(row, package)]
    version = package.source_version or package.version
    hit = [row for row in rows if _affects(row, version, package.ecosystem)]
    if not hit:
        return None
    fixed = dict.fromkeys(text for row in hit for text in _fixed(row, version, package.ecosystem))
    return Vulnerability(
        package=package.name,
        version=package.version,
        id=str(record.get("id", ""))[:_SUMMARY],
        severity=_severity(record, hit),
        aliases=tuple(text for text in _list(record.get("aliases")) if isinstance(text, str)),
        fixed=tuple(fixed),
        summary=str(record.get("summary") or "")[:_SUMMARY],
    )


def _is_of(row: dict[str, Json], package: ListedPackage) -> bool:
    ecosystem, name = _package(row)
    kind, _, wanted = ecosystem.partition(":")
    if kind == "PyPI":
        name = str(canonicalize_name(name))
    of_release = not wanted or not package.release or package.release in re.split(r"[:]", wanted)
    return (kind, name) == package.key and of_release


def _package(row: dict[str, Json]) -> tuple[str, str]:
    match row.get("package"):
        case {"ecosystem": str(ecosystem), "name": str(name)}:
            return ecosystem, name
    return "", ""


def _affects(row: dict[str, Json], version: str, ecosystem: str) -> bool:
    compare = _comparison(ecosystem)
    if any(isinstance(text, str) and compare(text, version) == 0 for text in _list(row.get("versions"))):
        return True
    return any(_in_range(_events(entry), version, compare) for entry in _ranges(row))


def _ranges(row: dict[str, Json]) -> Iterator[dict[str, Json]]:
    yield from (entry for entry in _rows(row.get("ranges")) if entry.get("type") in {"ECOSYSTEM", "SEMVER"})


_Event = tuple[str, str]
_Compare = Callable[[str, str], int]


def _events(entry: dict[str, Json]) -> list[_Event]:
    return [(key, str(text)) for row in _rows(entry.get("events")) for key, text in row.items()]


def _in_range(events: list[_Event], version: str, compare: _Compare) -> bool:
    """Tell whether a version is affected (OSV schema, "Evaluation"): events count in the order of their versions."""
    order_key = cmp_to_key(partial(_order, compare=compare))
    affected = False
    for kind, at in sorted(events, key=lambda event: order_key(event[1])):
        order = 1 if at == "0" else compare(version, at)
        if kind == "introduced" and order >= 0:
            affected = True
        elif (kind in {"fixed", "limit"} and order >= 0) or (kind == "last_affected" and order > 0):
            affected = False
    return affected


def _order(first: str, second: str, compare: _Compare) -> int:
    if "0" in {first, second}:  # before every version, also of Debian's with an epoch
        return (first != "0") - (second != "0")
    return compare(first, second)


def _fixed(row: dict[str, Json], version: str, ecosystem: str) -> Iterator[str]:
    """Yield the first version of each range that does not have it any more."""
    compare = _comparison(ecosystem)
    for entry in _ranges(row):
        later = [at for kind, at in _events(entry) if kind == "fixed" and compare(at, version) > 0]
        yield from sorted(later, key=cmp_to_key(compare))[:1]


def _comparison(ecosystem: str) -> _Compare:
    return _python if ecosystem == "PyPI" else debian_version.compare


def _python(first: str, second: str) -> int:
    left, right = _parsed(first), _parsed(second)
    return (left > right) - (left < right)


def _parsed(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:  # of before PEP 440: older than all others, as the index sorts them
        return Version("0.dev0")


def _severity(record: dict[str, Json], rows: list[dict[str, Json]]) -> str:
    """Return the worst severity that scores say; without scores, what the database says in words."""
    scored = [_score(row) for place in (record, *rows) for row in _rows(place.get("severity"))]
    levels = [cvss.level(value) for value in scored if value is not None]
    if not levels:
        words = [
            value
            for place in (record, *rows)
            for kind, key in (("database_specific", "severity"), ("ecosystem_specific", "urgency"))
            if isinstance(inner := place.get(kind), dict) and isinstance(value := inner.get(key), str)
        ]
        levels = [vulnerabilities.severity(word) for word in words]
    return max(levels, key=vulnerabilities.SEVERITIES.index, default=UNKNOWN)


def _score(row: dict[str, Json]) -> float | None:
    text = row.get("score")
    return cvss.score(text) if isinstance(text, str) else None


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _rows(value: Json) -> Iterator[dict[str, Json]]:
    yield from (row for row in _list(value) if isinstance(row, dict))

"""Known vulnerabilities of what a bundle holds, as a scan found them, and the policy that judges them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from bundler.model import json_document, limits
from bundler.model.descriptor import Json

FORMAT: Final = 1
UNKNOWN: Final = "unknown"
SEVERITIES: Final = (UNKNOWN, "low", "medium", "high", "critical")
"""In their order; a policy that fails on unknown severities fails on everything."""
_SAME: Final = {"moderate": "medium", "important": "high", "negligible": "low", "none": "low", "unimportant": "low"}
_DATE: Final = "%Y-%m-%d"


def severity(text: str) -> str:
    """Return one of ``SEVERITIES`` for what scanners and databases write."""
    plain = text.strip().lower()
    plain = _SAME.get(plain, plain)
    return plain if plain in SEVERITIES else UNKNOWN


@dataclass(frozen=True, order=True)
class Vulnerability:
    """One vulnerability of one package: ``aliases`` are its other ids, ``fixed`` the versions that do not have it."""

    package: str
    version: str
    id: str
    severity: str = UNKNOWN
    aliases: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    summary: str = ""
    bills: tuple[str, ...] = ()
    """The bills of materials that list the package."""

    @property
    def ids(self) -> frozenset[str]:
        """All its ids."""
        return frozenset((self.id, *self.aliases))

    def __str__(self) -> str:
        aliases = f" ({', '.join(self.aliases)})" if self.aliases else ""
        fixed = f", fixed in {', '.join(self.fixed)}" if self.fixed else ", no fixed version is known"
        return f"{self.severity}: {self.id}{aliases} in {self.package} {self.version}{fixed}"

    def to_json(self) -> dict[str, Json]:
        """Return the entry of the file."""
        return {
            "package": self.package,
            "version": self.version,
            "id": self.id,
            "severity": self.severity,
            "aliases": list(self.aliases),
            "fixed": list(self.fixed),
            "summary": self.summary,
            "bills": list(self.bills),
        }


@dataclass(frozen=True)
class ScanResult:
    """What a scan found: by which scanner with which database, and when (RFC 3339, UTC)."""

    scanner: str
    database: str
    date: str
    found: tuple[Vulnerability, ...]

    def to_bytes(self) -> bytes:
        """Return the file of the bundle."""
        value: dict[str, Json] = {
            "format": FORMAT,
            "scanner": self.scanner,
            "database": self.database,
            "date": self.date,
            "vulnerabilities": [vulnerability.to_json() for vulnerability in self.found],
        }
        return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"


def joined(vulnerabilities: Iterable[Vulnerability]) -> tuple[Vulnerability, ...]:
    """Return each vulnerability of a package once, worst first, with all bills that list the package."""
    by_identity: dict[tuple[str, str, str], Vulnerability] = {}
    bills: dict[tuple[str, str, str], set[str]] = {}
    for vulnerability in vulnerabilities:
        identity = (vulnerability.package, vulnerability.version, vulnerability.id)
        by_identity.setdefault(identity, vulnerability)
        bills.setdefault(identity, set()).update(vulnerability.bills)
    complete = (
        replace(vulnerability, aliases=tuple(sorted(set(vulnerability.aliases))), bills=tuple(sorted(bills[identity])))
        for identity, vulnerability in by_identity.items()
    )
    return tuple(sorted(complete, key=lambda vulnerability: (-SEVERITIES.index(vulnerability.severity), vulnerability)))


def read(content: bytes) -> ScanResult:
    """Read the file of a bundle.

    Raises:
        ValueError: it is not one.
    """
    value = json_document.parse_object(content, "it", size=limits.DOCUMENT_SIZE)
    match value:
        case {
            "format": int(known),
            "scanner": str(scanner),
            "database": str(database),
            "date": str(date),
            "vulnerabilities": list(rows),
        } if known == FORMAT:
            return ScanResult(scanner, database, date, tuple(map(_vulnerability, rows)))
    raise ValueError("it is not the result of a scan")


def _vulnerability(row: Json) -> Vulnerability:
    if not isinstance(row, dict):
        raise ValueError(f"it has an entry that is not a vulnerability: {row!r:.100}")  # noqa: TRY004  (a document)
    match row:
        case {"package": str(package), "version": str(version), "id": str(id_), "severity": str(level)} if (
            level in SEVERITIES
        ):
            texts = (_texts(row.get(key)) for key in ("aliases", "fixed", "bills"))
            aliases, fixed, bills = texts
            summary = row.get("summary", "")
            return Vulnerability(
                package, version, id_, level, aliases, fixed, summary if isinstance(summary, str) else "", bills
            )
    raise ValueError(f"it has an entry that is not a vulnerability: {row!r:.100}")


def _texts(value: Json) -> tuple[str, ...]:
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()


@dataclass(frozen=True)
class AllowedVulnerability:
    """A vulnerability that is accepted, and why; ``until`` is the last day (YYYY-MM-DD), empty for no end."""

    id: str
    reason: str
    until: str = ""

    def holds(self, today: str) -> bool:
        """Tell whether it is accepted on a day."""
        return not self.until or today <= self.until


@dataclass(frozen=True)
class VulnerabilityPolicy:
    """What must not be in a bundle: the least severity that fails (empty: none does), and what is allowed."""

    fail_on: str = ""
    allow: tuple[AllowedVulnerability, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """What a policy says of a scan's result, a line each."""

    refused: tuple[str, ...]
    allowed: tuple[str, ...]
    others: tuple[str, ...]


def judge(result: ScanResult, policy: VulnerabilityPolicy, today: str) -> Judgement:
    """Judge a result on a day (YYYY-MM-DD)."""
    refused: list[str] = []
    allowed: list[str] = []
    others: list[str] = []
    for vulnerability in result.found:
        rules = [rule for rule in policy.allow if rule.id in vulnerability.ids]
        rule = next((rule for rule in rules if rule.holds(today)), None)
        if rule:
            end = f" Until {rule.until}." if rule.until else ""
            allowed.append(f"{vulnerability}. Allowed: {rule.reason}.{end}".replace("..", "."))
        elif policy.fail_on and SEVERITIES.index(vulnerability.severity) >= SEVERITIES.index(policy.fail_on):
            ended = f" (allowed until {rules[0].until})" if rules else ""
            refused.append(f"{vulnerability}{ended}")
        else:
            others.append(str(vulnerability))
    return Judgement(tuple(refused), tuple(allowed), tuple(others))


def policy(value: Mapping[str, Json]) -> VulnerabilityPolicy:
    """Read a policy: ``failOn`` and ``allow``, as in the spec, alone or below ``vulnerabilities``.

    Raises:
        ValueError: every problem, a line each.
    """
    inner = value.get("vulnerabilities")
    if isinstance(inner, dict) and len(value) == 1:
        value = inner
    problems = [f"unknown key {key!r}" for key in value if key not in {"failOn", "allow"}]
    fail_on, allow = value.get("failOn"), value.get("allow")
    if fail_on is not None and fail_on not in SEVERITIES:
        problems.append(f"failOn: {fail_on!r:.80} is not one of {', '.join(SEVERITIES)}")
    if allow is not None and not isinstance(allow, list):
        problems.append("allow: a list is expected")
    rules = list(_rules(allow if isinstance(allow, list) else [], problems))
    if problems:
        raise ValueError("\n".join(problems))
    return VulnerabilityPolicy(fail_on if isinstance(fail_on, str) else "", tuple(rules))


def _rules(rows: list[Json], problems: list[str]) -> Iterator[AllowedVulnerability]:
    for number, row in enumerate(rows):
        match row:
            case {"id": str(id_), "reason": str(reason), **rest} if reason.strip() and not rest.keys() - {"until"}:
                until = str(rest.get("until") or "")
                try:
                    _ = dt.datetime.strptime(until or "2000-01-01", _DATE)  # noqa: DTZ007  (a day, not a time)
                except ValueError:
                    problems.append(f"allow[{number}].until: {until!r:.40} is not a day such as 2027-01-31")
                yield AllowedVulnerability(id_, reason.strip(), until)
            case _:
                problems.append(f"allow[{number}]: expected 'id', 'reason' and perhaps 'until'")

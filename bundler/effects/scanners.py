"""Scanners of bills of materials on PATH: grype and trivy, and how their reports are read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bundler.effects import process
from bundler.errors import ToolFailedError
from bundler.model import json_document, vulnerabilities
from bundler.model.descriptor import Json
from bundler.model.vulnerabilities import Vulnerability

NAMES: Final = ("grype", "trivy")
_MOST: Final = 256 << 20  # bytes of a report
_TIMEOUT: Final = 1800.0  # seconds; a scanner may fetch its database first
_SUMMARY: Final = 200
_REMEDY: Final = "See whether it works by itself, name another one (--scanner), or scan with --vulnerabilities PATH."


def found() -> str:
    """Return the first scanner that is on PATH, empty where there is none."""
    return next((name for name in NAMES if shutil.which(name)), "")


def scan(scanner: str, bill: bytes) -> tuple[Vulnerability, ...]:
    """Run a scanner over a bill (CycloneDX).

    Raises:
        ToolMissingError: it is not on PATH.
        ToolFailedError: it failed, or its report cannot be understood.
    """
    with TemporaryDirectory(prefix="bundler-scan-") as folder:
        file = Path(folder, "bill.cdx.json")
        file.write_bytes(bill)
        report = _report(scanner, file)
    rows = _grype(report) if scanner == "grype" else _trivy(report)
    return tuple(rows)


def described(scanner: str) -> tuple[str, str]:
    """Return name and release of a scanner, and what it says of its database; empty where it does not say."""
    if scanner == "trivy":
        value = _json(scanner, ["trivy", "version", "--format", "json"])
        database = _inner(value, "VulnerabilityDB")
        return f"trivy {value.get('Version', '')}".strip(), f"updated {database.get('UpdatedAt', '')}".strip()
    value = _json(scanner, ["grype", "version", "--output", "json"])
    try:
        database = _json(scanner, ["grype", "db", "status", "--output", "json"])
    except ToolFailedError:  # older releases have no such output
        database = {}
    return f"grype {value.get('version', '')}".strip(), f"built {database.get('built', '')}".strip()


def _report(scanner: str, file: Path) -> dict[str, Json]:
    if scanner == "trivy":
        return _json(scanner, ["trivy", "sbom", "--quiet", "--format", "json", file])
    return _json(scanner, ["grype", f"sbom:{file}", "--quiet", "--output", "json"])


def _json(scanner: str, command: list[str | Path]) -> dict[str, Json]:
    text = process.run(
        command,
        purpose="looking for known vulnerabilities",
        remedy=_REMEDY,
        timeout=_TIMEOUT,
        most_output=_MOST,
    ).stdout
    try:
        return json_document.parse_object(text.encode(), "the report", size=_MOST)
    except ValueError as error:
        raise ToolFailedError(f"{scanner} printed something else than a report: {error}.", remedy=_REMEDY) from error


def _grype(report: dict[str, Json]) -> Iterator[Vulnerability]:
    for row in _rows(report.get("matches")):
        flaw, package = _inner(row, "vulnerability"), _inner(row, "artifact")
        related = (str(other.get("id")) for other in _rows(row.get("relatedVulnerabilities")))
        fixed = _inner(flaw, "fix").get("versions")
        yield Vulnerability(
            package=str(package.get("name", "")),
            version=str(package.get("version", "")),
            id=str(flaw.get("id", "")),
            severity=vulnerabilities.severity(str(flaw.get("severity", ""))),
            aliases=tuple(text for text in related if text != flaw.get("id")),
            fixed=tuple(str(text) for text in (fixed if isinstance(fixed, list) else [])),
            summary=str(flaw.get("description") or "")[:_SUMMARY],
        )


def _trivy(report: dict[str, Json]) -> Iterator[Vulnerability]:
    for result in _rows(report.get("Results")):
        for flaw in _rows(result.get("Vulnerabilities")):
            fixed = str(flaw.get("FixedVersion") or "")
            yield Vulnerability(
                package=str(flaw.get("PkgName", "")),
                version=str(flaw.get("InstalledVersion", "")),
                id=str(flaw.get("VulnerabilityID", "")),
                severity=vulnerabilities.severity(str(flaw.get("Severity", ""))),
                fixed=tuple(version.strip() for version in fixed.split(",") if version.strip()),
                summary=str(flaw.get("Title") or "")[:_SUMMARY],
            )


def _inner(value: dict[str, Json], key: str) -> dict[str, Json]:
    inner = value.get(key)
    return inner if isinstance(inner, dict) else {}


def _rows(value: Json) -> Iterator[dict[str, Json]]:
    yield from (row for row in (value if isinstance(value, list) else []) if isinstance(row, dict))

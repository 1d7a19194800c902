"""Scanners on PATH, as programs that print the reports of grype and trivy; Debian's order of versions by dpkg."""

from __future__ import annotations

import itertools
import json
import subprocess
from pathlib import Path

import pytest

from bundler.effects import scanners
from bundler.errors import ToolFailedError, ToolMissingError
from bundler.model import debian_version, layout, vulnerabilities
from bundler.model.findings import Status
from bundler.model.spec import VulnerabilitiesSpec
from bundler.steps.build import vulnerability_scan
from bundler.steps.build.vulnerability_scan import ScanRequest
from tests.support.programs import require

pytestmark = pytest.mark.integration

GRYPE = {
    "matches": [
        {
            "vulnerability": {"id": "GHSA-x", "severity": "High", "description": "d", "fix": {"versions": ["1.1"]}},
            "relatedVulnerabilities": [{"id": "CVE-2026-1"}, {"id": "GHSA-x"}],
            "artifact": {"name": "demo", "version": "1.0"},
        }
    ]
}
TRIVY = {
    "Results": [
        {
            "Vulnerabilities": [
                {
                    "VulnerabilityID": "CVE-2026-1",
                    "PkgName": "demo",
                    "InstalledVersion": "1.0",
                    "FixedVersion": "1.1, 2.0",
                    "Severity": "CRITICAL",
                    "Title": "t",
                }
            ]
        },
        {"Target": "nothing found"},
    ]
}
FILES = {"sbom/demo-linux-amd64.cdx.json": b'{"components": []}', layout.BUNDLE_BILL: b"{}"}


def stand_in(folder: Path, name: str, report: object) -> None:
    """Write a program that answers as the scanner does to the commands that are used, and to nothing else."""
    (folder / "report.json").write_text(json.dumps(report))
    script = folder / name
    script.write_text(f"""#!/bin/sh
case "$*" in
  "version --output json") echo '{{"version": "0.99.0"}}' ;;
  "db status --output json") echo '{{"built": "2026-11-29T00:00:00Z"}}' ;;
  "version --format json") echo '{{"Version": "0.70.0", "VulnerabilityDB": {{"UpdatedAt": "2026-11-28T00:00:00Z"}}}}' ;;
  "sbom:"*" --quiet --output json"|"sbom --quiet --format json "*) cat {folder}/report.json ;;
  *) echo "what is $*?" >&2; exit 2 ;;
esac
""")
    script.chmod(0o755)


def scanned(name: str = "auto") -> vulnerability_scan.Scanned:
    return vulnerability_scan.run(ScanRequest.at(0, None, name), FILES, VulnerabilitiesSpec())


@pytest.mark.parametrize(
    ("name", "report", "expected"),
    [
        (
            "grype",
            GRYPE,
            "high: GHSA-x (CVE-2026-1) in demo 1.0, fixed in 1.1 | grype 0.99.0 | built 2026-11-29T00:00:00Z",
        ),
        (
            "trivy",
            TRIVY,
            "critical: CVE-2026-1 in demo 1.0, fixed in 1.1, 2.0 | trivy 0.70.0 | updated 2026-11-28T00:00:00Z",
        ),
    ],
)
def test_a_scanner_on_path_reads_the_bills(
    name: str, report: object, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    stand_in(tmp_path, name, report)
    for asked in ("auto", name):
        outcome = scanned(asked)
        result = vulnerabilities.read(outcome.files[layout.VULNERABILITIES])
        assert " | ".join((*map(str, result.found), result.scanner, result.database)) == expected
        assert result.found[0].bills == ("sbom/demo-linux-amd64.cdx.json",)
        assert outcome.finding.status is Status.MANUAL


def test_without_a_scanner_nothing_is_scanned_but_a_named_one_is_demanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert scanners.found() == ""
    assert scanned().finding.evidence[0].startswith("not scanned")
    with pytest.raises(ToolMissingError):
        scanned("grype")


def test_a_scanner_that_prints_no_report_ends_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    stand_in(tmp_path, "grype", ["no object"])
    with pytest.raises(ToolFailedError, match="something else than a report"):
        scanned()


def test_dpkg_agrees_on_the_order_of_versions() -> None:
    dpkg = require("dpkg")
    versions = [
        *("0", "1.0", "1.0-1", "1.0-1+b1", "1.0~rc1-1", "1.0.1", "1:0.5", "1.0+dfsg-2", "1.0a", "1.0-1~bpo12+1"),
        *("2.36-9+deb12u9", "2.36-9+deb12u10", "1.0-0", "1.0~~", "1.0.", "10", "9"),
    ]
    for one, other in itertools.combinations(versions, 2):
        order = debian_version.compare(one, other)
        relation = "lt" if order < 0 else "gt" if order else "eq"
        ran = subprocess.run([dpkg, "--compare-versions", one, relation, other], check=False)
        assert ran.returncode == 0, (one, relation, other)

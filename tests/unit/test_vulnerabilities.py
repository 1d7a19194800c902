"""Known vulnerabilities: records are matched by each ecosystem's own order of versions, and judged by a policy."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.effects import osv_database
from bundler.effects.archive.reader import Bundle
from bundler.errors import SpecError, UsageError
from bundler.model import cvss, debian_version, layout, spec_reader, vulnerabilities
from bundler.model.descriptor import Json
from bundler.model.findings import Status
from bundler.model.progress import SilentProgress
from bundler.model.spec import VulnerabilitiesSpec
from bundler.model.vulnerabilities import AllowedVulnerability, ScanResult, Vulnerability, VulnerabilityPolicy
from bundler.steps.build import pack, vulnerability_scan
from bundler.steps.build.vulnerability_scan import ScanRequest
from bundler.steps.bundle import verify, vulnerability_policy
from bundler.wheels import osv
from bundler.wheels.osv import ListedPackage
from tests.support.command_line import called
from tests.unit import attested, packed
from tests.unit.test_secrets import SPEC

HIGH = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"
BILL = "sbom/demo-linux-amd64.cdx.json"
DATE = 1_796_000_000  # 2026-11-30


def record(ecosystem: str, name: str, *events: dict[str, str], **more: Json) -> dict[str, Json]:
    ranges: list[Json] = [{"type": "ECOSYSTEM", "events": [dict(event) for event in events]}] if events else []
    affected: dict[str, Json] = {"package": {"ecosystem": ecosystem, "name": name}, "ranges": ranges}
    return {"id": "OSV-1", "modified": "2026-01-01T00:00:00Z", "affected": [affected], **more}


DEMO = record(
    "PyPI",
    "Demo.Package",
    {"introduced": "1.0"},
    {"fixed": "1.10"},
    aliases=["CVE-2026-1"],
    severity=[{"type": "CVSS_V3", "score": HIGH}],
    summary="Reads too much.",
)


@pytest.mark.parametrize(
    ("version", "hit"),
    [
        ("0.9", False),
        ("1.0", True),
        ("1.9", True),
        ("1.10rc1", True),
        ("1.10", False),
        ("1.9.post1", True),
        ("2", False),
    ],
)
def test_pythons_versions_are_compared_by_pep_440(version: str, hit: bool) -> None:  # noqa: FBT001
    found = osv.match(DEMO, ListedPackage("PyPI", "", "demo-package", version))
    assert (found is not None) == hit
    if found:
        assert (found.id, found.severity, found.fixed) == ("OSV-1", "high", ("1.10",))
        assert str(found) == f"high: OSV-1 (CVE-2026-1) in demo-package {version}, fixed in 1.10"


@pytest.mark.parametrize(
    ("version", "hit"),
    [("1:2.38-5", True), ("1:2.38-5+deb12u1", True), ("1:2.38-5+deb12u2", False), ("1:2.38-5+deb12u2~bpo1", True)],
)
def test_debians_versions_are_compared_by_its_own_rules_and_by_the_source_package(version: str, hit: bool) -> None:  # noqa: FBT001
    row = record("Debian:12", "util-linux", {"introduced": "0"}, {"fixed": "1:2.38-5+deb12u2"})
    package = ListedPackage("Debian", "12", "bsdutils", f"{version}+b1", "util-linux", version)
    assert (osv.match(row, package) is not None) == hit
    assert osv.match(row, replace(package, release="13")) is None
    assert osv.match(row, replace(package, source="", source_version="")) is None


def test_listed_versions_last_affected_and_several_ranges_count() -> None:
    listed = record("PyPI", "demo")
    listed["affected"] = [{"package": {"ecosystem": "PyPI", "name": "demo"}, "versions": ["1.0.0"]}]
    package = ListedPackage("PyPI", "", "demo", "1.0")
    assert osv.match(listed, package)
    last = record("PyPI", "demo", {"introduced": "0"}, {"last_affected": "1.0"})
    assert osv.match(last, package)
    assert osv.match(last, replace(package, version="1.0.1")) is None
    several = record("PyPI", "demo", {"introduced": "3"}, {"fixed": "4"}, {"introduced": "0"}, {"fixed": "2"})
    assert [bool(osv.match(several, replace(package, version=one))) for one in ("1", "2", "3.5", "4")] == [
        *(True, False, True, False),
    ]
    assert list(osv.affected_keys({**DEMO, "withdrawn": "2026-01-02T00:00:00Z"})) == []


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        *(("1.0", "1.0.1"), ("1.9", "1.10"), ("1.0~rc1", "1.0"), ("1.0", "1.0+b1"), ("1.0-1", "1.0-1.1")),
        *(("9", "1:0"), ("1.0-1", "1.0-2"), ("1.0a", "1.0+"), ("1.0~~", "1.0~"), ("2.36-9+deb12u9", "2.36-9+deb12u10")),
        *(("1.2.3-4-5", "1.2.3-4-6"), ("0", "00001"), ("1.0", "1.0-0.1")),
    ],
)
def test_the_order_of_debians_versions(older: str, newer: str) -> None:
    assert debian_version.compare(older, newer) < 0
    assert debian_version.compare(newer, older) > 0
    assert debian_version.compare(newer, newer) == 0


@pytest.mark.parametrize(
    ("vector", "expected"),
    [
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
        ("CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
        ("CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N", 1.8),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
        (HIGH, 7.5),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", None),
        ("nonsense", None),
    ],
)
def test_the_base_score_of_a_vector(vector: str, expected: float | None) -> None:
    assert cvss.score(vector) == expected


def test_what_a_database_says_in_words_counts_where_there_is_no_score() -> None:
    package = ListedPackage("PyPI", "", "demo", "1")
    row = record("PyPI", "demo", {"introduced": "0"}, database_specific={"severity": "MODERATE"})
    found = osv.match(row, package)
    assert found
    assert found.severity == "medium"
    unknown = osv.match(record("PyPI", "demo", {"introduced": "0"}), package)
    assert unknown
    assert unknown.severity == "unknown"


def write(folder: Path, *records: dict[str, Json]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(records):
        (folder / f"{number}.json").write_text(json.dumps(row))
    return folder


def test_a_database_is_a_folder_a_zip_a_list_or_lines(tmp_path: Path) -> None:
    folder = write(tmp_path / "osv", DEMO, record("PyPI", "other", {"introduced": "0"}))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    (tmp_path / "list.json").write_text(json.dumps([json.loads(file.read_text()) for file in folder.iterdir()]))
    (tmp_path / "lines.jsonl").write_text("\n".join(file.read_text() for file in folder.iterdir()))
    for name in ("osv", "all.zip", "list.json", "lines.jsonl"):
        read = osv_database.read(tmp_path / name, [("PyPI", "demo-package")])
        assert (read.count, read.newest) == (2, "2026-01-01T00:00:00Z")
        assert [row["id"] for row in read.records["PyPI", "demo-package"]] == ["OSV-1"]


@pytest.mark.parametrize("content", ["no", "{}", "[1]", '{"id": 5}'])
def test_what_is_not_a_database_is_refused_with_its_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(UsageError, match=r"x\.json"):
        osv_database.read(tmp_path, [])
    with pytest.raises(UsageError, match="has no OSV record"):
        osv_database.read(write(tmp_path / "empty"), [])


def bills(tmp_path: Path) -> dict[str, bytes]:
    return dict(attested.example(tmp_path / "cache", attach=False).attested.files)


OF_DEMO = record("PyPI", "demo", {"introduced": "0"}, {"fixed": "1.1"}, severity=[{"type": "CVSS_V3", "score": HIGH}])
OF_LIBC = {**record("Debian:12", "libc6", {"introduced": "0"}), "id": "DEBIAN-CVE-2026-2"}


def scan(tmp_path: Path, policy: str = "{}", *records: dict[str, Json]) -> vulnerability_scan.Scanned:
    database = write(tmp_path / "osv", *(records or (OF_DEMO, OF_LIBC)))
    request = ScanRequest.at(DATE, database, "auto")
    return vulnerability_scan.run(request, bills(tmp_path), VulnerabilitiesSpec.model_validate(json.loads(policy)))


def test_the_result_of_a_scan_is_frozen_with_its_date_and_its_database(tmp_path: Path) -> None:
    scanned = scan(tmp_path)
    result = vulnerabilities.read(scanned.files[layout.VULNERABILITIES])
    assert (result.scanner, result.date) == ("OSV records", "2026-11-30T00:53:20Z")
    assert result.database.startswith("2 records, changed last 2026-01-01T00:00:00Z, sha256:")
    assert [(one.package, one.id, one.severity) for one in result.found] == [
        ("demo", "OSV-1", "high"),
        ("libc6", "DEBIAN-CVE-2026-2", "unknown"),
    ]
    assert result.found[0].bills == ("sbom/driver-stats-feature-server-linux-amd64.cdx.json",)
    assert scanned.finding.status is Status.MANUAL
    assert scan(tmp_path).files == scanned.files


def test_the_policy_of_the_spec_ends_the_build_or_accepts_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as refused:
        scan(tmp_path, '{"failOn": "high"}')
    assert refused.value.details == ("high: OSV-1 in demo 1.0, fixed in 1.1",)
    allow = '{"failOn": "high", "allow": [{"id": "OSV-1", "reason": "not reachable", "until": "2026-12-31"}]}'
    finding = scan(tmp_path, allow).finding
    assert finding.status is Status.MANUAL
    assert any("Allowed: not reachable. Until 2026-12-31." in line for line in finding.evidence)
    with pytest.raises(SpecError) as ended:
        scan(tmp_path, allow.replace("2026-12-31", "2026-11-01"))
    assert "allowed until 2026-11-01" in ended.value.details[0]


def test_nothing_found_passes_and_no_scan_says_so(tmp_path: Path) -> None:
    assert scan(tmp_path, "{}", record("PyPI", "other", {"introduced": "0"})).finding.status is Status.PASS
    spec = VulnerabilitiesSpec.model_validate({"failOn": "high"})
    scanned = vulnerability_scan.run(ScanRequest.at(DATE, None, "none"), bills(tmp_path), spec)
    assert scanned.files == {}
    assert scanned.finding.status is Status.MANUAL
    assert scanned.finding.evidence[0].startswith("not scanned")
    assert "could not be judged" in scanned.finding.evidence[1]


def test_a_policy_changes_no_lock() -> None:
    plain = spec_reader.fingerprint(spec_reader.read(SPEC, "bundle.yaml"))
    policy = "vulnerabilities: {failOn: high, allow: [{id: CVE-2026-1, reason: not reachable, until: '2027-01-31'}]}\n"
    assert spec_reader.fingerprint(spec_reader.read(SPEC + policy, "bundle.yaml")) == plain
    with pytest.raises(SpecError) as refused:
        spec_reader.read(SPEC + policy.replace("2027-01-31", "2027-02-31"), "bundle.yaml")
    assert "until" in refused.value.details[0]


FOUND = Vulnerability("demo", "1.0", "GHSA-x", "high", ("CVE-2026-1",), ("1.1",))
RESULT = ScanResult("OSV records", "2 records", "2026-11-30T00:00:00Z", (FOUND, replace(FOUND, id="B", severity="low")))


def test_a_rule_names_any_id_of_a_vulnerability_and_ends_on_its_day() -> None:
    policy = VulnerabilityPolicy("high", (AllowedVulnerability("CVE-2026-1", "we do not parse it", "2027-01-31"),))
    before, after = (vulnerabilities.judge(RESULT, policy, day) for day in ("2027-01-31", "2027-02-01"))
    assert before.refused == ()
    assert len(before.allowed) == 2
    assert len(after.refused) == 1
    everything = vulnerabilities.judge(RESULT, VulnerabilityPolicy("unknown"), "2027-01-01")
    assert len(everything.refused) == 2
    assert len(vulnerabilities.judge(RESULT, VulnerabilityPolicy(), "2027-01-01").others) == 2


def bundle(folder: Path, *, scanned: bool = True) -> Path:
    from bundler.effects.blobs import BlobStore  # noqa: PLC0415

    store = BlobStore(folder / "cache")
    files = {layout.VULNERABILITIES: RESULT.to_bytes()} if scanned else {}
    plan = packed.plan(store)
    plan = replace(plan, documents={**plan.documents, **files})
    return pack.run(plan, folder / "dist", store, progress=SilentProgress()).path


def test_verify_judges_again_by_the_policy_of_the_site_and_the_day_of_today(tmp_path: Path) -> None:
    path, policy = bundle(tmp_path), tmp_path / "policy.yaml"
    policy.write_text("failOn: high\n")
    ran = called("verify", path, "--policy", policy)
    assert ran.status == 6
    assert "high: GHSA-x (CVE-2026-1) in demo 1.0, fixed in 1.1" in ran.output
    policy.write_text(
        "vulnerabilities:\n  failOn: high\n  allow: [{id: GHSA-x, reason: accepted}, {id: B, reason: accepted}]\n"
    )
    assert called("verify", path, "--policy", policy).status == 0
    assert called("verify", path).status == 0


def test_verify_with_a_policy_refuses_a_bundle_that_was_not_scanned(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text('{"failOn": "critical"}')
    ran = called("verify", bundle(tmp_path, scanned=False), "--policy", tmp_path / "policy.json")
    assert ran.status == 6
    assert "not scanned" in ran.output


def test_rules_that_ended_do_not_hold_at_the_site(tmp_path: Path) -> None:
    rule = AllowedVulnerability("GHSA-x", "accepted", "2026-12-31")
    with Bundle.open(bundle(tmp_path)) as opened:
        sections = [
            vulnerability_policy.section(opened, VulnerabilityPolicy("high", (rule,)), f"{day}T00:00:00Z")
            for day in ("2026-12-31", "2027-01-01")
        ]
    assert [section.findings[0].status for section in sections] == [Status.PASS, Status.FAIL]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("failOn: severe\n", "failOn"),
        ("fail: high\n", "unknown key 'fail'"),
        ("allow: [{id: X}]\n", "allow[0]"),
        ("allow: [{id: X, reason: y, until: tomorrow}]\n", "until"),
        ("- high\n", "not a mapping"),
    ],
)
def test_a_malformed_policy_is_refused_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "policy.yaml").write_text(text)
    with pytest.raises(UsageError) as refused:
        vulnerability_policy.read(tmp_path / "policy.yaml")
    assert told in "\n".join((refused.value.problem, *refused.value.details))


@pytest.mark.parametrize(
    "content", [b"{}", b"no", b'{"format": 1, "scanner": "x", "database": "", "date": "", "vulnerabilities": [5]}']
)
def test_a_malformed_result_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"^it "):
        vulnerabilities.read(content)


def test_verify_refuses_a_result_that_cannot_be_read(tmp_path: Path) -> None:
    from bundler.effects.blobs import BlobStore  # noqa: PLC0415
    from bundler.errors import VerificationError  # noqa: PLC0415

    store = BlobStore(tmp_path / "cache")
    plan = packed.plan(store)
    plan = replace(plan, documents={**plan.documents, layout.VULNERABILITIES: b"{}"})
    with pytest.raises(VerificationError):
        pack.run(plan, tmp_path / "dist", store, progress=SilentProgress())
    assert verify.run(bundle(tmp_path / "good"), progress=SilentProgress()).failed is False

"""The checklist is written again after an install, with what was seen in the place of what was left to do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.errors import VerificationError
from bundler.model.findings import Finding, Report, Section, Status
from bundler.model.progress import SilentProgress
from bundler.render import checklist
from bundler.render.checklist import Cover
from bundler.steps.install import run as install
from bundler.steps.install import site_checklist
from bundler.steps.install.release import Release
from tests.support.fake_cluster import FakeCluster
from tests.unit.test_install import ELSEWHERE, MANIFESTS, cluster, made, options

__all__ = ["cluster"]  # the fixture

COVER = Cover("driver-stats", "0.1.0", "2026-01-01T00:00:00Z", (("File", "x"),), (), ("a note",))
REPORT = Report(
    "Checklist",
    (
        Section("Steps", (Finding("step-images", "Images", Status.PASS, ("all",)),)),
        Section(
            "Afterwards",
            (
                Finding("apply", "Install", Status.MANUAL, (), "Do it.", "bundler install"),
                Finding("ready", "The FeatureStore a is ready", Status.MANUAL, (), "Wait.", "kubectl wait"),
                Finding("other", "Something <else>", Status.MANUAL, (), "Do it."),
            ),
        ),
    ),
)
GOOD = checklist.to_json(REPORT, COVER).encode()
WHEN = "2026-11-23T10:00:00Z"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    documents = {**MANIFESTS, "checklist.json": GOOD}
    return made(tmp_path_factory.mktemp("bundle"), documents)


@pytest.fixture
def done(bundle: Path, cluster: FakeCluster) -> install.Installed:
    return install.run(Release.of(bundle, ELSEWHERE), options(), cluster, SilentProgress())


def statuses(folder: Path) -> dict[str, str]:
    report = json.loads((folder / "checklist.json").read_text())["report"]
    return {one["check"]: one["status"] for section in report["sections"] for one in section["findings"]}


def test_what_the_install_did_is_no_longer_to_do(bundle: Path, done: install.Installed, tmp_path: Path) -> None:
    site_checklist.write(Release.of(bundle), tmp_path / "signed", done, WHEN)
    assert statuses(tmp_path / "signed") == {
        "step-images": "pass",
        "apply": "pass",
        "ready": "pass",
        "other": "manual",
        "site-install": "pass",
        "site-first-run": "pass",
        "site-answers": "manual",
    }
    for name in ("CHECKLIST.md", "CHECKLIST.html"):
        text = (tmp_path / "signed" / name).read_text()
        assert str(done.digest) in text
        assert WHEN in text
        assert "a note" in text
    assert "Something <else>" not in (tmp_path / "signed" / "CHECKLIST.html").read_text()


def test_an_online_server_that_answered_is_evidence(bundle: Path, done: install.Installed, tmp_path: Path) -> None:
    answered = replace(done, answers=("feast/a: health: it answers",), removed=("Service/feast/old",), runs=())
    site_checklist.write(Release.of(bundle), tmp_path, answered, WHEN)
    found = statuses(tmp_path)
    assert (found["site-answers"], found["site-removed"]) == ("pass", "pass")
    assert found["site-first-run"] == "not applicable"


def test_an_admins_part_proves_no_feature_store(bundle: Path, done: install.Installed, tmp_path: Path) -> None:
    site_checklist.write(Release.of(bundle), tmp_path, replace(done, part="admin"), WHEN)
    found = statuses(tmp_path)
    assert (found["apply"], found["ready"], found["site-install"]) == ("manual", "manual", "pass")
    assert "site-answers" not in found


def test_a_checklist_is_read_as_it_was_written() -> None:
    assert checklist.parse(GOOD) == (REPORT, COVER)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff", b"[]", b"{}", b'{"format": 2}', b"[" * 100000),
        *(GOOD.replace(b'"pass"', b'"fine"'), GOOD.replace(b'"title": "Install"', b'"title": 7'), GOOD[:-9]),
    ],
)
def test_a_checklist_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(VerificationError, match="checklist"):
        checklist.parse(content)

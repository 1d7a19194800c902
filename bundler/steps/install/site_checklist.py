"""Writes the bundle's checklist again, with what an install saw at the site in place of what was left to do there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from bundler.model.findings import Finding, Section, Status
from bundler.render import checklist
from bundler.steps.bundle import approved_checklist
from bundler.steps.install.release import Release
from bundler.steps.install.run import Installed

_NOT_ASKED: Final = "not asked"


def write(release: Release, folder: Path, done: Installed, when: str) -> tuple[Path, ...]:
    """Write the three forms of the checklist into a folder, and return their paths; ``when`` is a time in RFC 3339.

    Raises:
        VerificationError: the bundle's own checklist cannot be read.
    """
    report, cover = checklist.parse(release.checklist)
    sections = tuple(
        Section(section.title, tuple(_answered(finding, done) for finding in section.findings))
        for section in report.sections
    )
    seen = Section("Seen at the site", tuple(_site_findings(done, when)))
    full = replace(report, sections=(*sections, seen))
    return approved_checklist.write(folder, full, cover, release.approvals)


def _answered(finding: Finding, done: Installed) -> Finding:
    """Return a finding that was left to a person as passed where this install did it; an install waits for each."""
    evidence: Mapping[str, tuple[str, ...]] = {
        "apply": (f"{len(done.objects)} objects are there, as the server answered",),
        "ready": ("phase Ready, with the images of this bundle, and all pods available",),
    }
    if done.part == "admin" or finding.status is not Status.MANUAL or finding.check not in evidence:
        return finding
    return Finding(finding.check, finding.title, Status.PASS, evidence[finding.check])


def _site_findings(done: Installed, when: str) -> Iterator[Finding]:
    outcomes = [row.outcome for row in done.objects]
    counts = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in ("created", "changed", "unchanged"))
    suffix = "" if done.part == "all" else f", the {done.part}'s part"
    evidence = (f"{when}: {done.bundle}, {done.digest}{suffix}", f"images from {done.registry}", f"objects: {counts}")
    yield Finding("site-install", "The bundle was installed", Status.PASS, evidence)
    if done.removed:
        title = "Objects that only the earlier bundle had were removed"
        yield Finding("site-removed", title, Status.PASS, done.removed)
    if done.part == "admin":
        return
    title = "The CronJob ran once for this bundle, and completed"
    if done.runs:
        yield Finding("site-first-run", title, Status.PASS, done.runs)
    else:
        reason = "not run by this install: it ran earlier, there is no CronJob, or --no-first-run was given"
        yield Finding("site-first-run", title, Status.NOT_APPLICABLE, (reason,))
    title = "The online server answers"
    if done.answers and not any(_NOT_ASKED in line for line in done.answers):
        yield Finding("site-answers", title, Status.PASS, done.answers)
    else:
        remedy = "Ask it for features with a client that may log in."
        yield Finding("site-answers", title, Status.MANUAL, done.answers or ("it was not asked",), remedy)

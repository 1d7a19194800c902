"""The bundle's checklist with the approvals that the bundle got after it was built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bundler.effects import files
from bundler.effects.archive.approvals import JudgedApproval
from bundler.effects.archive.reader import Bundle
from bundler.errors import VerificationError
from bundler.model import layout
from bundler.model.findings import Finding, Report, Section, Status
from bundler.render import checklist
from bundler.render.checklist import Cover

_REMEDY = "Do not rely on this approval."


def finding(row: JudgedApproval) -> Finding:
    """Return what the reports say of an approval: it counts, or why it does not."""
    approval = row.approval
    evidence = [f"key {row.key or row.key_id}"]
    if approval:
        evidence += [f"{approval.name}, {approval.time}, {approval.bundle} {approval.digest}"]
        evidence += [f"comment: {approval.comment}"] if approval.comment else []
        evidence += [f"until {approval.expires}"] if approval.expires else []
    if row.problem:
        title = f"An approval as {row.role} does not count"
        return Finding("approval", title, Status.MANUAL, (row.problem, *evidence), _REMEDY)
    name = approval.name if approval else ""
    return Finding("approval", f"Approved as {row.role} by {name}", Status.PASS, tuple(evidence))


def section(approvals: Sequence[JudgedApproval]) -> tuple[Section, ...]:
    """Return the section of the approvals, none where there are none."""
    return (Section("Approvals", tuple(map(finding, approvals))),) if approvals else ()


def write_into(folder: Path, bundle: Bundle, approvals: Sequence[JudgedApproval]) -> tuple[Path, ...]:
    """Write the three forms of an open bundle's checklist, with its approvals, and return their paths.

    Raises:
        VerificationError: the bundle has no checklist, or it cannot be read.
        ToolFailedError: they cannot be written.
    """
    if layout.CHECKLIST_JSON not in bundle:
        raise VerificationError(f"The bundle {bundle.path} has no checklist.", remedy="Build it again.")
    report, cover = checklist.parse(bundle.read(layout.CHECKLIST_JSON))
    return write(folder, report, cover, approvals)


def write(folder: Path, report: Report, cover: Cover, approvals: Sequence[JudgedApproval]) -> tuple[Path, ...]:
    """Write the three forms of a checklist into a folder, the approvals behind its sections; return their paths."""
    full = replace(report, sections=(*report.sections, *section(approvals)))
    texts = {
        layout.CHECKLIST_HTML: checklist.to_html(full, cover),
        layout.CHECKLIST_MARKDOWN: checklist.to_markdown(full, cover),
        layout.CHECKLIST_JSON: checklist.to_json(full, cover),
    }
    for name, text in texts.items():
        files.write(folder / name, text.encode())
    return tuple(folder / name for name in texts)

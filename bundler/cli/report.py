"""Print a report: for people a line a finding, for scripts JSON."""

from __future__ import annotations

from bundler.cli import console
from bundler.model.findings import Report, Status

_MARKS = {Status.PASS: "ok  ", Status.FAIL: "FAIL", Status.MANUAL: "todo", Status.NOT_APPLICABLE: "n/a "}


def show(report: Report, output: str, *, good: str, bad: str, status: int) -> int:
    """Print a report and return the exit code: ``status`` where any check failed, else 0."""
    if output == "json":
        console.show_json(report.to_json())
    else:
        _show(report)
        console.show(bad if report.failed else good)
    return status if report.failed else 0


def _show(report: Report) -> None:
    for finding in report.findings:
        console.show(f"{_MARKS[finding.status]}  {finding.title}")
        if finding.status is not Status.NOT_APPLICABLE:
            for line in finding.evidence:
                console.show(f"        {line}")
        if finding.remedy and finding.status is not Status.PASS:
            console.show(f"        -> {finding.remedy}")

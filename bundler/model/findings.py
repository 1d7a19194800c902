"""Findings, the rows of every report: what was checked, what was seen, and what a person must do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bundler.model.descriptor import Json


class Status(str, Enum):
    """The outcome of one check."""

    PASS = "pass"  # noqa: S105  (an outcome, not a password)
    FAIL = "fail"
    MANUAL = "manual"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class Finding:
    """One checked fact; ``ValueError`` where it passes without evidence.

    ``evidence`` holds lines that show it (digests, counts, names); ``command`` is exactly what a person runs where
    one must act.
    """

    check: str
    title: str
    status: Status
    evidence: tuple[str, ...] = ()
    remedy: str = ""
    command: str = ""

    def __post_init__(self) -> None:
        if self.status is Status.PASS and not self.evidence:
            msg = f"check {self.check!r} passes without evidence"
            raise ValueError(msg)

    def to_json(self) -> dict[str, Json]:
        """Return the finding for scripts."""
        return {
            "check": self.check,
            "title": self.title,
            "status": self.status.value,
            "evidence": list(self.evidence),
            "remedy": self.remedy,
            "command": self.command,
        }

    @classmethod
    def from_json(cls, value: Json) -> Finding:
        """Read a finding; raise ``ValueError`` where it is malformed."""
        match value:
            case {
                "check": str(check),
                "title": str(title),
                "status": str(status),
                "evidence": list(evidence),
                "remedy": str(remedy),
                "command": str(command),
            }:
                return cls(check, title, Status(status), tuple(map(str, evidence)), remedy, command)
        raise ValueError(f"not a finding: {value!r:.100}")


def manual(check: str, title: str, remedy: str, command: str, *evidence: str) -> Finding:
    """Return what a person must do; ``command`` is exactly what is run."""
    return Finding(check, title, Status.MANUAL, evidence, remedy, command)


def passed(check: str, title: str, *evidence: str) -> Finding:
    """Return a check that passed; ``evidence`` shows it."""
    return Finding(check, title, Status.PASS, evidence)


@dataclass(frozen=True)
class Section:
    """A titled group of findings."""

    title: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Report:
    """Findings of one run, in the order in which a reviewer reads them."""

    title: str
    sections: tuple[Section, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings of all sections."""
        return tuple(finding for section in self.sections for finding in section.findings)

    @property
    def failed(self) -> bool:
        """Whether any check failed."""
        return any(finding.status is Status.FAIL for finding in self.findings)

    def to_json(self) -> dict[str, Json]:
        """Return the report for scripts."""
        sections: list[Json] = [
            {"title": section.title, "findings": [finding.to_json() for finding in section.findings]}
            for section in self.sections
        ]
        return {"title": self.title, "failed": self.failed, "sections": sections}

    @classmethod
    def from_json(cls, value: Json) -> Report:
        """Read a report; raise ``ValueError`` where it is malformed."""
        match value:
            case {"title": str(title), "sections": list(sections)}:
                return cls(title, tuple(_section(section) for section in sections))
        raise ValueError(f"not a report: {value!r:.100}")


def _section(value: Json) -> Section:
    match value:
        case {"title": str(title), "findings": list(findings)}:
            return Section(title, tuple(Finding.from_json(finding) for finding in findings))
    raise ValueError(f"not a section: {value!r:.100}")

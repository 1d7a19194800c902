"""Refuse a project in which secrets or leftovers would be baked, but for those that the spec allows with a reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundler.effects import secret_scan
from bundler.effects.feature_repo import RepoContents
from bundler.effects.secret_scan import SecretFinding
from bundler.errors import SpecError
from bundler.feast.rules import ignore_patterns
from bundler.model.plain_text import plain
from bundler.model.progress import Progress
from bundler.model.spec import BundleSpec
from bundler.steps.lock import requirements, spec_secrets

_REMEDY: Final = (
    "Remove them, leave the files out with repo.exclude, or name each in secrets.allow of the spec (path, reason). "
    "A secret that was in a repo should be changed."
)
_OF_INDEXES: Final = " A login of a package index belongs into ~/.netrc or a ${VARIABLE} of the requirement file."


@dataclass(frozen=True)
class AllowedFinding:
    """What looks like a secret or a leftover and is baked, because the spec says why."""

    finding: SecretFinding
    reason: str

    def __str__(self) -> str:
        return f"{self.finding}. Allowed: {self.reason}"


def refuse(spec: BundleSpec, text: str, file: Path, repos: Iterable[RepoContents]) -> tuple[AllowedFinding, ...]:
    """Return what the spec allows; for all else raise ``SpecError`` naming file and line, never the secret itself.

    ``text`` is that of the spec: its source, addresses, environments and commands become labels, manifests and
    documents. Requirement files are not in a bundle, but the lock and the logs of a build are made from them.
    """
    files = requirements.files_of(spec, file.parent)
    of_requirements = secret_scan.scan(sorted(files.items()))
    findings = [(file.parent, finding) for finding in (*spec_secrets.find(text, file), *of_requirements)]
    for repo in repos:
        findings += [(repo.folder, finding) for finding in _scan(repo)]
    allowed, refused = _judged(spec, ((finding, str(folder / str(finding))) for folder, finding in findings))
    if refused:
        raise SpecError(
            f"Secrets or leftovers would be in the bundle: {len(refused)} found.",
            remedy=_REMEDY + (_OF_INDEXES if of_requirements else ""),
            details=refused,
        )
    return allowed


def refuse_built(spec: BundleSpec, wheels: Iterable[tuple[str, Path]], progress: Progress) -> None:
    """Look through wheels of local projects, each with the place that names its project, and say what the spec allows.

    Raises:
        SpecError: a wheel has a secret or a leftover that the spec does not allow; names place, file and line.
    """
    refused: list[str] = []
    for place, wheel in wheels:
        found = ((finding, f"{place}: {wheel.name}: {finding}") for finding in secret_scan.in_wheel(wheel))
        allowed, of_wheel = _judged(spec, found)
        refused += of_wheel
        for finding in allowed:
            progress.say(f"{wheel.name}: {finding}")
    if refused:
        raise SpecError(
            f"Secrets or leftovers would be in the image, by wheels of local projects: {len(refused)} found.",
            remedy="Remove them, or leave the files out of the package. To allow one, name its path in the wheel in "
            "secrets.allow of the spec (path, reason).",
            details=tuple(refused),
        )


def _judged(
    spec: BundleSpec, findings: Iterable[tuple[SecretFinding, str]]
) -> tuple[tuple[AllowedFinding, ...], tuple[str, ...]]:
    """Return the findings that the spec allows, and the lines about all others, cleaned for the terminal."""
    rules = [
        (ignore_patterns.read(f"secrets.allow[{number}].path", [entry.path]), entry.reason)
        for number, entry in enumerate(spec.secrets.allow)
    ]
    allowed: list[AllowedFinding] = []
    refused: list[str] = []
    for finding, said in findings:
        reason = next((reason for pattern, reason in rules if pattern.match_file(finding.path)), None)
        if reason is None:
            refused.append(plain(said))
        else:
            allowed.append(AllowedFinding(finding, reason))
    return tuple(allowed), tuple(refused)


def _scan(repo: RepoContents) -> tuple[SecretFinding, ...]:
    try:
        return secret_scan.scan((file.path, file.source) for file in repo.files)
    except OSError as error:
        problem = f"{error.filename} cannot be read any more: {error.strerror}."
        raise SpecError(problem, remedy="Build again.") from error

"""The checklist as JSON, as Markdown and as one HTML page without other files."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bundler.errors import VerificationError
from bundler.model.descriptor import Json
from bundler.model.findings import Finding, Report, Status
from bundler.model.manifest import BundledImage
from bundler.model.plain_text import plain
from bundler.model.size import size
from bundler.render import checklist_html

FORMAT: Final = 1


@dataclass(frozen=True)
class Cover:
    """The beginning of a checklist: name and version of the bundle, facts as pairs of name and value, images, notes."""

    name: str
    version: str
    created: str
    facts: tuple[tuple[str, str], ...]
    images: tuple[BundledImage, ...]
    notes: tuple[str, ...] = ()


def to_json(report: Report, cover: Cover) -> str:
    """Return the checklist for scripts."""
    counts: dict[str, Json] = dict(count_of(report))
    value: dict[str, Json] = {
        "format": FORMAT,
        "name": cover.name,
        "version": cover.version,
        "created": cover.created,
        "facts": dict(cover.facts),
        "images": [image.to_json() for image in cover.images],
        "notes": list(cover.notes),
        "counts": counts,
        "report": report.to_json(),
    }
    return json.dumps(value, indent=2) + "\n"


def parse(content: bytes) -> tuple[Report, Cover]:
    """Read the JSON of ``to_json``.

    Raises:
        VerificationError: it is not a checklist of this format.
    """
    try:
        match json.loads(content):
            case {
                "format": 1,
                "name": str(name),
                "version": str(version),
                "created": str(created),
                "facts": dict(facts),
                "images": list(images),
                "notes": list(notes),
                "report": report,
            }:
                rows = tuple((str(key), str(value)) for key, value in facts.items())
                bundled = tuple(BundledImage.from_json(image) for image in images)
                return Report.from_json(report), Cover(name, version, created, rows, bundled, tuple(map(str, notes)))
    except (ValueError, RecursionError) as error:  # also bytes that are not text
        raise VerificationError(
            f"The bundle's checklist cannot be read: {error}.",
            remedy="Copy the bundle again from where it was built, or build it again.",
        ) from error
    raise VerificationError(
        "The bundle's checklist has an unknown format.",
        remedy="Use the offline program that the bundle carries: bundler.pyz.",
    )


def count_of(report: Report) -> dict[str, int]:
    """Return status -> number of checks, every status once, failures first."""
    counts = Counter(finding.status for finding in report.findings)
    return {status.value: counts[status] for status in (Status.FAIL, Status.MANUAL, Status.PASS, Status.NOT_APPLICABLE)}


def to_markdown(report: Report, cover: Cover) -> str:
    """Return the checklist for a merge request or a wiki page."""
    counts = ", ".join(f"{count} {status}" for status, count in count_of(report).items())
    lines = [f"# {_cell(report.title)}", "", _cell(checklist_html.TRUST), "", f"{counts}.", "", "| | |", "|---|---|"]
    lines += [f"| {_cell(name)} | {code(value)} |" for name, value in cover.facts]
    lines += ["", "| image | platforms | size | digest |", "|---|---|---:|---|"]
    lines += [_image_row(image) for image in cover.images]
    for section in report.sections:
        lines += ["", f"## {_cell(section.title)}"]
        for finding in section.findings:
            lines += ["", *_markdown(finding)]
    if cover.notes:
        lines += ["", "## Notes", "", *(f"- {_cell(note)}" for note in cover.notes)]
    lines += ["", "## Sign-off", "", "| | |", "|---|---|"]
    lines += [f"| {field} | |" for field in checklist_html.SIGN_OFF]
    return "\n".join(lines) + "\n"


def _image_row(image: BundledImage) -> str:
    platforms = _cell(", ".join(map(str, image.platforms))) or "artifact"
    return f"| {code(image.reference)} | {platforms} | {size(image.size)} | {code(str(image.root.digest))} |"


def _markdown(finding: Finding) -> Iterable[str]:
    # Only checks where a person has to act get a box to tick.
    box = "- [ ] " if finding.status in (Status.MANUAL, Status.FAIL) else "- "
    yield f"{box}**{finding.status.value.upper()}** {_cell(finding.title)}"
    for line in finding.evidence:
        yield f"  - {code(line)}"
    if finding.remedy:
        yield f"  - {_cell(finding.remedy)}"
    if finding.command:
        yield ""
        fence = _fence(finding.command, 3)
        yield f"  {fence}sh"
        yield from (f"  {plain(line)}" for line in finding.command.split("\n"))
        yield f"  {fence}"


def code(text: str) -> str:
    """Return text as a code span of Markdown, on one line and with bars as tables want them."""
    text = plain(" ".join(text.split()))
    fence = _fence(text, 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}".replace("|", "\\|")


def _fence(text: str, least: int) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(least, longest + 1)


def _cell(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|#&~!$@])", r"\\\1", plain(" ".join(text.split())))


def to_html(report: Report, cover: Cover) -> str:
    """Return the checklist as a page for screen and paper, without scripts, fonts or pictures from elsewhere."""
    return checklist_html.page(
        report,
        counts=count_of(report),
        facts=cover.facts,
        images=cover.images,
        notes=cover.notes,
        subtitle=f"{cover.name} {cover.version}, built {cover.created}",
    )

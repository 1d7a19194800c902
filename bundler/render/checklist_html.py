"""The checklist's HTML page, section by section; its style is in ``resources/checklist.css``."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Final

from bundler import resources
from bundler.model.findings import Finding, Report, Section, Status
from bundler.model.manifest import BundledImage
from bundler.model.plain_text import plain
from bundler.model.size import size

SIGN_OFF: Final = (
    "SHA-256 of the bundle's file, as received",
    "Signature checked with key (fingerprint)",
    "Reviewer",
    "Date",
    "Decision: accept / refuse",
    "Signature",
)
TRUST: Final = (
    "This page came with the bundle: whoever alters a bundle can alter it, too. Trust it only after bundler verify or "
    "verify.py, taken from a place that you trust, has accepted the bundle by the signer's key (--trust, --key) or "
    "by a digest that you got over another channel."
)
_WORDS: Final = {
    Status.PASS: "pass",
    Status.FAIL: "fail",
    Status.MANUAL: "to do",
    Status.NOT_APPLICABLE: "not applicable",
}
_CLASSES: Final = {Status.PASS: "pass", Status.FAIL: "fail", Status.MANUAL: "todo", Status.NOT_APPLICABLE: "na"}
_OF_VALUE: Final = {status.value: status for status in Status}


def page(
    report: Report,
    *,
    counts: Mapping[str, int],
    facts: Sequence[tuple[str, str]],
    images: Sequence[BundledImage],
    notes: Sequence[str],
    subtitle: str,
) -> str:
    """Return the whole page."""
    style = resources.read("checklist.css").decode()
    body = [
        *_filters(counts),
        "<header>",
        f"<h1>{_text(report.title)}</h1>",
        f'<p class="subtitle">{_text(subtitle)}</p>',
        f'<p class="trust">{_text(TRUST)}</p>',
        _verdict(counts),
        "</header>",
        '<div class="filters" role="group" aria-label="Show">',
        *_labels(counts),
        "</div>",
        "<main>",
        *_facts(facts),
        *_images(images),
        *(line for section in report.sections for line in _section(section)),
        *_notes(notes),
        *_sign_off(),
        "</main>",
    ]
    # The policy makes the browser refuse what this page must not have: scripts, forms, other styles, and resources from
    # elsewhere.
    allowed = base64.b64encode(hashlib.sha256(f"\n{style}".encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(report.title)}: {_text(subtitle)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
    )
    return head + "\n".join(body) + "\n</body>\n</html>\n"


def _filters(counts: Mapping[str, int]) -> Iterator[str]:
    # Radio buttons and sibling selectors: filtering without a script. They come before what they filter.
    yield '<input type="radio" name="show" id="show-all" checked>'
    for value in counts:
        yield f'<input type="radio" name="show" id="show-{_CLASSES[_OF_VALUE[value]]}">'


def _labels(counts: Mapping[str, int]) -> Iterator[str]:
    yield f'<label for="show-all">all <b>{sum(counts.values())}</b></label>'
    for value, count in counts.items():
        status = _OF_VALUE[value]
        yield f'<label for="show-{_CLASSES[status]}" class="{_CLASSES[status]}">{_WORDS[status]} <b>{count}</b></label>'


def _verdict(counts: Mapping[str, int]) -> str:
    failed, manual = counts[Status.FAIL.value], counts[Status.MANUAL.value]
    if failed:
        return f'<p class="verdict fail">{failed} of the checks failed. Do not install this bundle.</p>'
    if manual:
        plural = "thing is" if manual == 1 else "things are"
        return f'<p class="verdict todo">Nothing failed. {manual} {plural} left for a person to do.</p>'
    return '<p class="verdict pass">All checks passed. Nothing is left for a person to do.</p>'


def _facts(facts: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield '<section><h2>This bundle</h2><dl class="facts">'
    for name, value in facts:
        yield f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>"
    yield "</dl></section>"


def _images(images: Sequence[BundledImage]) -> Iterator[str]:
    yield '<section><h2>Images</h2><table class="images"><thead><tr>'
    yield "<th>Image</th><th>Platforms</th><th>Size</th></tr></thead><tbody>"
    for image in images:
        platforms = "<br>".join(_text(str(platform)) for platform in image.platforms) or "artifact"
        source = (
            f"<span>source digest</span> <code>{_text(str(image.source_digest))}</code><br>"
            if image.source_digest
            else ""
        )
        moved = image.internal if image.internal != image.reference else ""
        internal = f"<span>becomes</span> <code>{_text(moved)}</code><br>" if moved else ""
        yield (
            f"<tr><td><b>{_text(image.reference)}</b> <em>{_text(image.role)}</em><br>{internal}{source}"
            f"<span>digest</span> <code>{_text(str(image.root.digest))}</code></td>"
            f'<td>{platforms}</td><td class="number">{size(image.size)}</td></tr>'
        )
    yield "</tbody></table></section>"


def _section(section: Section) -> Iterator[str]:
    yield f"<section><h2>{_text(section.title)}</h2>"
    for finding in section.findings:
        yield from _finding(finding)
    yield "</section>"


def _finding(finding: Finding) -> Iterator[str]:
    status = finding.status
    yield f'<article class="{_CLASSES[status]}" id="{_text(finding.check)}">'
    yield f'<p class="status">{_WORDS[status]}</p><div class="finding"><h3>{_text(finding.title)}</h3>'
    if finding.remedy:
        yield f'<p class="remedy">{_text(finding.remedy)}</p>'
    if finding.command:
        yield f"<pre><code>{_lines(finding.command)}</code></pre>"
    if finding.evidence:
        yield f'<ul class="evidence">{_items(finding.evidence)}</ul>'
    if status in (Status.MANUAL, Status.FAIL):
        yield '<p class="done"><span class="box"></span> done <span>by</span> <span>on</span></p>'
    yield "</div></article>"


def _items(lines: Iterable[str]) -> str:
    return "".join(f"<li>{_text(line)}</li>" for line in lines)


def _notes(notes: Sequence[str]) -> Iterator[str]:
    if notes:
        yield f"<section><h2>Notes</h2><ul>{_items(notes)}</ul></section>"


def _sign_off() -> Iterator[str]:
    yield '<section class="sign-off"><h2>Sign-off</h2><table>'
    for field in SIGN_OFF:
        yield f"<tr><th>{_text(field)}</th><td></td></tr>"
    yield "</table></section>"


def _text(text: str) -> str:
    """Return text as HTML without invisible characters or characters that change the direction of writing."""
    return escape(plain(text))


def _lines(text: str) -> str:
    return escape(plain(text, keep="\n"))

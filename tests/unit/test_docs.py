"""What the documentation names exists: files, anchors, make targets, commands and options."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bundler.cli import program

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    *(page for page in sorted(ROOT.glob("*.md"))),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
    ROOT / "benchmarks" / "README.md",
)
page_cases = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_MAKE = re.compile(r"(?:`|^\s*|; )make ([a-z][a-z-]*)", re.MULTILINE)
_CODE_SPAN = re.compile(r"`([^`]+)`")
_CALL = re.compile(r"^\s*(?:\$ |\.venv/bin/)?(?:python3 )?bundler(?:\.pyz)? ([a-z]+)\b([^|#;]*)")
_OPTION = re.compile(r"(?<!\S)--[a-z][a-z-]*")


def anchors(text: str) -> frozenset[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = _HEADING.findall(_FENCE.sub("", text))
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


def broken_links(page: Path, text: str) -> Iterator[str]:
    for link in _LINK.findall(_FENCE.sub("", text)):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists():
            yield f"{link}: no such file"
        elif anchor and anchor not in anchors(target.read_text()):
            yield f"{link}: no such heading"


def calls(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of bundler that a page calls, with the rest of its line."""
    blocks = [block.replace("\\\n", " ") for block in _FENCE.findall(text)]
    spans = [" ".join(span.split()) for span in _CODE_SPAN.findall(_FENCE.sub("", text))]
    for line in [*(line for block in blocks for line in block.splitlines()), *spans]:
        if found := _CALL.match(line):
            yield found[1], found[2]


def options(command: click.Command) -> frozenset[str]:
    given = (name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts))
    return frozenset({*given, "--help"})


def unknown_calls(text: str) -> Iterator[str]:
    for name, rest in calls(text):
        if name not in program._COMMANDS:
            yield f"bundler {name}: no such command"
            continue
        command: click.Command = importlib.import_module(f"bundler.cli.{name}").command
        yield from (
            f"bundler {name} {option}: no such option"
            for option in _OPTION.findall(rest)
            if option not in options(command)
        )


@page_cases
def test_every_relative_link_leads_to_a_file_and_heading(page: Path) -> None:
    assert list(broken_links(page, page.read_text())) == []


@page_cases
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(_MAKE.findall(page.read_text())) - targets == set()


@page_cases
def test_every_command_and_option_that_a_page_names_exists(page: Path) -> None:
    assert list(unknown_calls(page.read_text())) == []


def test_the_checks_of_pages_find_what_is_wrong(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One `two`\n[a](gone.md) [b](#one-two) [c](#three) `bundler fly` `bundler verify --fast`\n")

    assert list(broken_links(page, page.read_text())) == ["gone.md: no such file", "#three: no such heading"]
    assert list(unknown_calls(page.read_text())) == [
        "bundler fly: no such command",
        "bundler verify --fast: no such option",
    ]

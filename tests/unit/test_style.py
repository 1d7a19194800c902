"""The words of docs/style.md: phrases that were replaced do not come back in strings of the program or in the docs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
STYLE = ROOT / "docs" / "style.md"  # it quotes what it forbids, in the lines that begin with "Bad:"

BANNED = (
    "a user of nobody",
    "by hand of",
    "in a dull loop",
    "on another way",
    "that are none",
    "theatre",
    "took otherwise",
    "understudy",
)
_BANNED = re.compile(r"\b(" + "|".join(map(re.escape, BANNED)) + r")\b", re.IGNORECASE)


def found(text: str) -> list[str]:
    """Return the banned phrases of a text, also those that a line break divides."""
    return [match[0].lower() for match in _BANNED.finditer(" ".join(text.split()))]


def strings(source: str) -> Iterator[tuple[int, str]]:
    """Yield each string of a module, docstrings too, with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_no_string_of_the_program_has_a_banned_phrase() -> None:
    banned = [
        f"{path.relative_to(ROOT)}:{line}: {phrase}"
        for path in sorted((ROOT / "bundler").rglob("*.py"))
        for line, text in strings(path.read_text())
        for phrase in found(text)
    ]

    assert banned == []


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_no_page_has_a_banned_phrase(page: Path) -> None:
    text = page.read_text()
    if page == STYLE:
        text = "\n".join(line for line in text.splitlines() if "- Bad:" not in line)

    assert found(text) == []


def test_a_phrase_is_found_across_lines_and_not_within_words() -> None:
    assert found("as A user\n  of nobody, on another way") == ["a user of nobody", "on another way"]
    assert found("it is not a delta; theatres") == []

"""The words of docs/style.md: phrases that were replaced stay out of the program, its templates and the docs."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.support import syntax

ROOT = Path(__file__).resolve().parents[2]
PAGES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")))
STYLE = ROOT / "docs" / "style.md"  # it quotes what it forbids, in the lines that begin with "Bad:"
TEMPLATES = tuple(
    path
    for folder in ("bundler/resources", "dockerfiles", "manifests", "examples", ".ci", "tests/setup")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".j2", ".sh", ".md", ".yaml"}
)

BANNED = (
    "are said",
    "as ever",
    "for ever",
    "goes on",
    "is said",
    "otherwise than",
    "stands there",
    "went on",
    "without a word",
    "a user of nobody",
    "anew",
    "at last",
    "by hand of",
    "in a dull loop",
    "in circles",
    "in one stroke",
    "in vain",
    "of no use",
    "on another way",
    "that are none",
    "the story",
    "theatre",
    "took otherwise",
    "understudy",
)
# "It is no delta" and "they are no files", but "there is no such file", "no longer" and "no more than".
_IS_NO = r"(?<!there )(?:is|are|was|were) no(?! longer\b| more\b)"
_BANNED = re.compile(r"\b(" + "|".join([*map(re.escape, BANNED), _IS_NO]) + r")\b", re.IGNORECASE)


def found(text: str) -> list[str]:
    """Return the banned phrases of a text, also those that a line break divides."""
    return [match[0].lower() for match in _BANNED.finditer(" ".join(text.split()))]


def strings(source: str) -> Iterator[tuple[int, str]]:
    """Yield each string of a module, docstrings too, with its line."""
    for node in ast.walk(syntax.parsed(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def comments(source: str) -> str:
    """Return the comments of a module as one text."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return " ".join(token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT)


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


@pytest.mark.parametrize("template", TEMPLATES, ids=[str(path.relative_to(ROOT)) for path in TEMPLATES])
def test_no_template_has_a_banned_phrase(template: Path) -> None:
    assert found(template.read_text()) == []


def test_no_comment_of_the_program_has_a_banned_phrase() -> None:
    banned = [
        f"{path.relative_to(ROOT)}: {phrase}"
        for path in sorted((ROOT / "bundler").rglob("*.py"))
        for phrase in found(comments(path.read_text()))
    ]

    assert banned == []


# What raises an error without a remedy, and why.
WITHOUT_REMEDY = {
    "feast/operator/generated_config.py": "the operator's own messages, which are shown as what it would say",
}


def _errors(trees: Iterable[ast.Module]) -> frozenset[str]:
    """Return the names of ``BundlerError`` and of all classes below it."""
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    names = frozenset({"BundlerError"})
    while True:
        below = {node.name for node in classes if names & {getattr(base, "id", "") for base in node.bases}}
        if below <= names:
            return names
        names |= below


def _without_remedy(tree: ast.Module, errors: frozenset[str]) -> Iterator[int]:
    """Yield the lines that make an error with neither a remedy nor details, which are problems with a remedy each."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in errors:
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            remedy = given.get("remedy", given.get("details"))
            if remedy is None or (isinstance(remedy, ast.Constant) and not remedy.value):
                yield node.lineno


def test_every_error_says_what_to_do_next() -> None:
    trees = {
        path.relative_to(ROOT / "bundler"): syntax.parsed(path.read_text()) for path in (ROOT / "bundler").rglob("*.py")
    }
    errors = _errors(trees.values())
    assert "RegistryUnreachableError" in errors
    silent = [
        f"{path}:{line}"
        for path, tree in sorted(trees.items())
        if str(path) not in WITHOUT_REMEDY
        for line in _without_remedy(tree, errors)
    ]

    assert silent == []


def test_an_error_without_a_remedy_is_found() -> None:
    errors = frozenset({"SpecError"})
    assert list(_without_remedy(syntax.parsed("SpecError('x')"), errors)) == [1]
    assert list(_without_remedy(syntax.parsed("SpecError('x', remedy='')"), errors)) == [1]
    assert list(_without_remedy(syntax.parsed("SpecError('x', remedy='Do y.')"), errors)) == []


def test_a_phrase_is_found_across_lines_and_not_within_words() -> None:
    assert found("as A user\n  of nobody, on another way") == ["a user of nobody", "on another way"]
    assert found("it is not a delta; theatres") == []
    assert found("It is no delta, there is no file, it is no longer there, and they\nare no volumes.") == [
        "is no",
        "are no",
    ]

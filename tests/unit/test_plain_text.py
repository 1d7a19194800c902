from __future__ import annotations

import ast
import sys
import unicodedata
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bundler
from bundler.cli import console
from bundler.errors import VerificationError
from bundler.model.plain_text import plain
from tests.support import syntax

HOSTILE = {
    "clears the screen": ("\x1b[2J", "\\x1b[2J"),
    "C1 control": ("\x9b31m", "\\x9b31m"),
    "sets the title": ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
    "returns": ("bad\rVerified", "bad\\rVerified"),
    "line": ("a\nVerified", "a\\nVerified"),
    "vertical tab": ("a\vb\fc", "a\\x0bb\\x0cc"),
    "next line": ("a\x85b", "a\\x85b"),
    "line separator": ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
    "right to left": ("a\u202eb\u2066c\u200fd", "a\\u202eb\\u2066c\\u200fd"),
    "no width": ("a\u200bb\ufeffc\u2060d", "a\\u200bb\\ufeffc\\u2060d"),
    "other spaces": ("a\u00a0b\u3000c", "a\\xa0b\\u3000c"),
    "fillers": ("\u3164\u115f\u2800\uffa0", "\\u3164\\u115f\\u2800\\uffa0"),
    "variations": ("a\ufe0f\U000e0100", "a\\ufe0f\\U000e0100"),
    "tags": ("\U000e0041", "\\U000e0041"),
    "surrogates": ("\udc80", "\\udc80"),
}


@pytest.mark.parametrize(("text", "shown"), HOSTILE.values(), ids=list(HOSTILE))
def test_what_steers_a_terminal_or_shows_nothing_is_escaped(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize("text", ["", "feast 0.1.0 ~ \\ 'x'", "caf\u00e9", "\u6f22\u5b57", "\u0394", "\u2713 \u2501"])
def test_visible_text_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


@given(st.text())
def test_any_text_becomes_one_visible_line(text: str) -> None:
    shown = plain(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    assert plain(shown) == shown
    assert all(unicodedata.category(letter)[0] != "C" for letter in shown)


def test_what_is_kept_stays_alone() -> None:
    assert plain("a\tb\nc\rd", keep="\t\n") == "a\tb\nc\\rd"


def test_an_error_has_as_many_lines_as_it_says_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "x\x1b[1A\x1b[2K\nVerified.\u2028\x85"
    error = VerificationError(f"The file {evil} is bad.", remedy=f"Delete {evil}.", details=(evil, f"\t{evil}"))
    console.show_error(error, as_json=True)
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 4
    assert "\x1b" not in out + err
    assert out.isascii()


def test_a_usage_error_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_usage_error(click.BadParameter("no file '\x1b[31mx\nVerified'"))
    err = capsys.readouterr().err
    assert err.splitlines() == ["Error: Invalid value: no file '\\x1b[31mx Verified'"]


def test_results_questions_and_logs_steer_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging  # noqa: PLC0415

    console.show("a\nb\x1b[1A")
    console.show_json({"a\x9b": "\u202e\x85"})
    monkeypatch.setattr(click, "confirm", lambda *_, **__: True)
    console.confirm(["ClusterRoleBinding/evil\x1b[1A\x1b[2K", "\u3164"])
    record = logging.makeLogRecord({"msg": "said \x1b[2J"})
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0] == "a\\nb\\x1b[1A"
    assert shown.err.splitlines() == ["ClusterRoleBinding/evil\\x1b[1A\\x1b[2K", "\\u3164"]
    assert not set("\x1b\x9b\x85\u202e") & set(shown.out + shown.err)
    assert console.PlainFormatter("%(message)s").format(record) == "said \\x1b[2J"


def test_nothing_prints_past_the_one_place_that_cleans() -> None:
    """The console and the progress display alone write to the terminal; the program's own fixed words apart."""
    allowed = {"cli/console.py", "cli/progress.py", "cli/program.py"}
    # Programs of their own: schema generation, and what runs in children or in images.
    own = ("model/spec_reader.py", "resources/", "effects/confinement/")
    root = Path(bundler.__file__).parent
    found = set()
    for path in root.rglob("*.py"):
        name = path.relative_to(root).as_posix()
        if name in allowed or name.startswith(own):
            continue
        for node in ast.walk(syntax.parsed(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                "print",
                "click.echo",
                "click.secho",
                "click.confirm",
                "click.prompt",
                "sys.stdout.write",
                "sys.stderr.write",
            }:
                found.add(f"{name}:{node.lineno}")
    assert found == set()


def test_a_bug_shows_its_traceback_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    from bundler.cli import program  # noqa: PLC0415

    try:
        raise RuntimeError("\x1b[2J")  # noqa: TRY301
    except RuntimeError:
        program._show_bug(*sys.exc_info())
    err = capsys.readouterr().err
    assert "RuntimeError: \\x1b[2J" in err
    assert "\x1b" not in err

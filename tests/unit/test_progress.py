"""The live line at a terminal: what it says, that it never wraps, and what it leaves behind."""

from __future__ import annotations

import io
import re

import pytest

from bundler.cli.progress import Count, LiveTask, PlainProgress, TerminalProgress, cut, progress_for


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Ascii(Terminal):
    encoding = "ascii"


def test_the_line_says_how_far_it_is_how_fast_and_how_long_it_will_take() -> None:
    clock = Clock()
    task = LiveTask("Mirroring", Count(40_000_000, "bytes"), 0.0)
    task.advance(10_000_000)
    task.note("abc of team/app")
    clock.now = 2.0
    line = TerminalProgress(Ascii(), clock=clock).line(task)
    assert line == "Mirroring  #####---------------  10.0 MB of 40.0 MB  5.0 MB/s  0:06 left  abc of team/app"


def test_without_a_total_it_says_how_long_it_has_taken() -> None:
    clock = Clock()
    task = LiveTask("Resolving", Count(None, "items"), 0.0)
    clock.now = 65.2
    assert TerminalProgress(Ascii(), clock=clock).line(task) == "Resolving  1:05"


@pytest.mark.parametrize(("text", "columns", "seen"), [("abc", 3, "abc"), ("abcd", 3, "abc"), ("a\u6f22b", 2, "a")])
def test_a_line_never_takes_more_columns_than_there_are(text: str, columns: int, seen: str) -> None:
    assert cut(text, columns) == seen


def test_what_is_drawn_is_one_line_of_at_most_the_terminals_width() -> None:
    out = Terminal()
    display = TerminalProgress(out)
    with display.task("x" * 500, total=10) as task:
        task.note("evil\x1b[2J\nVerified.")
        display.draw()
    drawn, left = out.getvalue().split("\r\x1b[K")[-2:]
    assert len(drawn) <= 79
    assert "\n" not in drawn
    assert left.count("\n") == 1


def test_a_note_cannot_steer_the_terminal() -> None:
    task = LiveTask("Mirroring", Count(None, "items"), 0.0)
    task.note("evil\x1b[2J\nVerified.")
    assert re.fullmatch(r"[ -~]*", TerminalProgress(Ascii()).line(task))


@pytest.mark.parametrize("display", [PlainProgress, TerminalProgress])
def test_a_finished_fact_cannot_steer_the_terminal(display: type[PlainProgress | TerminalProgress]) -> None:
    out = Terminal()
    display(out).say("pod: evil\x1b[2J\nVerified.")
    assert out.getvalue().removeprefix("\r\x1b[K") == "pod: evil\\x1b[2J\\nVerified.\n"


def test_the_line_left_behind_does_not_wrap_and_still_says_how_long_it_took() -> None:
    out = Terminal()
    with TerminalProgress(out, colour=False).task("x" * 500):
        pass
    left = out.getvalue().rpartition("\x1b[K")[2]
    assert len(left.rstrip("\n")) <= 79
    assert re.search(r"x 0\.\d s\n$", left)


def test_a_task_that_ends_leaves_one_line_and_one_that_fails_none() -> None:
    out = Terminal()
    display = TerminalProgress(out, colour=False)
    with display.task("Packing"):
        pass
    assert re.search(r"done: Packing 0\.\d s\n$", out.getvalue())
    out.truncate(0)
    with pytest.raises(ValueError, match="broken"), display.task("Pushing"):
        raise ValueError("broken")
    assert "Pushing 0" not in out.getvalue()


def test_of_several_tasks_the_newest_is_shown_and_the_older_one_again_when_it_ends() -> None:
    out = Terminal()
    display = TerminalProgress(out)
    with display.task("Outer"):
        with display.task("Inner"):
            display.draw()
            assert out.getvalue().rpartition("\x1b[K")[2].startswith("Inner")
        display.draw()
        assert out.getvalue().rpartition("\x1b[K")[2].startswith("Outer")


@pytest.mark.parametrize("environment", [{}, {"TERM": "dumb"}, {"TERM": "xterm", "CI": "true"}])
def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(environment: dict[str, str]) -> None:
    assert not isinstance(progress_for(Terminal(), environment), TerminalProgress)
    assert isinstance(progress_for(Terminal(), {"TERM": "xterm"}), TerminalProgress)


def test_no_colour_where_nobody_wants_it() -> None:
    out = Terminal()
    with progress_for(out, {"TERM": "xterm", "NO_COLOR": "1"}).task("Packing"):
        pass
    assert "\x1b[3" not in out.getvalue()

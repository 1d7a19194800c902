"""A program's output is read as it comes, and its failure is told rather than what it left unreadable."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from bundler.effects import process
from bundler.errors import ToolFailedError, ToolMissingError

pytestmark = pytest.mark.integration


def _stream(script: str, read: Callable[[BinaryIO], object], stdin: bytes | None = None) -> list[str]:
    """Run a shell script, let ``read`` have its output, and return the lines of its standard error."""
    lines: list[str] = []
    with process.streaming(["sh", "-c", script], purpose="testing", stdin=stdin, on_line=lines.append) as out:
        read(out)
    return lines


def _unreadable(out: BinaryIO) -> None:
    out.read(10)
    raise ValueError("the tar ends within a member")


def test_output_and_messages_both_arrive() -> None:
    found: list[bytes] = []
    assert _stream("cat; echo done >&2", lambda out: found.append(out.read()), stdin=b"in") == ["done"]
    assert found == [b"in"]


def test_a_program_that_fails_after_some_output_is_told_with_its_last_words() -> None:
    with pytest.raises(ToolFailedError, match="status 3 while testing") as caught:
        _stream("echo part; echo because >&2; exit 3", _unreadable)
    assert caught.value.details == ("because",)
    assert isinstance(caught.value.__cause__, ValueError)


def test_output_that_cannot_be_read_is_told_where_the_program_succeeded() -> None:
    with pytest.raises(ValueError, match="ends within a member"):
        _stream("seq 99999", _unreadable)


def test_output_that_is_left_unread_does_not_make_the_program_fail() -> None:
    assert _stream("seq 999999; echo whole >&2", lambda out: out.read(2)) == ["whole"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_an_interrupt_ends_the_program_and_its_children(interruption: type[BaseException], tmp_path: Path) -> None:
    def interrupted(out: BinaryIO) -> None:
        assert out.readline() == b"ready\n"
        raise interruption

    begun = time.monotonic()
    with pytest.raises(interruption):
        _stream(f"sleep 60 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/leader; echo ready; wait", interrupted)
    assert time.monotonic() - begun < 20
    for name in ("child", "leader"):
        pid = int((tmp_path / name).read_text())
        deadline = time.monotonic() + 5
        while _is_running(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _is_running(pid)


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # a zombie waits only for whoever took it over


def test_a_program_that_reads_nothing_does_not_break_the_pipe() -> None:
    with pytest.raises(ToolFailedError, match="status 4"):
        _stream("exec <&-; exit 4", lambda out: out.read(), stdin=b"x" * 60_000)


def test_a_program_that_is_not_there_is_told_with_how_to_get_it() -> None:
    missing = process.streaming(["no-such-program"], purpose="testing", remedy="Install it.")
    with pytest.raises(ToolMissingError, match="'no-such-program'") as caught:
        missing.__enter__()
    assert caught.value.remedy == "Install it."

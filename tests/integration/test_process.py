"""Programs that print too much, read nothing, or read and print at once."""

from __future__ import annotations

import sys

import pytest

from bundler.effects import process
from bundler.errors import ToolFailedError

pytestmark = pytest.mark.integration

LARGE = bytes(range(256)) * (1 << 14)  # 4 MiB, more than pipes hold


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def test_a_program_that_reads_and_prints_at_once_is_fed_and_read_at_once() -> None:
    code = "import sys\nwhile piece := sys.stdin.buffer.read1(4096): sys.stdout.buffer.write(piece)"
    done = process.run(python(code), purpose="echoing", stdin=LARGE, timeout=60)
    assert done.stdout == LARGE.decode(errors="replace")


def test_a_program_that_reads_nothing_is_no_fault_of_ours() -> None:
    assert process.run(python("print('done')"), purpose="testing", stdin=LARGE, timeout=60).stdout == "done\n"


def test_both_outputs_are_kept_apart_and_the_input_may_be_empty() -> None:
    code = "import sys\nsys.stderr.write('e' * 100_000)\nsys.stdout.write('o' * 100_000 + sys.stdin.read())"
    done = process.run(python(code), purpose="testing", stdin=b"", timeout=60)
    assert (done.stdout, done.stderr) == ("o" * 100_000, "e" * 100_000)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_program_that_prints_without_end_is_ended(stream: str) -> None:
    code = f"import sys\nwhile True: sys.{stream}.write('x' * 65536)"
    with pytest.raises(ToolFailedError, match="printed more than 1000000 bytes while testing"):
        process.run(python(code), purpose="testing", most_output=1_000_000)


def test_a_program_that_closes_its_outputs_and_stays_is_ended_by_its_time() -> None:
    code = "import os, time\nos.close(1)\nos.close(2)\ntime.sleep(600)"
    with pytest.raises(ToolFailedError, match="did not end in 1 s"):
        process.run(python(code), purpose="testing", timeout=1)

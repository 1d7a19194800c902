"""The command line, run in the process of the test: what it runs of the program then counts as covered."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from bundler.cli import program


@dataclass(frozen=True)
class Called:
    """What a run of the command line did."""

    status: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """All that it printed."""
        return self.stdout + self.stderr


def called(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> Called:
    """Run the command line to its end, with further variables in the environment."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "excepthook", sys.excepthook)  # which the program sets
        for name, value in (environment or {}).items():
            patched.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            program.main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return Called(ended.value.code, out.getvalue(), err.getvalue())

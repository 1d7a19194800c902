"""Run external programs: the only module that starts one."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundler.errors import ToolFailedError, ToolMissingError

_TAIL_LINES = 30
_LOG = logging.getLogger(__name__)  # shown by --verbose


@dataclass(frozen=True)
class Completed:
    """What a program that ended well said."""

    stdout: str
    stderr: str


def find(program: str, *, remedy: str) -> Path:
    """Return where ``program`` is on PATH, or raise ``ToolMissingError`` with how to get it."""
    found = shutil.which(program)
    if found is None:
        raise ToolMissingError(f"The program {program!r} is not on PATH.", remedy=remedy)
    return Path(found)


def run(
    command: Sequence[str | Path],
    *,
    purpose: str,
    remedy: str = "",
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    timeout: float | None = None,
) -> Completed:
    """Run a program to its end and return its output.

    ``purpose`` finishes the sentence "PROGRAM failed while ...". ``environment`` is added to this process's own;
    secrets go there or to ``stdin``, never into ``command``. The program gets a process group of its own, so that an
    interrupt ends its children too.

    Raises:
        ToolMissingError: there is no such program.
        ToolFailedError: it ended with a non-zero status or did not end in ``timeout`` seconds; its last lines of
            output are the details.
    """
    arguments = [str(part) for part in command]
    _LOG.debug("$ %s", shlex.join(arguments))
    try:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise ToolMissingError(f"The program {arguments[0]!r} is not on PATH.", remedy=remedy) from error
    try:
        out, err = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        _end(process)
        raise ToolFailedError(f"{arguments[0]} did not end in {timeout:g} s while {purpose}.", remedy=remedy) from error
    except BaseException:  # also an interrupt: leave no child behind
        _end(process)
        raise
    stdout, stderr = out.decode(errors="replace"), err.decode(errors="replace")
    for line in stderr.splitlines():
        _LOG.debug("  %s", line)
    if process.returncode != 0:
        lines = (stderr.strip() or stdout.strip()).splitlines()
        raise ToolFailedError(
            f"{arguments[0]} failed with status {process.returncode} while {purpose}.",
            remedy=remedy,
            details=tuple(lines[-_TAIL_LINES:]),
        )
    return Completed(stdout, stderr)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=5)
    except ProcessLookupError:
        pass
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

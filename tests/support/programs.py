"""Programs that serve: started by a test, waited for until they answer, always ended, their last words shown."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

LOGS: dict[str, Path] = {}
"""What runs just now, and where it writes; shown beside a test that fails."""

_END = 30.0  # seconds that a program has to end by itself
_SHOWN = 4000  # characters


def require(program: str, *folders: Path) -> str:
    """Return where a program is; without it a test is skipped here, and fails where nothing may be skipped."""
    more = os.pathsep.join(["/usr/sbin", "/sbin", *map(str, folders)])
    found = shutil.which(program) or shutil.which(program, path=more)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed")
    return found


def require_root(program: str) -> str:
    """Return where a program is that nobody but root can use; otherwise skip the test, which CI does not accept."""
    if os.geteuid():
        pytest.skip(f"{program} needs root")
    return require(program)


def free_port() -> int:
    """Return a loopback port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def last_words(log: Path) -> str:
    """Return the end of a log, as much as a person reads."""
    return log.read_text(errors="replace")[-_SHOWN:] if log.exists() else "(no log)"


@contextmanager
def shown(name: str, log: Path) -> Iterator[None]:
    """Show the end of a log where a test fails before the block ends, or because of what happens in it."""
    LOGS[name] = log
    try:
        yield
    except BaseException as error:  # pytest's own outcomes are no Exception
        error.add_note(f"log of {name}:\n{last_words(log)}")
        raise
    finally:
        del LOGS[name]


@contextmanager
def serving(
    command: Sequence[str | Path],
    log: Path,
    answers: Callable[[], bool],
    *,
    timeout: float = 30.0,
    user: int | None = None,
    end: signal.Signals = signal.SIGTERM,
    environment: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Run a program until the block ends; enter the block once ``answers`` says so, within ``timeout`` seconds."""
    arguments = [str(part) for part in command]
    name = Path(arguments[0]).name
    with log.open("ab") as stream:
        # With a group and a session of its own, so that neither an interrupt of the test nor its rights reach it.
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    try:
        with shown(f"{name} {process.pid}", log):
            _wait(name, process, answers, timeout)
            yield
    finally:
        _end(process, end)


def _wait(name: str, process: subprocess.Popen[bytes], answers: Callable[[], bool], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not answers():
        if process.poll() is not None:
            raise AssertionError(f"{name} ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise AssertionError(f"{name} does not answer after {timeout:.0f} s")
        time.sleep(0.05)


def _end(process: subprocess.Popen[bytes], end: signal.Signals) -> None:
    process.send_signal(end)
    try:
        process.wait(timeout=_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

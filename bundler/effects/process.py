"""Run external programs: the only module that starts one."""

from __future__ import annotations

import functools
import logging
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO, BinaryIO, cast

from bundler.errors import ToolFailedError, ToolMissingError

_TAIL_LINES = 30
_MOST_OUTPUT = 1 << 30  # bytes; the largest real output, a cluster's objects as JSON, has a tenth of it
_CHUNK = 1 << 20
_PIPE = 1 << 16  # bytes that a pipe holds
_DRAIN_TIMEOUT = 10.0  # seconds
_LOG = logging.getLogger(__name__)  # shown by --verbose


@dataclass(frozen=True)
class Completed:
    """The output of a program that ended successfully."""

    stdout: str
    stderr: str


def find(program: str, *, remedy: str) -> Path:
    """Return where ``program`` is on PATH, or raise ``ToolMissingError`` with how to get it."""
    path = shutil.which(program)
    if path is None:
        raise ToolMissingError(f"The program {program!r} is not on PATH.", remedy=remedy)
    return Path(path)


def is_on_path(program: str) -> bool:
    """Tell whether a program is on PATH."""
    return shutil.which(program) is not None


def run(
    command: Sequence[str | Path],
    *,
    purpose: str,
    remedy: str = "",
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    timeout: float | None = None,
    most_lines: int = _TAIL_LINES,
    most_output: int = _MOST_OUTPUT,
) -> Completed:
    """Run a program to its end and return its output.

    ``purpose`` completes "PROGRAM failed while ...". ``environment`` is added to this process's own;
    secrets go there or to ``stdin``, never into ``command``. The program gets a process group of its own, so that an
    interrupt ends its children too.

    Raises:
        ToolMissingError: the program is not on PATH.
        ToolFailedError: it ended with a non-zero status, did not end in ``timeout`` seconds, or printed more than
            ``most_output`` bytes; its last lines of output are the details.
    """
    process = _start(command, remedy, environment, cwd=cwd, stdin=stdin is not None)
    program = str(command[0])
    try:
        out, err = _communicate(process, stdin, timeout, most_output)
    except subprocess.TimeoutExpired as error:
        _end(process)
        _close(process)
        raise ToolFailedError(f"{program} did not end in {timeout:g} s while {purpose}.", remedy=remedy) from error
    except _TooMuchError as error:
        _end(process)
        _close(process)
        raise ToolFailedError(
            f"{program} printed more than {most_output} bytes while {purpose}.", remedy=remedy
        ) from error
    except BaseException:  # also an interrupt: leave no child behind
        _end(process)
        _close(process)
        raise
    stdout, stderr = out.decode(errors="replace"), err.decode(errors="replace")
    for line in stderr.splitlines():
        _LOG.debug("  %s", line)
    if process.returncode != 0:
        lines = (stderr.strip() or stdout.strip()).splitlines()
        raise _failure(program, process.returncode, purpose, remedy, lines, most_lines=most_lines)
    return Completed(stdout, stderr)


class _TooMuchError(Exception):
    """A program printed more than it may."""


def _communicate(
    process: subprocess.Popen[bytes], stdin: bytes | None, timeout: float | None, most: int
) -> tuple[bytes, bytes]:
    """Do what ``Popen.communicate`` does, but keep no more than ``most`` bytes of what a program prints.

    Raises:
        _TooMuchError: it printed more.
        subprocess.TimeoutExpired: it still runs after ``timeout`` seconds.
    """
    output: dict[object, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    end = None if timeout is None else time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        for stream in (cast("IO[bytes]", process.stdout), cast("IO[bytes]", process.stderr)):
            selector.register(stream, selectors.EVENT_READ, functools.partial(_read, stream, output[stream]))
        if process.stdin:
            os.set_blocking(process.stdin.fileno(), False)
            feed = functools.partial(_feed, process.stdin, deque([memoryview(stdin or b"")]))
            selector.register(process.stdin, selectors.EVENT_WRITE, feed)
        while selector.get_map():
            for key, _ in selector.select(_left(end)):
                if not key.data():
                    selector.unregister(key.fileobj)
                    with suppress(BrokenPipeError):
                        cast("IO[bytes]", key.fileobj).close()
            if sum(map(len, output.values())) > most:
                raise _TooMuchError
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(process.args, cast("float", timeout))
    process.wait(_left(end))
    return bytes(output[process.stdout]), bytes(output[process.stderr])


def _left(end: float | None) -> float | None:
    return None if end is None else max(0.0, end - time.monotonic())


def _read(stream: IO[bytes], into: bytearray) -> bool:
    """Read what there is, and tell whether more may come."""
    piece = os.read(stream.fileno(), _PIPE)
    into += piece
    return bool(piece)


def _feed(stream: IO[bytes], content: deque[memoryview]) -> bool:
    """Write what the pipe takes now, and tell whether anything is left that somebody reads."""
    left = content.pop()
    try:
        left = left[os.write(stream.fileno(), left[:_PIPE]) :]
    except BlockingIOError:
        pass
    except BrokenPipeError:
        return False
    content.append(left)
    return bool(left)


@contextmanager
def streaming(
    command: Sequence[str | Path],
    *,
    purpose: str,
    remedy: str = "",
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    on_line: Callable[[str], None] = lambda _: None,
) -> Iterator[BinaryIO]:
    """Run a program whose output the block reads as it comes; ``on_line`` is told each line of its standard error.

    Everything else is as for ``run``, but there is no time limit, and ``stdin`` must fit into a pipe (64 KiB). Where
    the block cannot read the output (``ValueError``) because the program failed, the program's failure is raised.
    """
    process = _start(command, remedy, environment, cwd=cwd, stdin=stdin is not None)
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    reader = Thread(target=_tell, args=(process.stderr, tail, on_line), daemon=True)
    reader.start()
    stdout = cast("BinaryIO", process.stdout)
    problem: ValueError | None = None
    try:
        if process.stdin:
            with suppress(BrokenPipeError), process.stdin as pipe:  # a program that fails early reads nothing
                pipe.write(stdin or b"")
        try:
            yield stdout
        except ValueError as error:
            problem = error
        while stdout.read(_CHUNK):  # what the block left: closing the pipe now would make the program fail
            pass
        process.wait()
    except BaseException:  # also an interrupt: leave no child behind
        _end(process)
        raise
    finally:
        reader.join(_DRAIN_TIMEOUT)
        stdout.close()
    if process.returncode != 0:
        raise _failure(str(command[0]), process.returncode, purpose, remedy, tail) from problem
    if problem:
        raise problem


Conversation = AbstractContextManager[tuple[BinaryIO, BinaryIO]]
"""A program that reads requests from standard input and answers on standard output."""


@contextmanager
def conversing(
    command: Sequence[str | Path], *, environment: Mapping[str, str], cwd: Path, first: bytes = b""
) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Run a program that the block asks and that answers; it is sent ``first`` before anything that the block sends.

    ``environment`` is all that it gets. It is ended with the block; what it says on standard error is dropped.
    """
    arguments = [str(argument) for argument in command]
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=cwd,
        env=dict(environment),
        start_new_session=True,
    )
    requests, answers = cast("BinaryIO", process.stdin), cast("BinaryIO", process.stdout)
    try:
        with suppress(BrokenPipeError):  # the block sees that it has ended
            requests.write(first)
            requests.flush()
        yield requests, answers
    finally:
        process.kill()
        process.wait()
        answers.close()
        with suppress(BrokenPipeError):  # a request that nobody reads any more
            requests.close()


class BackgroundProgram:
    """A program that runs beside the work; its output goes to a file, for the case that it ends too early."""

    def __init__(self, process: subprocess.Popen[bytes], output: IO[bytes], purpose: str) -> None:
        self._process, self._output, self._purpose = process, output, purpose

    def check(self) -> None:
        """Raise ``ToolFailedError`` where it has ended."""
        status = self._process.poll()
        if status is not None:
            self._output.seek(0)
            lines = self._output.read().decode(errors="replace").splitlines()
            raise _failure(str(cast("list[str]", self._process.args)[0]), status, self._purpose, "", lines)


@contextmanager
def serving(command: Sequence[str | Path], *, purpose: str) -> Iterator[BackgroundProgram]:
    """Run a program until the block ends; ``purpose`` as for ``run``."""
    with tempfile.TemporaryFile() as output:
        process = _start(command, "", None, stdin=False, output=output)
        try:
            yield BackgroundProgram(process, output, purpose)
        finally:
            _end(process)


def _start(
    command: Sequence[str | Path],
    remedy: str,
    environment: Mapping[str, str] | None,
    *,
    cwd: Path | None = None,
    stdin: bool,
    output: IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    arguments = [str(argument) for argument in command]
    _LOG.debug("$ %s", shlex.join(arguments))
    try:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=output or subprocess.PIPE,
            stderr=output or subprocess.PIPE,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise ToolMissingError(f"The program {arguments[0]!r} is not on PATH.", remedy=remedy) from error


def _failure(
    program: str, status: int, purpose: str, remedy: str, lines: Iterable[str], *, most_lines: int = _TAIL_LINES
) -> ToolFailedError:
    return ToolFailedError(
        f"{program} failed with status {status} while {purpose}.",
        remedy=remedy,
        details=tuple(lines)[-most_lines:],
    )


def _tell(stderr: IO[bytes], tail: deque[str], on_line: Callable[[str], None]) -> None:
    with stderr:
        for raw in stderr:
            line = raw.decode(errors="replace").rstrip()
            if line:
                _LOG.debug("  %s", line)
                tail.append(line)
                on_line(line)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=5)
    except ProcessLookupError:
        pass
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with suppress(BrokenPipeError):  # input that nobody read
                pipe.close()

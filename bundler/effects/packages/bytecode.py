"""Compile Python sources to byte code for an image, by an interpreter of the image's own version."""

from __future__ import annotations

import functools
import inspect
import os
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from uv import find_uv_bin

from bundler.effects import process
from bundler.effects.confinement import seccomp
from bundler.errors import ToolFailedError, ToolMissingError

# The child: reads (path, source) frames, answers each with the .pyc's bytes, or none where it does not compile.
# "unchecked-hash" (PEP 552) makes the file independent of times, and lets an import skip reading the source.
# Sources are hostile: one that keeps the compiler busy for long, or eats its memory, ends the child. Nothing of them is
# run; for faults in the compiler itself the kernel allows no call any more but reading, answering and taking memory.
# A source may name any encoding, so all of them are loaded before. (The text before it is that of the module seccomp.)
_CHILD: Final = """
import encodings, importlib, importlib._bootstrap_external as machinery, importlib.util, pkgutil, resource, signal, sys
import unicodedata
for _, name, _ in pkgutil.iter_modules(encodings.__path__):
    try:
        importlib.import_module("encodings." + name)
    except ImportError:  # of Windows
        pass
resource.setrlimit(resource.RLIMIT_AS, (%(memory)d, %(memory)d))
for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC):
    resource.setrlimit(kind, (0, 0))
if os.geteuid() == 0:
    try:
        os.setgroups([])
        os.setresgid(%(nobody)d, %(nobody)d, %(nobody)d)
        os.setresuid(%(nobody)d, %(nobody)d, %(nobody)d)
    except OSError:  # a container that has no such user
        pass
allow_compiling()
read, write = sys.stdin.buffer.read, sys.stdout.buffer.write
while header := read(8):
    lengths = struct.unpack(">II", header)
    path, source = read(lengths[0]).decode(), read(lengths[1])
    signal.setitimer(signal.ITIMER_VIRTUAL, %(seconds)f)
    try:
        code = compile(source, path, "exec", dont_inherit=True)
        answer = bytes(machinery._code_to_hash_pyc(code, importlib.util.source_hash(source), False))
    except Exception:
        answer = b""
    write(struct.pack(">I", len(answer)) + answer)
    sys.stdout.buffer.flush()
"""
_NOBODY: Final = 65534
_MOST_MEMORY: Final = 2 << 30  # bytes of address space
_MOST_SECONDS: Final = 60.0  # of processor time for one source; the biggest real ones need a few
_MOST_SOURCE: Final = 32 << 20  # bytes
_IDENTITY: Final = """
import sys
print(sys.implementation.name, "%d.%d" % sys.version_info[:2], sys.implementation.cache_tag, sys.version)
"""
_TIMEOUT: Final = 20.0  # seconds


@dataclass(frozen=True)
class Interpreter:
    """An interpreter on the build host; ``identity`` says what its byte code depends on: its exact version."""

    program: str
    identity: str


@dataclass(frozen=True)
class SourceFile:
    """A source to compile, and the absolute path that it will have in the image (what tracebacks will show)."""

    path: str
    content: bytes


@functools.cache
def interpreter(version: tuple[int, int]) -> Interpreter | None:
    """Return a CPython of this minor version on the build host, or None: byte code of another would be ignored.

    A name on PATH is not enough: version managers put programs there that only say that the version is missing.
    """
    return next((python for program in _candidates(version) if (python := _asked(program, version)) is not None), None)


def _candidates(version: tuple[int, int]) -> Iterator[str]:
    if sys.version_info[:2] == version:
        yield sys.executable
    name = f"python{version[0]}.{version[1]}"
    for folder in os.get_exec_path():
        program = Path(folder, name)
        if program.is_file() and os.access(program, os.X_OK):
            yield str(program)
    pyenv = Path(os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv"))  # noqa: PTH111  (a user without a home)
    yield from map(str, sorted(pyenv.glob(f"versions/{version[0]}.{version[1]}.*/bin/{name}")))
    yield from _known_to_uv(version)


def _known_to_uv(version: tuple[int, int]) -> Iterator[str]:
    wanted = f"{version[0]}.{version[1]}"
    try:
        completed = process.run(
            [find_uv_bin(), "python", "find", "--managed-python", "--no-project", wanted],
            purpose=f"looking for Python {wanted}",
            environment={"UV_PYTHON_DOWNLOADS": "never"},
            timeout=_TIMEOUT,
        )
    except (FileNotFoundError, ToolFailedError, ToolMissingError):
        return
    yield completed.stdout.strip()


def _asked(program: str, version: tuple[int, int]) -> Interpreter | None:
    try:
        answer = process.run(
            [program, "-I", "-S", "-c", _IDENTITY], purpose="telling its version", timeout=_TIMEOUT
        ).stdout.strip()
    except (ToolFailedError, ToolMissingError, OSError):
        return None
    python = Interpreter(program, answer)
    if answer.split(" ")[:2] != ["cpython", f"{version[0]}.{version[1]}"]:
        return None
    # Asked as it is used: a shim may answer here, by this folder or environment, and be another where it compiles.
    return python if [*compiled(python, [SourceFile("/trial.py", b"")])] else None


def compiled(by: Interpreter, sources: Iterable[SourceFile]) -> Iterator[tuple[str, bytes]]:
    """Yield path and ``.pyc`` of each source that compiles, in order; as with pip, the others stay sources only.

    Which constants ``marshal`` shares depends on what the interpreter has seen before: give it the sources of one
    wheel in order, then the same wheel becomes the same bytes.
    """
    with ExitStack() as running:
        child: _Child | None = None
        for source in sources:
            if len(source.content) > _MOST_SOURCE:
                continue
            if child is None:
                child = _Child(*running.enter_context(_conversation(by)))
            try:
                answer = child.ask(source)
            except (EOFError, BrokenPipeError):
                # This source ended the child (some nest too deeply for the C stack): go on with another.
                running.close()
                child = None
                continue
            if answer:
                yield source.path, answer


def _conversation(by: Interpreter) -> process.Conversation:
    # Not -I: that would also ignore PYTHONHASHSEED, which fixes the order of constant sets before CPython 3.11.
    limits = {"memory": _MOST_MEMORY, "seconds": _MOST_SECONDS, "nobody": _NOBODY}
    return process.conversing(
        [by.program, "-s", "-S", "-B", "-W", "ignore", "-c", inspect.getsource(seccomp) + _CHILD % limits],
        environment={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
        cwd=Path("/"),
    )


class _Child:
    """A running interpreter; compiles one source at a time."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self._requests, self._answers = requests, answers

    def ask(self, source: SourceFile) -> bytes:
        """Return the ``.pyc`` or nothing; raise ``EOFError`` or ``BrokenPipeError`` where the child has ended."""
        name = source.path.encode()
        self._requests.write(struct.pack(">II", len(name), len(source.content)) + name + source.content)
        self._requests.flush()
        (length,) = struct.unpack(">I", self._read(4))
        return self._read(length)

    def _read(self, size: int) -> bytes:
        content = self._answers.read(size)
        if len(content) < size:
            raise EOFError
        return content

"""Compile Python sources to byte code for an image, by an interpreter of the image's own version."""

from __future__ import annotations

import functools
import inspect
import os
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from uv import find_uv_bin

from bundler.effects import process
from bundler.effects.confinement import seccomp
from bundler.errors import ToolFailedError, ToolMissingError

# The child: reads (path, source) frames, answers each with the .pyc's bytes, or none where it does not compile.
# "unchecked-hash" (PEP 552) makes the file independent of times, and lets an import skip reading the source.
# Sources are hostile: one that keeps the compiler busy for long, or eats its memory, ends the child. Nothing of them is
# run; for faults in the compiler itself the kernel allows no call any more but reading, answering and taking memory.
# A source may name any encoding, so all of them are loaded before. (The text before it is that of the module seccomp.)
# The names in this text decide which strings marshal shares: with another text the same sources become other bytes.
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
_MOST_BYTE_CODE: Final = 256 << 20  # bytes
# What a child runs with. Not -I: that would also ignore PYTHONHASHSEED, which fixes the order of constant sets before
# CPython 3.11.
OPTIONS: Final = ("-s", "-S", "-B", "-W", "ignore")
ENVIRONMENT: Final = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
IDENTITY: Final = """
import sys
print(sys.implementation.name, "%d.%d" % sys.version_info[:2], sys.implementation.cache_tag, sys.version)
"""
_TIMEOUT: Final = 20.0  # seconds


@dataclass(frozen=True)
class SourceFile:
    """A source to compile, and the absolute path that it will have in the image (what tracebacks will show)."""

    path: str
    content: bytes


class CompilerSession(Protocol):
    """A compiler that is ready."""

    def compiled(self, sources: Iterable[SourceFile]) -> Iterator[tuple[str, bytes]]:
        """Yield path and ``.pyc`` of each source that compiles, in order; as with pip, the others stay sources only.

        Which constants ``marshal`` shares depends on what the interpreter has seen before: give it the sources of one
        wheel in order, then the same wheel becomes the same bytes.
        """


class Compiler(Protocol):
    """Compiles for an image."""

    @property
    def identity(self) -> str:
        """What the byte code depends on: the interpreter's exact version."""

    def session(self) -> AbstractContextManager[CompilerSession]:
        """Start the compiler; the block ends it. Threads may each have a session of their own."""


@dataclass(frozen=True)
class Interpreter:
    """An interpreter on the build host, which compiles; ``identity`` says its exact version."""

    program: str
    identity: str

    @property
    def version(self) -> str:
        """The full version, e.g. ``3.11.2``."""
        return next(iter(self.identity.split(" ")[3:4]), "")

    def session(self) -> AbstractContextManager[CompilerSession]:
        """Return the compiler; each wheel starts a process of its own."""
        return nullcontext(self)

    def compiled(self, sources: Iterable[SourceFile]) -> Iterator[tuple[str, bytes]]:
        """Compile the sources of one wheel."""
        yield from compiled(self, sources)


def child_program() -> str:
    """Return the text of the program that compiles: it reads frames and answers them."""
    limits = {"memory": _MOST_MEMORY, "seconds": _MOST_SECONDS, "nobody": _NOBODY}
    return inspect.getsource(seccomp) + _CHILD % limits


@functools.cache
def interpreter(version: tuple[int, int], exact: str = "") -> Interpreter | None:
    """Return a CPython of this minor version on the build host, or None: byte code of another would be ignored.

    One of exactly the version ``exact`` is preferred. A name on PATH is not enough: version managers put programs there
    that only say that the version is missing.
    """
    first: Interpreter | None = None
    for program in _candidates(version):
        python = _identified(program, version)
        if python is not None and exact in ("", python.version):
            return python
        first = first or python
    return first


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


def _identified(program: str, version: tuple[int, int]) -> Interpreter | None:
    try:
        answer = process.run(
            [program, "-I", "-S", "-c", IDENTITY], purpose="telling its version", timeout=_TIMEOUT
        ).stdout.strip()
    except (ToolFailedError, ToolMissingError, OSError):
        return None
    python = Interpreter(program, answer)
    if not is_of(answer, version):
        return None
    # Asked as it is used: a shim may answer here, by this folder or environment, and be another where it compiles.
    return python if [*compiled(python, [SourceFile("/trial.py", b"")])] else None


def is_of(identity: str, version: tuple[int, int]) -> bool:
    """Tell whether an identity is that of a CPython of a minor version."""
    return identity.split(" ")[:2] == ["cpython", f"{version[0]}.{version[1]}"]


def compiled(by: Interpreter, sources: Iterable[SourceFile]) -> Iterator[tuple[str, bytes]]:
    """Compile the sources of one wheel, see ``CompilerSession``."""
    with ExitStack() as running:
        frames: Frames | None = None
        for source in fitting(sources):
            if frames is None:
                frames = Frames(*running.enter_context(_conversation(by)))
            try:
                answer = frames.ask(source)
            except (EOFError, BrokenPipeError):
                # This source ended the child (some nest too deeply for the C stack): go on with another.
                running.close()
                frames = None
                continue
            if answer:
                yield source.path, answer


def fitting(sources: Iterable[SourceFile]) -> Iterator[SourceFile]:
    """Yield the sources that are small enough to be compiled."""
    yield from (source for source in sources if len(source.content) <= _MOST_SOURCE)


def _conversation(by: Interpreter) -> process.Conversation:
    command = [by.program, *OPTIONS, "-c", child_program()]
    return process.conversing(command, environment=ENVIRONMENT, cwd=Path("/"))


class Frames:
    """A running program that compiles one source at a time: a frame for each source, a frame for each answer."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self._requests, self._answers = requests, answers

    def ask(self, source: SourceFile) -> bytes:
        """Return the ``.pyc`` or nothing; raise ``EOFError`` or ``BrokenPipeError`` where the program has ended."""
        self.send(source.path.encode(), source.content)
        return self.answer()

    def send(self, name: bytes, content: bytes) -> None:
        """Send a frame; raise ``BrokenPipeError`` where the program has ended."""
        self._requests.write(struct.pack(">II", len(name), len(content)) + name + content)
        self._requests.flush()

    def answer(self) -> bytes:
        """Return an answer; raise ``EOFError`` where the program has ended, or answers more than byte code can be."""
        (length,) = struct.unpack(">I", self._read(4))
        if length > _MOST_BYTE_CODE:
            raise EOFError
        return self._read(length)

    def _read(self, size: int) -> bytes:
        content = self._answers.read(size)
        if len(content) < size:
            raise EOFError
        return content

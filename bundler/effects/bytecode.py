"""Compile Python sources to byte code for an image, by an interpreter of the image's own version."""

from __future__ import annotations

import functools
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

# The child: reads (path, source) frames, answers each with the .pyc's bytes, or none where it does not compile.
# "unchecked-hash" (PEP 552) makes the file independent of times, and lets an import skip reading the source.
_CHILD: Final = """
import importlib._bootstrap_external as machinery, importlib.util, struct, sys
read, write = sys.stdin.buffer.read, sys.stdout.buffer.write
while header := read(8):
    lengths = struct.unpack(">II", header)
    path, source = read(lengths[0]).decode(), read(lengths[1])
    try:
        code = compile(source, path, "exec", dont_inherit=True)
        answer = bytes(machinery._code_to_hash_pyc(code, importlib.util.source_hash(source), False))
    except Exception:
        answer = b""
    write(struct.pack(">I", len(answer)) + answer)
    sys.stdout.buffer.flush()
"""


@functools.cache
def interpreter(version: tuple[int, int]) -> str | None:
    """Return a CPython of this minor version on the build host, or None: byte code of another would be ignored."""
    if sys.version_info[:2] == version and sys.implementation.name == "cpython":
        return sys.executable
    return shutil.which(f"python{version[0]}.{version[1]}")


@functools.cache
def identity(program: str) -> str:
    """Return what byte code depends on: the exact version of the interpreter that writes it."""
    asked = subprocess.run(
        [program, "-I", "-S", "-c", "import sys; print(sys.version, sys.implementation.cache_tag)"],
        capture_output=True,
        check=True,
        text=True,
    )
    return asked.stdout.strip()


class Compiler:
    """A running child; compiles one source at a time."""

    def __init__(self, requests: IO[bytes], answers: IO[bytes]) -> None:
        self._requests, self._answers = requests, answers

    def compile(self, path: str, source: bytes) -> bytes | None:
        """Return the ``.pyc`` of a source that will be at absolute ``path`` in the image, None where it has errors."""
        name = path.encode()
        self._requests.write(struct.pack(">II", len(name), len(source)) + name + source)
        self._requests.flush()
        (length,) = struct.unpack(">I", self._answers.read(4))
        return self._answers.read(length) or None


@contextmanager
def compiler(program: str) -> Iterator[Compiler]:
    """Start a child interpreter, isolated and with fixed hashing.

    Which constants ``marshal`` shares depends on what the interpreter has seen before: use one child a wheel and give
    it the sources in order, then the same wheel becomes the same bytes.
    """
    # Not -I: that would also ignore PYTHONHASHSEED, which fixes the order of constant sets.
    process = subprocess.Popen(
        [program, "-s", "-S", "-W", "ignore", "-c", _CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
        start_new_session=True,
    )
    try:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both are pipes")
        yield Compiler(process.stdin, process.stdout)
    finally:
        process.kill()
        process.communicate()

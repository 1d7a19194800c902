"""Compile Python sources to byte code by the image's own Python, in a folder that is all that it sees.

So the same wheels become the same layers on every machine, whatever Python the machine has.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from bundler.effects import image_root, unpacked_images
from bundler.effects.blobs import BlobStore
from bundler.effects.image_root import ImageRoot
from bundler.effects.packages import bytecode
from bundler.effects.packages.bytecode import Frames, SourceFile
from bundler.errors import ToolFailedError
from bundler.model.digest import Digest
from bundler.oci.layer import Layer

_RECORD: Final = "image-python"
_TIMEOUT: Final = 60.0  # seconds
_MOST_SECONDS: Final = 3600.0  # of processor time, for all wheels of a layer
# Its own Python finds the libraries of an image by no other variable.
_KEPT: Final = ("LD_LIBRARY_PATH",)
_OTHER_BASE: Final = "Name another base image."
# Each wheel gets a process of its own (see bytecode.CompilerSession), and confining one takes longer than starting one:
# so this program is confined, starts them, and passes frames on. An empty frame ends a wheel.
_RELAY: Final = """
import os, struct, subprocess, sys
command = [sys.argv[1], *sys.argv[3:], "-c", sys.argv[2]]
read, write = sys.stdin.buffer.read, sys.stdout.buffer.write
def answer(content):
    write(struct.pack(">I", len(content)) + content)
    sys.stdout.buffer.flush()
def end():
    if child:
        child.kill()
        child.wait()
        child.stdout.close()
        try:
            child.stdin.close()
        except BrokenPipeError:
            pass
child = None
while header := read(8):
    name, source = struct.unpack(">II", header)
    content = read(name + source)
    if not name:
        end()
        child = None
        continue
    if not child:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        child.stdin.write(header + content)
        child.stdin.flush()
        (length,) = struct.unpack(">I", child.stdout.read(4))
        code = child.stdout.read(length)
        if len(code) < length:
            raise EOFError
    except (BrokenPipeError, EOFError, struct.error):
        # This source ended the child (some nest too deeply for the C stack): go on with another.
        end()
        child, code = None, b""
    answer(code)
"""


@dataclass(frozen=True)
class ImagePythonProgram:
    """The Python of an image: the layers that it is in, where it is there, and the image's environment."""

    layers: Sequence[Layer]
    executable: str
    version: tuple[int, int]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What its identity depends on."""
        kept = json.dumps({name: self.environment[name] for name in _KEPT if name in self.environment}, sort_keys=True)
        asked = Digest.of((_RELAY + bytecode.child_program() + bytecode.IDENTITY).encode())
        return " ".join((*(str(layer.diff_id) for layer in self.layers), self.executable, kept, str(asked)))

    def variables(self) -> dict[str, str]:
        """Return the environment that it compiles in."""
        return {**bytecode.ENVIRONMENT, **{name: self.environment[name] for name in _KEPT if name in self.environment}}


@contextmanager
def opened(python: ImagePythonProgram, store: BlobStore) -> Iterator[ImageCompiler]:
    """Find out which version the image's Python is, which is remembered; the block ends what was started.

    Raises:
        ToolFailedError: it does not run here, is another version, or cannot compile.
    """
    with ExitStack() as stack:
        compiler = ImageCompiler(python, store, stack)
        known = store.recall(_RECORD, python.key)
        if isinstance(known, str) and bytecode.is_of(known, python.version):
            compiler.identity = known
        else:
            compiler.ask()
            store.remember(_RECORD, python.key, compiler.identity)
        yield compiler


class ImageCompiler:
    """Compiles by the image's Python; the image is unpacked when it is first needed, once."""

    def __init__(self, python: ImagePythonProgram, store: BlobStore, stack: ExitStack) -> None:
        self._python, self._store, self._stack = python, store, stack
        self._lock = Lock()
        self._root: ImageRoot | None = None
        self.identity = ""

    @contextmanager
    def session(self) -> Iterator[ImageSession]:
        """Start it, confined; the block ends it."""
        program = self._python
        command = [
            program.executable,
            "-I",
            "-S",
            "-c",
            _RELAY,
            program.executable,
            bytecode.child_program(),
            *bytecode.OPTIONS,
        ]
        root = self._unpacked()
        with image_root.conversing(root, command, program.variables(), seconds=_MOST_SECONDS) as conversation:
            yield ImageSession(Frames(*conversation), program.executable)

    def _unpacked(self) -> ImageRoot:
        with self._lock:
            if self._root is None:
                self._root = self._stack.enter_context(unpacked_images.unpacked(self._python.layers, self._store))
            return self._root

    def ask(self) -> None:
        """Ask it for its identity, and try it; raise ``ToolFailedError`` as ``opened`` does."""
        command = [self._python.executable, "-I", "-S", "-c", bytecode.IDENTITY]
        self.identity = image_root.run(
            self._unpacked(), command, self._python.variables(), purpose="telling its version", timeout=_TIMEOUT
        ).strip()
        if not bytecode.is_of(self.identity, self._python.version):
            wanted = ".".join(map(str, self._python.version))
            raise ToolFailedError(
                f"{self._python.executable} of the image is not CPython {wanted}: {self.identity:.120}.",
                remedy=_OTHER_BASE,
            )
        with self.session() as session:
            if not [*session.compiled([SourceFile("/trial.py", b"")])]:
                raise ToolFailedError(f"{self._python.executable} of the image cannot compile.", remedy=_OTHER_BASE)


class ImageSession:
    """The image's Python, running and confined."""

    def __init__(self, frames: Frames, executable: str) -> None:
        self._frames, self._executable = frames, executable

    def compiled(self, sources: Iterable[SourceFile]) -> Iterator[tuple[str, bytes]]:
        """Compile the sources of one wheel."""
        for source in bytecode.fitting(sources):
            if code := self._ask(source):
                yield source.path, code
        with suppress(BrokenPipeError):  # where another wheel follows, its first source tells
            self._frames.send(b"", b"")

    def _ask(self, source: SourceFile) -> bytes:
        try:
            return self._frames.ask(source)
        except (EOFError, BrokenPipeError) as error:
            raise ToolFailedError(
                f"{self._executable} of the image ended while compiling byte code.",
                remedy="Run the command again with --verbose; if it fails again, name another base image.",
            ) from error

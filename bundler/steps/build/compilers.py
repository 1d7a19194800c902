"""Choose who compiles byte code for an image: its own Python, in a folder apart, wherever that can run here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from bundler.effects import image_root
from bundler.effects.blobs import BlobStore
from bundler.effects.packages import bytecode, image_compiler
from bundler.effects.packages.bytecode import Compiler
from bundler.effects.packages.image_compiler import ImagePythonProgram
from bundler.errors import ToolFailedError
from bundler.model.findings import Finding, Status
from bundler.model.platform import Platform
from bundler.oci.installed_python import PythonInstallation
from bundler.steps.sources.unpacked_base import UnpackedBase

_CHECK: Final = "byte-code"
_TITLE: Final = "Byte code is that of the image's own Python"


@dataclass(frozen=True)
class Choice:
    """Who compiles (None: nobody can), and what the checklist says where that is not as good as the image's own."""

    compiler: Compiler | None
    finding: Finding | None = None


@contextmanager
def chosen(platform: Platform, bases: Mapping[Platform, UnpackedBase], store: BlobStore) -> Iterator[Choice]:
    """Choose for the base of a platform; the block ends what was started.

    Byte code is the same on all processors: where the platform's programs do not run here, the base of another platform
    compiles for it, if it has exactly the same version. Without one, a Python of this machine does.
    """
    python = _python(bases[platform])
    reasons: list[str] = []
    with ExitStack() as stack:
        for other in (platform, *(each for each in bases if each != platform)):
            image, candidate = bases[other].image, _python(bases[other])
            if candidate.full_version != python.full_version:
                continue
            if reason := image_root.unavailable(other):
                reasons.append(f"{other}: {reason}")
                continue
            program = ImagePythonProgram(image.layers, candidate.executable, candidate.version, image.config.env)
            try:
                compiler = stack.enter_context(image_compiler.opened(program, store))
            except ToolFailedError as error:
                reasons.append(" ".join((f"{other}: {error.problem}", *error.details[-1:])))
                continue
            yield Choice(compiler)
            return
        yield _of_this_machine(platform, python, reasons)


def _of_this_machine(platform: Platform, python: PythonInstallation, reasons: list[str]) -> Choice:
    interpreter = bytecode.interpreter(python.version, python.full_version)
    if interpreter is not None and interpreter.version == python.full_version:
        return Choice(interpreter)
    minor = ".".join(map(str, python.version))
    if interpreter is None:
        what = f"no byte code, so `feast` starts slower: the build machine does not have Python {minor}"
    else:
        what = (
            f"byte code was compiled by Python {interpreter.version} of the build machine, not by {python.full_version}"
        )
    evidence = (f"{platform}: {what}", *(f"the image's own Python cannot run: {reason}" for reason in reasons))
    remedy = (
        "A bundle of the same lock gets other digests on another build machine. Build it where the image's "
        f"own Python can run: on its processor, with user namespaces; or install Python {python.full_version}."
    )
    return Choice(interpreter, Finding(_CHECK, _TITLE, Status.MANUAL, evidence, remedy))


def _python(base: UnpackedBase) -> PythonInstallation:
    if base.contents.python is None:
        raise AssertionError("the lock was made for a base that has Python")
    return base.contents.python

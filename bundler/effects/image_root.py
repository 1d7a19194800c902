"""Run a program of an image on this machine: unpacked into folders, confined to them, without a network."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundler.effects import process
from bundler.effects.blobs import BlobStore
from bundler.effects.confinement import child, inside, limits, view
from bundler.errors import ToolFailedError
from bundler.model.platform import Platform
from bundler.oci.layer import Layer

_TIMEOUT: Final = 20.0  # seconds
_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True)
class ImageRoot:
    """An unpacked image: folders of ``folder`` that lie on each other, by name, the topmost first."""

    folder: Path
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Trial:
    """What this machine allows: a fault where it does not confine programs, and whether it stacks folders."""

    fault: str
    stacks: bool


def unavailable(platform: Platform) -> str:
    """Return why programs of an image of this platform cannot run here, empty where they can."""
    if platform.machine != os.uname().machine:
        return f"this machine's processor is {os.uname().machine}"
    return _tried(None).fault


def stacks(folder: Path) -> bool:
    """Tell whether an image may lie in several folders on the disk of ``folder``.

    Kernels before Linux 5.11 do not let users stack folders, and some file systems cannot be stacked.
    """
    return _tried(folder).stacks


@functools.cache
def _tried(folder: Path | None) -> _Trial:
    with tempfile.TemporaryDirectory(prefix="bundler-trial-", dir=folder) as name:
        for path in view.FOLDERS:
            Path(name, "root", path.lstrip("/")).mkdir(parents=True)
        _give(Path(name, "root"))
        try:
            printed = _inside("child.trial", Path(name), ["root"], purpose="making namespaces", timeout=_TIMEOUT)
        except ToolFailedError as error:
            fault = f"this machine does not allow confining programs: {' '.join(error.details) or error}"
            return _Trial(fault, stacks=False)
    return _Trial("", stacks=child.STACKED in printed)


def unpack(layers: Sequence[Layer], store: BlobStore, folder: Path) -> None:
    """Unpack layers, the lowest first, into a folder (over what is there), without their owners.

    Raises:
        ToolFailedError: a layer cannot be unpacked, the disk is full.
    """
    rows = [
        [str(layer.descriptor.digest), str(store.path(layer.descriptor.digest)), layer.descriptor.media_type]
        for layer in layers
    ]
    _inside("unpack.unpack", folder, rows)


def run(
    root: ImageRoot, command: Sequence[str], environment: Mapping[str, str], *, purpose: str, timeout: float
) -> str:
    """Run a program in an unpacked image and return its standard output; ``environment`` is all that it gets.

    It cannot change the image: its writes are discarded when it ends.

    Raises:
        ToolFailedError: it failed, did not end in ``timeout`` seconds, or printed more than ``limits.OUTPUT`` bytes.
    """
    argument = [list(root.names), list(command), dict(environment), timeout]
    return _inside("child.execute", root.folder, argument, purpose=purpose, timeout=timeout)


def conversing(
    root: ImageRoot, command: Sequence[str], environment: Mapping[str, str], *, seconds: float
) -> process.Conversation:
    """Run a program in an unpacked image that the block asks and that answers, as ``run`` does.

    ``seconds`` of processor time are what it may take.
    """
    _give(root.folder)
    request = child.framed(str(root.folder), [list(root.names), list(command), dict(environment), seconds])
    return process.conversing(_child("child.execute"), environment=_ENVIRONMENT, cwd=Path("/"), first=request)


def _inside(
    function: str, folder: Path, argument: object, *, purpose: str = "unpacking an image", timeout: float | None = None
) -> str:
    _give(folder)
    return process.run(
        _child(function),
        purpose=purpose,
        stdin=child.framed(str(folder), argument),
        timeout=timeout,
        most_output=limits.OUTPUT,
    ).stdout


def _give(folder: Path) -> None:
    """Give a folder to the user that confined code has: another one where root runs this."""
    if os.geteuid() == 0:
        os.chown(folder, *inside.outside_ids())


def _child(function: str) -> list[str | Path]:
    module, _, name = function.partition(".")
    code = f"from bundler.effects.confinement import {module}; {module}.{name}()"
    return [sys.executable, "-I", "-c", code]

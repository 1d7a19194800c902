"""Run a program of an image on this machine: unpacked into a folder, confined to it, without a network."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bundler.effects import files, process
from bundler.effects.blobs import BlobStore
from bundler.effects.confinement import child, inside, limits, view
from bundler.errors import ToolFailedError
from bundler.model.platform import Platform
from bundler.oci.layer import Layer

_TIMEOUT: Final = 20.0  # seconds
_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


def unavailable(platform: Platform) -> str:
    """Return why programs of an image of this platform cannot run here, empty where they can."""
    if platform.machine != os.uname().machine:
        return f"this machine's processor is {os.uname().machine}"
    return _confinement_fault()


@functools.cache
def _confinement_fault() -> str:
    with tempfile.TemporaryDirectory(prefix="bundler-trial-") as name:
        for folder in view.FOLDERS:
            Path(name, folder.lstrip("/")).mkdir(parents=True)
        try:
            _inside("child.trial", Path(name), None, purpose="making namespaces", timeout=_TIMEOUT)
        except ToolFailedError as error:
            return f"this machine does not allow confining programs: {' '.join(error.details) or error}"
    return ""


@contextmanager
def unpacked(layers: Sequence[Layer], store: BlobStore) -> Iterator[Path]:
    """Unpack layers, the lowest first, into a temporary folder beside the cache, without their owners.

    It needs as much disk as the image has unpacked, until the block ends.

    Raises:
        ToolFailedError: a layer cannot be unpacked, the disk is full.
    """
    with files.explained(store.folder), store.temporary_folder() as root:
        rows = [
            [str(layer.descriptor.digest), str(store.path(layer.descriptor.digest)), layer.descriptor.media_type]
            for layer in layers
        ]
        _inside("unpack.unpack", root, rows)
        yield root


def run(root: Path, command: Sequence[str], environment: Mapping[str, str], *, purpose: str, timeout: float) -> str:
    """Run a program in an unpacked image and return its standard output; ``environment`` is all that it gets.

    It cannot change the image: its writes are discarded when it ends.

    Raises:
        ToolFailedError: it failed, did not end in ``timeout`` seconds, or printed more than ``limits.OUTPUT`` bytes.
    """
    return _inside("child.execute", root, [list(command), dict(environment), timeout], purpose=purpose, timeout=timeout)


def conversing(
    root: Path, command: Sequence[str], environment: Mapping[str, str], *, seconds: float
) -> process.Conversation:
    """Run a program in an unpacked image that the block asks and that answers, as ``run`` does.

    ``seconds`` of processor time are what it may take.
    """
    request = child.framed(str(root), [list(command), dict(environment), seconds])
    return process.conversing(_child("child.execute"), environment=_ENVIRONMENT, cwd=Path("/"), first=request)


def _inside(
    function: str, root: Path, argument: object, *, purpose: str = "unpacking an image", timeout: float | None = None
) -> str:
    if os.geteuid() == 0:  # who works in there is somebody else
        os.chown(root, *inside.outside_ids())
    return process.run(
        _child(function),
        purpose=purpose,
        stdin=child.framed(str(root), argument),
        timeout=timeout,
        most_output=limits.OUTPUT,
    ).stdout


def _child(function: str) -> list[str | Path]:
    module, _, name = function.partition(".")
    code = f"from bundler.effects.confinement import {module}; {module}.{name}()"
    return [sys.executable, "-I", "-c", code]

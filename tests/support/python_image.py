"""An image with the Python that runs the tests: where it is on this machine, with its standard library."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from bundler.effects.blobs import BlobStore
from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.oci.layer import Layer

EXECUTABLE = os.path.realpath(sys.executable)
_LIBRARY = re.compile(r"(/\S+) \(0x")
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "lib2to3", "__pycache__"}


def layer(store: BlobStore) -> Layer:
    """Put a layer with this Python into a store."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for path in sorted(_files()):
            archive.add(os.path.realpath(path), path.lstrip("/"), recursive=False)
        link = tarfile.TarInfo(str(Path(EXECUTABLE).parent / "python3").lstrip("/"))
        link.type, link.linkname = tarfile.SYMTYPE, Path(EXECUTABLE).name
        archive.addfile(link)
    with store.writing() as writer:
        writer.write(content.getbuffer())
    return Layer(Descriptor(media_types.OCI_LAYER, writer.digest, writer.size), writer.digest)


@cache
def _files() -> frozenset[str]:
    files = {EXECUTABLE, *_libraries(EXECUTABLE)}
    for path in _standard_library(Path(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix}))):
        files.add(str(path))
        if path.name.startswith(("_ctypes.", "_struct.")):
            files.update(_libraries(str(path)))
    return frozenset(files)


def _standard_library(folder: Path) -> Iterator[Path]:
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _LEFT_OUT and not name.startswith("config-")]
        yield from (Path(path, name) for name in names)


def _libraries(program: str) -> list[str]:
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return _LIBRARY.findall(linked)

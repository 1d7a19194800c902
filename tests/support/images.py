"""Real images made of a few files, as OCI layouts on disk; with ``program`` they even run, without any base."""

from __future__ import annotations

import io
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bundler.effects.blobs import BlobStore
from bundler.model import layout
from bundler.model.platform import Platform
from bundler.oci import image, mutate
from bundler.oci.filetree import File, FileTree
from bundler.oci.index import Index
from bundler.oci.layer import write_layer
from tests.support.programs import require

AMD64 = Platform("linux", "amd64")
_NAME = "org.opencontainers.image.ref.name"
_LIBRARY = re.compile(r"(/\S+) \(0x")


def program(name: str) -> Mapping[str, bytes]:
    """Return a program of this machine and the libraries that it loads: path in the image -> content."""
    found = Path(require(name))
    # Where the interpreter is asked for: every program names it as /lib*/ld-*, whatever /lib is here.
    linked = subprocess.run(["ldd", found], capture_output=True, text=True, check=True).stdout
    paths = [Path(path) for path in _LIBRARY.findall(linked)]
    return {f"bin/{name}": found.read_bytes()} | {str(path).removeprefix("/"): path.read_bytes() for path in paths}


def make_layout(
    folder: Path, reference: str, files: Mapping[str, bytes], platforms: Sequence[Platform] = (AMD64,)
) -> str:
    """Write an OCI layout of one image and return its name as skopeo takes it.

    The image has one layer of executable files (path without a leading ``/`` -> content) and, for several platforms,
    is an index of images that differ in nothing else.
    """
    store = BlobStore(folder)  # has its blobs where a layout has them
    tree = FileTree.of(_executable(path, content) for path, content in files.items()).with_parents()
    with store.writing() as writer:
        layer = write_layer(tree, writer, epoch=0, created_by="test")
    images = [mutate.append_layers(image.empty(platform), [layer]) for platform in platforms]
    for made in images:
        store.put(made.config_bytes())
        store.put(made.manifest_bytes())
    root = images[0].descriptor
    if len(images) > 1:
        index = Index(tuple(made.descriptor for made in images))
        store.put(index.to_bytes())
        root = index.descriptor
    named = Index((replace(root, annotations={_NAME: reference}),))
    (folder / layout.INDEX).write_bytes(named.to_bytes())
    (folder / layout.OCI_LAYOUT).write_bytes(layout.LAYOUT_VERSION)
    return f"oci:{folder}:{reference}"


def _executable(path: str, content: bytes) -> File:
    return File(path, len(content), lambda: io.BytesIO(content), mode=0o755)


def push(source: str, target: str) -> None:
    """Copy an image, all its platforms, into a registry that speaks plain HTTP: ``HOST:PORT/NAME:TAG``."""
    command = [require("skopeo"), "copy", "--quiet", "--all", "--dest-tls-verify=false", source, f"docker://{target}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr

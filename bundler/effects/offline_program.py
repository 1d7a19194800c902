"""Build ``bundler.pyz``: the offline half and its pure-Python libraries in one file that any CPython runs."""

from __future__ import annotations

import ast
import importlib.metadata
import io
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

# Commands that work on the disconnected side; those whose module exists are taken.
COMMANDS: Final = (
    *("inspect", "diff", "verify", "approve", "push", "serve", "load"),
    *("preflight", "install", "status", "uninstall"),
)
# Distribution -> the package it brings. Their own dependencies are not needed for what is used of them.
VENDORED: Final = {"click": "click", "pyyaml": "yaml"}
DISTRIBUTION: Final = "feast-airgap-bundler"

_LICENCE_NAMES: Final = ("LICEN", "NOTICE", "COPYING")
_ROOT: Final = Path(__file__).resolve().parents[1]
_PACKAGE: Final = _ROOT.name
_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)  # the earliest time that zip can hold
_SHEBANG: Final = b"#!/usr/bin/env python3\n"
_MAIN: Final = b'''\
"""Start bundler; readable for old Pythons too, so that they can say what they lack."""

import sys

if sys.version_info < (3, 10):
    sys.exit("bundler.pyz needs Python 3.10 or newer, this is %d.%d; install.sh needs none." % sys.version_info[:2])

from bundler.__main__ import main

main()
'''


def build() -> bytes:
    """Return the program; the same sources give the same bytes on every machine.

    Members are stored: what deflate makes depends on the library, and a stored module starts faster.

    Raises:
        RuntimeError: a module of the offline half imports a library that is not vendored (a bug, held off by a test).
    """
    files = {"__main__.py": _MAIN, **_own(), **_resources()}
    for name, package in VENDORED.items():
        files |= _library(importlib.metadata.distribution(name), package)
    for name in (DISTRIBUTION, *VENDORED):
        files |= _licences(importlib.metadata.distribution(name))
    buffer = io.BytesIO(_SHEBANG)
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path, _EARLIEST)
            entry.create_system = 3  # Unix, also where it was built elsewhere
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, files[path])
    return buffer.getvalue()


def modules() -> Mapping[str, Path]:
    """Return the modules of the offline half and their files: all that its commands import, also when they run."""
    entries = [f"{_PACKAGE}.__main__", *(f"{_PACKAGE}.cli.{command}" for command in COMMANDS)]
    files: dict[str, Path] = {}
    waiting = [name for name in entries if _file(name)]
    while waiting:
        name = waiting.pop()
        file = _file(name)
        if file is None or name in files:
            continue
        files[name] = file
        waiting += [name.rpartition(".")[0], *_imports(file, name)]
    return files


def _own() -> Mapping[str, bytes]:
    return {f"{_PACKAGE}/{file.relative_to(_ROOT)}": file.read_bytes() for file in modules().values()}


def _resources() -> Mapping[str, bytes]:
    folder = _ROOT / "resources"
    return {f"{_PACKAGE}/resources/{file.name}": file.read_bytes() for file in folder.iterdir() if file.is_file()}


def _file(name: str) -> Path | None:
    """Return the file of a module of this program; None for any other name."""
    names = name.split(".")
    if names[0] != _PACKAGE:
        return None
    path = _ROOT.joinpath(*names[1:])
    candidates = (path / "__init__.py", path.with_name(path.name + ".py"))
    return next((file for file in candidates if file.is_file()), None)


def _imports(file: Path, module: str) -> Iterator[str]:
    for name in _imported_names(ast.parse(file.read_bytes())):
        top = name.partition(".")[0]
        if top not in {_PACKAGE, *VENDORED.values(), *sys.stdlib_module_names}:
            raise RuntimeError(f"{module} belongs to the offline half and imports {name}, which is not vendored")
        if top == _PACKAGE:
            yield name


def _imported_names(tree: ast.AST) -> Iterator[str]:
    """Yield every name that is imported anywhere but for type checking; ``from a import b`` yields a and a.b."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(origin), names=names):
                yield origin
                yield from (f"{origin}.{alias.name}" for alias in names)
        yield from _imported_names(node)


def _library(distribution: importlib.metadata.Distribution, package: str) -> Mapping[str, bytes]:
    """Return a library's Python files."""
    files = {
        path.as_posix(): Path(str(path.locate())).read_bytes()
        for path in distribution.files or ()
        if path.parts[0] == package and path.suffix == ".py"
    }
    if f"{package}/__init__.py" not in files:
        raise RuntimeError(f"{distribution.name} is installed without its files; install it from a wheel")
    return files


def _licences(distribution: importlib.metadata.Distribution) -> Mapping[str, bytes]:
    label = f"{distribution.name.lower()}-{distribution.version}"
    files = {
        f"licenses/{label}/{path.name}": Path(str(path.locate())).read_bytes()
        for path in distribution.files or ()
        if path.parts[0].endswith(".dist-info") and path.name.upper().startswith(_LICENCE_NAMES)
    }
    if not files:
        raise RuntimeError(f"{label} is installed without its licence; install it from a wheel")
    return files

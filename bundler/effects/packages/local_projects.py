"""Build wheels of Python projects on this machine that a requirement file names by their folder, e.g. ``-e .``."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pathspec import GitIgnoreSpec
from uv import find_uv_bin

from bundler.effects import process
from bundler.effects.blobs import BlobStore
from bundler.effects.packages.index import PackageIndexes
from bundler.errors import LockError, ToolFailedError, ToolMissingError
from bundler.model.digest import Digest

# What a build leaves behind or never reads: it must neither change the fingerprint nor be copied.
_LEFT_OUT: Final = GitIgnoreSpec.from_lines(
    (
        ".git",
        ".venv/",
        "venv/",
        ".tox/",
        ".nox/",
        "__pycache__/",
        "*.py[co]",
        "*.egg-info/",
        "build/",
        "dist/",
        "node_modules/",
        ".*_cache/",
        ".ipynb_checkpoints/",
        "*.bundle.tar*",
        "bundle.lock",
    )
)
_TIMES: Final = "315532800"  # 1980-01-01, so that the same files are the same wheel
_TIMEOUT: Final = 1800.0  # seconds
_MOST_LINES: Final = 200


def fingerprint(folder: Path) -> Digest:
    """Return one digest over the files that a wheel of a project can be built from."""
    state = hashlib.sha256()
    for path in _files(folder):
        with path.open("rb") as stream:
            state.update(f"{path.relative_to(folder).as_posix()}\0{Digest.of_stream(stream).hex}\n".encode())
    return Digest(state.hexdigest())


@contextmanager
def built(folders: Sequence[tuple[Path, str]]) -> Iterator[tuple[Path, ...]]:
    """Build a wheel of each project (its folder, and the place that names it) from a copy, for the time of the block.

    Raises:
        LockError: one cannot be built; what its build said is the details.
    """
    with tempfile.TemporaryDirectory(prefix="bundler-projects-") as name:
        yield tuple(_built(folder, place, Path(name, str(number))) for number, (folder, place) in enumerate(folders))


def keep(wheels: Iterable[Path], store: BlobStore) -> None:
    """Bring built wheels into the store, by what is in them."""
    for wheel in wheels:
        store.put(wheel.read_bytes())


def _built(folder: Path, place: str, work: Path) -> Path:
    source, output = work / folder.name, work / "out"
    for path in _files(folder):
        target = source / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    try:
        uv = find_uv_bin()
    except FileNotFoundError as error:
        raise ToolMissingError("uv is not installed.", remedy="pip install uv") from error
    environment = {**PackageIndexes.of_this_host().for_uv(work), "SOURCE_DATE_EPOCH": _TIMES}
    command: list[str | Path] = [uv, "build", "--wheel", "--no-config", "--python", sys.executable]
    try:
        process.run(
            [*command, "--out-dir", output, source],
            purpose=f"building a wheel of {folder}",
            environment=environment,
            cwd=work,
            timeout=_TIMEOUT,
            most_lines=_MOST_LINES,
        )
    except ToolFailedError as error:
        raise LockError(
            f"{place}: no wheel can be built of {folder}.",
            remedy="Make 'pip wheel --no-deps .' work there, or keep a wheel in the folder 'wheels' beside the spec.",
            details=error.details,
        ) from error
    return next(output.glob("*.whl"))


def _files(folder: Path) -> Iterator[Path]:
    folders = [folder]
    files: list[Path] = []
    while folders:
        for path in folders.pop().iterdir():
            name = path.relative_to(folder).as_posix()
            if _LEFT_OUT.match_file(f"{name}/" if path.is_dir() else name):
                continue
            if path.is_dir() and not path.is_symlink():
                folders.append(path)
            elif path.is_file():
                files.append(path)
    yield from sorted(files)

"""The example's bundle, built once by the real command line, for every end-to-end test."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import pytest

from tests.support import sharing

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "driver-stats"


# The system counts for a child also what its parent had before it became another program, and the largest of all
# children that ended before: a small process of its own starts the command and tells what that took (kB).
_LAUNCHER = """
import os, resource, sys
child = os.fork()
if not child:
    os.execv(sys.argv[2], sys.argv[2:])
_, status = os.waitpid(child, 0)
os.write(int(sys.argv[1]), str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss).encode())
sys.exit(os.waitstatus_to_exitcode(status) % 256)
"""


@dataclass(frozen=True)
class Ran:
    """What one run of the command line did; ``peak`` is in bytes, over it and every program it started."""

    status: int
    stdout: str
    stderr: str
    peak: int


def bundler(
    *arguments: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None, umask: int = 0o022
) -> Ran:
    """Run the real command line in a process of its own, and account for its memory."""
    reading, writing = os.pipe()
    command = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(writing), sys.executable, "-m", "bundler"]
    with subprocess.Popen(
        [*command, *map(str, arguments)],
        pass_fds=(writing,),
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        umask=umask,
    ) as process:
        assert process.stdout
        assert process.stderr
        os.close(writing)
        out, err = process.communicate()
    with os.fdopen(reading) as told:
        peak = int(told.read()) * 1024
    return Ran(process.returncode, out, err, peak)


@dataclass(frozen=True)
class Built:
    """A built example: its folder, the bundle, the cache it was built with, and the command's JSON."""

    project: Path
    bundle: Path
    cache: Path
    result: dict[str, object]
    ran: Ran

    @property
    def images(self) -> list[dict[str, str]]:
        """The images of the bundle, as the command's JSON has them."""
        return cast("list[dict[str, str]]", self.result["images"])


def copy_example(target: Path, name: str = "driver-stats") -> Path:
    """Copy an example without what earlier builds left in it."""
    return Path(
        shutil.copytree(EXAMPLE.parent / name, target / name, ignore=shutil.ignore_patterns("bundle.lock", "dist"))
    )


def build(project: Path, cache: Path, output: Path, *extra: str, umask: int = 0o022) -> Built:
    """Build a project with the command line; fail with its story where it fails."""
    asked: tuple[str | Path, ...] = (
        "-f",
        project / "bundle.yaml",
        "-o",
        output,
        "--cache-dir",
        cache,
        "--output",
        "json",
        *extra,
    )
    ran = bundler("build", *asked, umask=umask)
    assert ran.status == 0, ran.stderr
    result = json.loads(ran.stdout)
    return Built(project, Path(result["bundle"]), cache, result, ran)


def built_once(
    factory: pytest.TempPathFactory, name: str, cache: Path, prepare: Callable[[Path], Path], *extra: str
) -> Built:
    """Build the project that ``prepare`` makes in the folder it is given, once in this test run.

    Tests only read what it returns: other workers have the same files.
    """

    def make(folder: Path) -> dict[str, object]:
        project = prepare(folder)
        made = build(project, cache, folder / "dist", *extra)
        return {"project": str(project), "ran": asdict(made.ran)}

    told = sharing.once(factory, name, make)
    ran = Ran(**told["ran"])
    result = json.loads(ran.stdout)
    return Built(Path(told["project"]), Path(result["bundle"]), cache, result, ran)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Built:
    """The bundle of examples/driver-stats."""
    return built_once(tmp_path_factory, "driver-stats", cache, copy_example)


def seed(built: Built, cache: Path, *, layers_missing: int | None = None) -> None:
    """Give a cache the images that the one of ``built`` made of Debian's packages, as links that take no space.

    With ``layers_missing`` it also gets every wheel, and all layers of packages but so many of the largest.
    """
    known = built.cache / "records"
    records = [record for kind in ("debian", "base-contents", "feast-release") for record in (known / kind).iterdir()]
    if layers_missing is not None:
        layers = sorted((known / "wheel-layer").iterdir(), key=_layer_size, reverse=True)
        records += layers[layers_missing:]
    for record in records:
        target = cache / "records" / record.parent.name / record.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(record)
    blobs = cache / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    theirs = built.cache / "blobs" / "sha256"
    names = {blob.name for blob in theirs.iterdir()}
    for name in names if layers_missing is not None else names & _named(records, theirs):
        (blobs / name).symlink_to(theirs / name)


def _named(files: Sequence[Path], blobs: Path) -> set[str]:
    """Return the digests that small files name, and those that the manifests which they name do."""
    contents = [file.read_bytes() for file in files if file.is_file() and file.stat().st_size < 1 << 20]
    names = {name.decode() for content in contents for name in re.findall(rb"sha256:([0-9a-f]{64})", content)}
    return names | _named([blobs / name for name in names], blobs) if names else names


def _layer_size(record: Path) -> int:
    return int(json.loads(record.read_text())["value"]["descriptor"]["size"])


def run(command: Sequence[str | Path], **environment: str) -> str:
    """Run a program that must succeed and return its output."""
    done = subprocess.run(
        [str(part) for part in command], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout

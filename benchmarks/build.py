"""Measure building examples/driver-stats without an engine, in Docker, in Podman, beside skopeo + tar and docker build.

All ways start from the same base and the same downloaded wheels. A daemon's work is not in the figures of the client
that asks for it: rows of engines have wall time, and disk with what the engine holds; their processor time, memory and
bytes written are the client's alone.
"""

from __future__ import annotations

import argparse
import ensurepip
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import measure  # noqa: E402  (a script's own folder)

from bundler.effects.archive.reader import Bundle  # noqa: E402
from bundler.effects.blobs import BlobStore  # noqa: E402
from bundler.model import layout  # noqa: E402
from bundler.model.digest import Digest  # noqa: E402
from tests.support import engines  # noqa: E402

DOCKERFILE = """\
FROM base:1
COPY wheels /tmp/wheels
USER 0
RUN python3 /tmp/wheels/pip.whl/pip install --break-system-packages --no-index --no-deps /tmp/wheels/*-*.whl
COPY feature_repo /opt/feast/feature_repo
USER 1001:0
"""


def build(project: Path, cache: Path, output: Path, engine: str = "none") -> list[str | Path]:
    """Return the command that builds the bundle."""
    place: list[str | Path] = ["-f", project / "bundle.yaml", "-o", output, "--cache-dir", cache, "--engine", engine]
    return [sys.executable, "-m", "bundler", "build", "-q", *place]


def without_layers(cache: Path, target: Path) -> None:
    """Copy a cache by hard links, but for what was baked and tried out."""
    shutil.copytree(cache, target, copy_function=lambda one, other: Path(other).hardlink_to(one))
    for kind in ("wheel-layer", "repo-layer", "engine-layers", "imports"):
        shutil.rmtree(target / "records" / kind, ignore_errors=True)


def docker_context(project: Path, cache: Path, folder: Path) -> None:
    """Lay out what docker build needs: locked wheels, pip, the repo, a Dockerfile."""
    store = BlobStore(cache)
    lock = json.loads((project / "bundle.lock").read_text())
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    for row in lock["platforms"][0]["wheels"]:
        shutil.copy(store.path(Digest(row["sha256"])), wheels / row["filename"])
    bundled = Path(ensurepip.__file__).parent / "_bundled"
    shutil.copy(next(bundled.glob("pip-*.whl")), wheels / "pip.whl")
    shutil.copytree(project / "feature_repo", folder / "feature_repo")
    (folder / "Dockerfile").write_text(DOCKERFILE)


@dataclass(frozen=True)
class Bench:
    """What all ways start from: a folder to work in, the project, a full cache, the bundle built from them."""

    work: Path
    project: Path
    cache: Path
    bundle: Path
    docker: engines.Engine
    environment: Mapping[str, str]
    storage: tuple[Path, ...]
    """Where the engines keep what they have."""

    def ways(self, number: int) -> Mapping[str, list[list[str | Path]]]:
        """Return the commands of each way, for one round."""
        out = self.work / f"out{number}"
        cold = [self.work / f"cold{number}-{place}" for place in range(3)]  # one finds nothing of the other
        for cache in cold:
            without_layers(self.cache, cache)
        program = self.docker.program
        options = ("-q", "--no-cache", "--network", "none")
        return {
            "bundler build, every Python layer new": [build(self.project, cold[0], out / "a")],
            "bundler build --engine docker, the same": [build(self.project, cold[1], out / "d", "docker")],
            "bundler build --engine podman, the same": [build(self.project, cold[2], out / "p", "podman")],
            "bundler build, nothing new": [build(self.project, self.cache, out / "b")],
            "skopeo into an oci: layout, then tar (packing alone)": [
                ["mkdir", "-p", out],
                *(
                    ["skopeo", "copy", "-q", f"oci-archive:{self.bundle}:{name}", f"oci:{out}/layout:image{place}"]
                    for place, name in enumerate(references(self.bundle))
                ),
                ["tar", "-cf", out / "layout.tar", "-C", out / "layout", "."],
            ],
            "docker build, docker save": [
                ["mkdir", "-p", out],
                [*program, "build", *options, "-t", "built:1", self.work / "context"],
                [*program, "save", "-o", out / "saved.tar", "built:1"],
            ],
        }

    def round(self, number: int) -> Mapping[str, measure.Measured]:
        """Measure each way once."""
        found = {}
        for name, commands in self.ways(number).items():
            found[name] = measure.run(commands, self.work, self.environment, self.storage)
            shutil.rmtree(self.work / f"out{number}")
        for cache in self.work.glob(f"cold{number}-*"):
            shutil.rmtree(cache)
        return found


def references(bundle: Path) -> list[str]:
    """Return the names of the images in a bundle."""
    with Bundle.open(bundle) as opened:
        return [image.layout_name for image in opened.manifest.images]


def import_base(bundle: Path, docker: engines.Engine, work: Path) -> None:
    """Give the engine the lowest layer of the bundle's feature server as ``base:1``."""
    with Bundle.open(bundle) as opened:
        server = json.loads(opened.read(layout.blob(opened.manifest.images[0].root.digest)))
        lowest = layout.blob(Digest.parse(server["layers"][0]["digest"]))
        with opened.open_member(lowest) as source, (work / "base.tar.gz").open("wb") as target:
            shutil.copyfileobj(source, target)
    done = engines.call([*docker.program, "import", "-c", "USER 1001:0", work / "base.tar.gz", "base:1"])
    if done.status:
        raise SystemExit(done.output)


def storage(docker: engines.Engine, settings: Path) -> tuple[Path, ...]:
    """Return the folders in which the two engines keep images and containers."""
    socket = Path(docker.program[-1].removeprefix("unix://"))
    named = re.search(r'graphroot = "([^"]+)"', (settings / "storage.conf").read_text())
    if named is None:
        raise SystemExit("storage.conf names no graphroot")
    return socket.parent / "data", Path(named[1])


def main() -> None:
    """Run all ways in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    measure.keep_byte_code()
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        tempfile.TemporaryDirectory(prefix="bench-podman-") as settings,
        engines.docker() as docker,
        engines.podman_home(Path(settings)) as podman,
    ):
        work = Path(name)
        project, cache = work / "driver-stats", work / "cache"
        shutil.copytree(ROOT / "examples/driver-stats", project, ignore=shutil.ignore_patterns("bundle.lock"))
        measure.run([build(project, cache, work / "first")], work)
        bundle = next((work / "first").iterdir())
        import_base(bundle, docker, work)
        docker_context(project, cache, work / "context")
        environment = {**podman, "DOCKER_BUILDKIT": "0", "DOCKER_HOST": docker.program[-1]}
        bench = Bench(work, project, cache, bundle, docker, environment, storage(docker, Path(settings)))
        results = [bench.round(number) for number in range(rounds)]
    print(measure.table({way: [result[way] for result in results] for way in results[0]}))


if __name__ == "__main__":
    main()

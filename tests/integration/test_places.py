"""The same bundle from any place: a small project, built by the real command line in other folders and environments."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from bundler.effects.archive import signing
from bundler.effects.archive.reader import Bundle
from bundler.model import layout
from tests.integration.package_index import PackageIndex
from tests.integration.test_lock import feast_sources
from tests.support import images, registries, small_project
from tests.support.same_bundle import assert_same

pytestmark = pytest.mark.integration
KEPT = ("PATH", "SSL_CERT_FILE")
# In front of the command: the project is mounted so that it cannot be written to, by root neither.
READ_ONLY = (
    *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c"),
    'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"',
)
# A module that every Python imports at its start: time goes on from another year.
CLOCK = """\
import time
began, real = time.time(), time.time
time.time = lambda: {seconds} + real() - began
"""


@dataclass(frozen=True)
class World:
    """An index and a registry that run, a project with its lock, and the bundle that was built of it."""

    project: Path
    bundle: Path
    index: PackageIndex


def build(
    spec: Path,
    output: Path,
    cache: Path,
    index: PackageIndex,
    *options: str,
    environment: Mapping[str, str] | None = None,
    before: tuple[str, ...] = (),
    umask: int = 0o022,
) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "bundler", "build", "-f", spec, "-o", output, "--cache-dir", cache]
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return subprocess.run(
        [*map(str, command), "--plain-http", "--output", "json", *options],
        env={
            **kept,
            "UV_DEFAULT_INDEX": index.url,
            "UV_NO_CACHE": "1",
            "SOURCE_DATE_EPOCH": "1700000000",
            **(environment or {}),
        },
        cwd="/",
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    served = {**small_project.packages(), "feast-0.61.0.tar.gz": feast_sources()}
    with registries.running(folder / "registry") as registry, PackageIndex(served).running() as index:
        base = f"{registry.address}/base:1"
        images.push(small_project.base_layout(folder / "layout"), base)
        spec = small_project.write(folder / "project", base, base)
        done = build(spec, folder / "dist", folder / "cache", index)
        assert done.returncode == 0, done.stderr
        yield World(spec.parent, Path(json.loads(done.stdout)["bundle"]), index)


def test_folders_and_environment_change_no_byte(world: World, tmp_path: Path) -> None:
    place = tmp_path / "Büro 3, ключ"
    project = shutil.copytree(world.project, place / "project")
    home, modules = place / "home", place / "modules"
    home.mkdir()
    modules.mkdir()
    (modules / "feast.py").write_text("raise SystemExit('a module of somebody else')\n")
    done = build(
        project / "bundle.yaml",
        place / "dist",
        place / "cache",
        world.index,
        "--locked",
        environment={
            "HOME": str(home),
            "NO_COLOR": "1",
            "TERM": "dumb",
            "PYTHONHASHSEED": "7",
            "PYTHONOPTIMIZE": "2",
            "PYTHONWARNINGS": "error",
            "PYTHONPATH": str(modules),
            "VIRTUAL_ENV": str(place / "venv"),
        },
        umask=0o077,
    )
    assert done.returncode == 0, done.stderr
    assert_same(Path(json.loads(done.stdout)["bundle"]), world.bundle)


def test_signed_images_change_no_byte_between_two_builds_and_are_in_the_checklist(world: World, tmp_path: Path) -> None:
    signing.generate(tmp_path / "a.key", tmp_path / "a.pub", None)
    options = ("--locked", "--sign-images", "--sign-key", str(tmp_path / "a.key"))
    cache, made = world.bundle.parents[1] / "cache", []
    for folder in ("one", "two"):
        done = build(world.project / "bundle.yaml", tmp_path / folder, cache, world.index, *options)
        assert done.returncode == 0, done.stderr
        made.append(Path(json.loads(done.stdout)["bundle"]))
    assert_same(made[0], made[1])
    with Bundle.open(made[0]) as bundle:
        (server,) = [image for image in bundle.manifest.images if image.role == "feature-server"]
        companions = {image.internal for image in bundle.manifest.images if image.role == "companion"}
        tag = f"{server.internal.rpartition(':')[0]}:sha256-{server.root.digest.hex}"
        assert companions == {tag, f"{tag}.sig"}
        report = json.loads(bundle.read(layout.CHECKLIST_JSON))["report"]
    findings = [finding for section in report["sections"] for finding in section["findings"]]
    (told,) = [finding["evidence"] for finding in findings if finding["check"] == "image-signatures"]
    assert told[1:] == [server.pinned]


@pytest.mark.parametrize("seconds", [1577836800, 2051222400], ids=["2020", "2035"])
def test_another_year_and_a_project_that_cannot_be_written_to_change_no_byte(
    world: World, tmp_path: Path, seconds: int
) -> None:
    (tmp_path / "sitecustomize.py").write_text(CLOCK.format(seconds=seconds))
    done = build(
        world.project / "bundle.yaml",
        tmp_path / "dist",
        tmp_path / "cache",
        world.index,
        "--locked",
        environment={"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)},
        before=(*READ_ONLY, str(world.project)),
    )
    assert done.returncode == 0, done.stderr
    assert_same(Path(json.loads(done.stdout)["bundle"]), world.bundle)

"""A bundle in volumes, read in place by everything that reads bundles: real registry, skopeo, shell, old Pythons."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundler.effects.archive.reader import Bundle
from bundler.errors import VerificationError
from bundler.model import layout, volumes
from bundler.model.digest import Digest
from bundler.model.progress import SilentProgress
from bundler.steps.build.pack import Packed
from bundler.steps.transport import push, push_by_skopeo
from tests.support import pushing, pythons, registries, sample_bundles
from tests.support.registries import RunningRegistry
from tests.support.sample_bundles import SampleLayer
from tests.support.verifier_program import check
from tests.unit.test_volumes import cut

pytestmark = pytest.mark.integration

NAME = "driver-stats-0.1.0.bundle.tar"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    made = cut(tmp_path_factory.mktemp("made"), 100_003)
    assert len(made.volumes) > 5
    return made


@pytest.fixture
def copied(made: Packed, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.path.parent, tmp_path / "copied"))


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with registries.running(tmp_path / "registry") as running:
        yield running


@pytest.mark.parametrize("pusher", [push, push_by_skopeo])
def test_images_are_pushed_out_of_volumes(made: Packed, registry: RunningRegistry, pusher: object) -> None:
    registries.require("skopeo")
    receipt = pusher.run(made.path, pushing.options(f"{registry.address}/site"), SilentProgress())  # type: ignore[attr-defined]
    expected = {image.root.digest for image in made.manifest.images}
    assert {image.digest for image in receipt.images} == expected
    with Bundle.open(made.path) as bundle:
        blobs = {path.removeprefix(layout.BLOBS) for path in bundle.members if path.startswith(layout.BLOBS)}
    assert registry.blobs() == blobs


def test_a_damaged_volume_is_named_and_nothing_is_tagged(tmp_path: Path, registry: RunningRegistry) -> None:
    layers = [SampleLayer.of(seed, 300_000) for seed in (1, 2)]
    images = {"team/app:1.0": sample_bundles.image(layers)}
    path = sample_bundles.write(tmp_path / "x.bundle.tar", images, volume_size=100_003)
    with Bundle.open(path) as bundle:
        blob = bundle.blob(Digest.of(layers[0].content))
    number, offset = divmod(blob.offset + blob.size // 2, 100_003)
    flip(tmp_path / volumes.name("x.bundle.tar", number + 1), offset)

    first, last = (volumes.name("x.bundle.tar", at // 100_003 + 1) for at in (blob.offset, blob.offset + blob.size))
    with pytest.raises(VerificationError, match=rf"of {first} to {last}\) is damaged"):
        push.run(tmp_path, pushing.options(f"{registry.address}/site"), SilentProgress())
    assert not registry.tags("site/team/app")


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as stream:
        before = os.pread(stream.fileno(), 1, offset)
        os.pwrite(stream.fileno(), bytes([before[0] ^ 1]), offset)


@pytest.fixture(scope="module")
def verifier(made: Packed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The verifier, taken out of the volumes as their reader would."""
    path = tmp_path_factory.mktemp("verifier") / layout.VERIFIER
    script = f"cat {NAME}.??? | tar -xOf - {layout.VERIFIER}"
    path.write_bytes(subprocess.run(["sh", "-c", script], cwd=made.path.parent, check=True, capture_output=True).stdout)
    return path


def test_the_bundles_own_verifier_reads_volumes_on_every_python(made: Packed, verifier: Path) -> None:
    every = sorted(made.path.parent.iterdir())
    for python in pythons.found().values():
        for named in ([made.path], [made.volumes[1]], every):
            status, said = check(verifier, *named, python=python)
            assert (status, said.count("ok ")) == (0, 2), (python, said)


def test_the_bundles_own_verifier_names_what_is_missing_short_or_damaged(
    made: Packed, verifier: Path, copied: Path
) -> None:
    second, third = (copied / path.name for path in made.volumes[1:3])
    flip(second, 50_000)
    assert check(verifier, copied / made.path.name)[0] == 6
    os.truncate(second, 50_000)
    assert f"{second.name}: cut off" in check(verifier, copied / made.path.name)[1]
    third.unlink()
    status, said = check(verifier, copied / made.path.name)
    assert status == 6
    assert f"{third.name}: missing" in said


def test_a_shell_checks_and_unpacks_volumes(made: Packed, tmp_path: Path) -> None:
    script = f"""
        sha256sum -c {volumes.checksums(NAME)}
        cat {NAME}.??? | tar -xf - -C "$1"
        sh "$1"/{layout.INSTALL_SCRIPT} verify
    """
    target = tmp_path / "unpacked"
    target.mkdir()
    done = subprocess.run(
        ["sh", "-ec", script, "sh", str(target)], cwd=made.path.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK") == len(made.volumes)


def test_the_program_split_makes_the_same_volumes_of_a_whole_bundle(made: Packed, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"".join(path.read_bytes() for path in made.volumes))
    command = ["split", "-b", "100003", "-a", "3", "--numeric-suffixes=1", NAME, f"{NAME}."]
    subprocess.run(command, cwd=tmp_path, check=True)
    for path in made.volumes:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    with Bundle.open(tmp_path / made.path.name) as bundle:
        assert len(bundle.volumes.files) == len(made.volumes)


def test_the_whole_can_be_verified_by_the_offline_program(made: Packed, tmp_path: Path) -> None:
    program = tmp_path / layout.OFFLINE_PROGRAM
    with Bundle.open(made.path) as bundle:
        program.write_bytes(bundle.read(layout.OFFLINE_PROGRAM))
    done = subprocess.run(
        [sys.executable, "-I", str(program), "verify", str(made.path.parent)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

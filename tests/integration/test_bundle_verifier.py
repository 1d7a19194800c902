"""The bundle's own verify.py: standard library only, any Python from 3.8, of the same mind as ``bundler verify``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.effects.archive.reader import Bundle
from bundler.model import layout
from bundler.model.progress import SilentProgress
from bundler.steps.build.pack import Packed
from bundler.steps.bundle import verify
from tests.support import pythons
from tests.support.registries import require
from tests.support.verifier_program import check
from tests.unit import packed

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    require("openssl")
    folder = tmp_path_factory.mktemp("keys")
    private, public = folder / "key.pem", folder / "key.pub"
    subprocess.run(["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    return private, public


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, keys: tuple[Path, Path]) -> Packed:
    return packed.bundle(tmp_path_factory.mktemp("bundle"), keys[0])


@pytest.fixture(scope="module")
def verifier(signed: Packed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The verifier as the bundle brings it."""
    path = tmp_path_factory.mktemp("verifier") / layout.VERIFIER
    with Bundle.open(signed.path) as bundle:
        path.write_bytes(bundle.read(layout.VERIFIER))
    return path


def unpack(bundle: Path, folder: Path) -> Path:
    folder.mkdir()
    subprocess.run(["tar", "-xf", bundle, "-C", folder], check=True)
    return folder


def test_it_accepts_a_bundle_and_its_unpacked_folder_on_every_python(
    verifier: Path, signed: Packed, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = unpack(signed.path, tmp_path / "unpacked")
    for python in pythons.found().values():
        for what in (signed.path, folder):
            status, said = check(verifier, what, "--key", keys[1], python=python)
            assert (status, said.count("ok ")) == (0, 3), (python, said)


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as stream:
        before = os.pread(stream.fileno(), 1, offset)
        os.pwrite(stream.fileno(), bytes([before[0] ^ 1]), offset)


def test_it_finds_what_bundler_verify_finds_in_a_damaged_tar(verifier: Path, signed: Packed, tmp_path: Path) -> None:
    with Bundle.open(signed.path) as bundle:
        members = dict(bundle.members)
    for member in members.values():
        if layout.is_signature(member.path):  # without a key nobody looks at it
            continue
        path = Path(shutil.copy(signed.path, tmp_path / "damaged.tar"))
        flip(path, member.offset + member.size // 2)
        assert verify.run(path, progress=SilentProgress()).failed
        status, said = check(verifier, path)
        assert status == 6
        assert member.path in said


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 600)


def longer(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"x")


def header(path: Path) -> None:
    with Bundle.open(path) as bundle:
        flip(path, bundle.member(layout.LOCK).offset - 500)


def padding(path: Path) -> None:
    with Bundle.open(path) as bundle:
        member = bundle.member(layout.LOCK)
    flip(path, member.offset + member.size + 1)


@pytest.mark.parametrize("damage", [cut, longer, header, padding])
def test_damage_outside_of_files_is_found_too(
    verifier: Path, signed: Packed, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = Path(shutil.copy(signed.path, tmp_path))
    damage(path)
    assert verify.run(path, progress=SilentProgress()).failed
    assert check(verifier, path)[0] == 6


def extra(folder: Path) -> None:
    (folder / "extra").write_text("hello")


def missing(folder: Path) -> None:
    (folder / layout.LOCK).unlink()


def altered(folder: Path) -> None:
    (folder / layout.LOCK).write_text("hello")


def link(folder: Path) -> None:
    content = (folder / layout.LOCK).read_bytes()
    (folder.parent / "elsewhere").write_bytes(content)
    missing(folder)
    (folder / layout.LOCK).symlink_to(folder.parent / "elsewhere")


def no_manifest(folder: Path) -> None:
    (folder / layout.MANIFEST).unlink()


def consistent_lie(folder: Path) -> None:
    """Alter a file and the checksums, but not what is signed."""
    altered(folder)
    lines = (folder / layout.CHECKSUMS).read_text().splitlines()
    new = subprocess.run(["sha256sum", layout.LOCK], cwd=folder, capture_output=True, text=True, check=True).stdout
    kept = [line for line in lines if not line.endswith(f"  {layout.LOCK}")]
    (folder / layout.CHECKSUMS).write_text("\n".join([*kept, new]))


FOLDER_FAULTS = [extra, missing, altered, link, no_manifest, consistent_lie]


@pytest.mark.parametrize("damage", FOLDER_FAULTS)
def test_faults_of_an_unpacked_folder_are_found_by_verifier_and_installer(
    verifier: Path, signed: Packed, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    folder = unpack(signed.path, tmp_path / "unpacked")
    damage(folder)
    assert check(verifier, folder)[0] == 6
    done = subprocess.run(["sh", folder / layout.INSTALL_SCRIPT, "verify"], capture_output=True, text=True, check=False)
    assert done.returncode == 6, done.stderr


def test_a_forged_manifest_is_found_by_the_signature_alone(
    verifier: Path, signed: Packed, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = unpack(signed.path, tmp_path / "unpacked")
    lock, manifest, sums = (folder / name for name in (layout.LOCK, layout.MANIFEST, layout.CHECKSUMS))

    def digest(path: Path) -> str:
        return subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout[:64]

    old_lock, old_manifest = digest(lock), digest(manifest)
    lock.write_bytes(b'{"format": 2}\n')  # as long as before
    manifest.write_text(manifest.read_text().replace(old_lock, digest(lock)))
    sums.write_text(sums.read_text().replace(old_lock, digest(lock)).replace(old_manifest, digest(manifest)))
    assert check(verifier, folder)[0] == 0
    status, said = check(verifier, folder, "--key", keys[1])
    assert status == 6
    assert "no signature fits the key" in said
    command = ["sh", str(folder / layout.INSTALL_SCRIPT), "verify"]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    with_key = {**os.environ, "PUBLIC_KEY": str(keys[1])}
    assert subprocess.run(command, check=False, capture_output=True, env=with_key).returncode == 6


def test_wrong_usage_and_a_missing_openssl_have_their_exit_codes(
    verifier: Path, signed: Packed, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    assert check(verifier)[0] == 2
    assert check(verifier, tmp_path / "none")[0] == 2
    done = subprocess.run(
        [sys.executable, verifier, signed.path, "--key", keys[1]], env={"PATH": ""}, capture_output=True, check=False
    )
    assert done.returncode == 4


def test_names_cannot_steer_the_terminal(verifier: Path, tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31mred\nok     all is well").write_text("x")
    status, said = check(verifier, tmp_path)
    assert status == 6
    assert "\x1b" not in said
    assert not [line for line in said.splitlines() if line.startswith("ok")]

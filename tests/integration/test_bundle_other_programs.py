"""What other people's programs make of a bundle: tar, sha256sum, openssl, skopeo, umoci."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bundler.effects.archive import openssl
from bundler.errors import UsageError
from bundler.model import layout
from bundler.model.findings import Status
from bundler.model.progress import SilentProgress
from bundler.steps.build.pack import Packed
from bundler.steps.bundle import verify
from tests.support.registries import require
from tests.unit import packed

pytestmark = pytest.mark.integration


def run(*command: str | Path, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    require(str(command[0]))
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key pair as openssl makes it: private, public."""
    folder = tmp_path_factory.mktemp("keys")
    private, public = folder / "key.pem", folder / "key.pub"
    run("openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", private)
    run("openssl", "pkey", "-in", private, "-pubout", "-out", public)
    return private, public


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, keys: tuple[Path, Path]) -> Packed:
    return packed.bundle(tmp_path_factory.mktemp("bundle"), keys[0])


@pytest.fixture
def unpacked(signed: Packed, tmp_path: Path) -> Path:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    run("tar", "-xf", signed.path, "-C", folder)
    return folder


def test_the_checksums_are_those_of_sha256sum(unpacked: Path) -> None:
    done = run("sha256sum", "--strict", "-c", layout.CHECKSUMS, cwd=unpacked)
    files = [str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()]
    uncovered = [path for path in files if path == layout.CHECKSUMS or layout.is_signature(path)]
    assert len(uncovered) == 3  # the checksums, and the signature at both of its places
    assert len(done.stdout.splitlines()) == len(files) - len(uncovered)


def test_openssl_accepts_the_signature_as_the_readme_says(unpacked: Path, keys: tuple[Path, Path]) -> None:
    command = ("openssl", "dgst", "-sha256", "-verify", keys[1], "-signature", layout.SIGNATURE, layout.MANIFEST)
    assert run(*command, cwd=unpacked).stdout.strip() == "Verified OK"
    manifest = unpacked / layout.MANIFEST
    manifest.write_bytes(manifest.read_bytes().replace(b"0.1.0", b"0.1.1"))
    assert run(*command, cwd=unpacked, check=False).returncode != 0


def test_verify_checks_the_signature_with_openssl(signed: Packed, keys: tuple[Path, Path]) -> None:
    require("openssl")
    report = verify.run(signed.path, progress=SilentProgress(), public_key=keys[1])
    finding = next(finding for finding in report.findings if finding.check == "signature")
    assert finding.status is Status.PASS
    assert not report.failed


def test_verify_refuses_the_signature_of_another_key(signed: Packed, tmp_path: Path) -> None:
    run("openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", tmp_path / "other")
    run("openssl", "pkey", "-in", tmp_path / "other", "-pubout", "-out", tmp_path / "other.pub")
    report = verify.run(signed.path, progress=SilentProgress(), public_key=tmp_path / "other.pub")
    assert [finding.title for finding in report.findings if finding.status is Status.FAIL] == [
        "The signature does not fit"
    ]


def test_a_key_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    require("openssl")
    (tmp_path / "text").write_text("hello")
    for wrong in (tmp_path / "none", tmp_path / "text"):
        with pytest.raises(UsageError, match=wrong.name):
            openssl.public_key(wrong)


def test_a_signature_of_garbage_is_refused(keys: tuple[Path, Path]) -> None:
    require("openssl")
    for garbage in (b"", b"garbage", b"\x30\x02\x01\x01"):
        assert openssl.check_signature(b"content", garbage, openssl.public_key(keys[1]))


def test_skopeo_reads_every_image_out_of_the_bundle_itself(signed: Packed) -> None:
    for image in signed.manifest.images:
        shown = json.loads(run("skopeo", "inspect", f"oci-archive:{signed.path}:{image.layout_name}").stdout)
        assert shown["Architecture"] == "amd64"
    # An index is what is named, not one of its images.
    raw = run("skopeo", "inspect", "--raw", f"oci-archive:{signed.path}:{signed.manifest.images[1].layout_name}").stdout
    assert len(json.loads(raw)["manifests"]) == 2


def test_skopeo_copies_an_image_with_all_platforms_and_its_digest(signed: Packed, tmp_path: Path) -> None:
    image = signed.manifest.images[1]
    source, target = f"oci-archive:{signed.path}:{image.layout_name}", f"dir:{tmp_path / 'out'}"
    run("skopeo", "copy", "--all", "--preserve-digests", "--digestfile", tmp_path / "digest", source, target)
    assert (tmp_path / "digest").read_text() == str(image.root.digest)


def test_umoci_unpacks_an_image_of_the_unpacked_bundle(signed: Packed, unpacked: Path, tmp_path: Path) -> None:
    image = signed.manifest.images[0]
    # umoci takes a tag without colons, so the entry is given a second, plain name.
    index = unpacked / layout.INDEX
    index.write_text(index.read_text().replace(image.layout_name, "server"))
    run("umoci", "unpack", "--rootless", "--image", f"{unpacked}:server", tmp_path / "root")
    assert (tmp_path / "root/rootfs/usr/bin/tool").is_file()

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from bundler.effects.archive.reader import Bundle
from bundler.effects.blobs import BlobStore
from bundler.errors import UsageError, VerificationError
from bundler.model import bundle_texts, layout
from bundler.model.digest import Digest
from bundler.model.progress import SilentProgress
from bundler.steps.build import pack
from bundler.steps.build.pack import ImageToPack, SigningKey
from tests.unit import packed


def test_a_bundle_holds_what_the_design_promises_in_its_order(tmp_path: Path) -> None:
    made = packed.bundle(tmp_path)
    with tarfile.open(made.path) as archive:
        names = archive.getnames()
    blobs = [name for name in names if name.startswith(layout.BLOBS)]
    # Two manifests and configs for the two platforms, an index, a manifest and a config, two layers.
    assert len(blobs) == 9
    assert names == [
        *("oci-layout", "index.json", "bundle.json", "SHA256SUMS", "README.md", "images.txt"),
        *("manifests/kustomization.yaml", "manifests/namespace.yaml", "sbom/image.json"),
        *("install.sh", "verify.py", "bundler.pyz", "bundle.lock"),
        *sorted(blobs),
    ]
    assert made.path.name == "driver-stats-0.1.0.bundle.tar"
    assert made.size == made.path.stat().st_size
    with Bundle.open(made.path) as bundle:
        assert made.digest == Digest.of(bundle.read(layout.MANIFEST))


def test_the_manifest_says_what_the_images_are(tmp_path: Path) -> None:
    made = packed.bundle(tmp_path)
    server, operator = made.manifest.images
    assert server.platforms == (packed.AMD64,)
    assert operator.platforms == (packed.AMD64, packed.ARM64)
    assert operator.source_digest == Digest.of(b"as the source has it")
    with Bundle.open(made.path) as bundle:
        assert bundle.manifest == made.manifest
        sizes = {entry.digest: entry.size for entry in made.manifest.files if entry.role == "blob"}
    assert server.size < operator.size < sum(sizes.values()) < server.size + operator.size  # a layer is shared


def test_the_shell_gets_the_images_as_lines(tmp_path: Path) -> None:
    made = packed.bundle(tmp_path)
    with Bundle.open(made.path) as bundle:
        lines = bundle.read(layout.IMAGES).decode().splitlines()
    server, operator = (image.root.digest for image in made.manifest.images)
    assert lines == [
        f"# {packed.REGISTRY}",
        f"{packed.REGISTRY}/driver-stats:0.1.0\t{server}\tdriver-stats:0.1.0",
        f"quay.io/feastdev/feast-operator:0.61.0\t{operator}\tfeastdev/feast-operator:0.61.0",
    ]


def test_an_image_without_a_tag_gets_one_from_its_digest(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    plan = packed.plan(store)
    root = plan.images[0].root
    untagged = ImageToPack(f"quay.io/a/b@{root.digest}", "extra", root, f"{packed.REGISTRY}/a/b@{root.digest}")
    manifest, _ = pack.members_of(replace(plan, images=(untagged,)), store)
    assert bundle_texts.image_list(manifest.images, plan.registry).endswith(f"\ta/b:sha256-{root.digest.short}\n")


def test_the_readme_shows_the_commands_of_the_other_side(tmp_path: Path) -> None:
    made = packed.bundle(tmp_path)
    with Bundle.open(made.path) as bundle:
        readme = bundle.read(layout.README).decode()
    assert f"python3 bundler.pyz push    {made.path.name} --registry {packed.REGISTRY}" in readme
    assert str(made.manifest.images[1].root.digest) in readme
    assert "{{" not in readme


def test_two_runs_make_the_same_bytes_wherever_they_run(tmp_path: Path) -> None:
    one, other = packed.bundle(tmp_path / "one"), packed.bundle(tmp_path / "another folder")
    assert one.path.read_bytes() == other.path.read_bytes()


def test_a_blob_that_the_cache_lacks_is_named_before_anything_is_written(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "cache")
    plan = packed.plan(store)
    layer = next(blob for blob in (store.folder / "sha256").iterdir() if blob.read_bytes()[:2] == b"\x1f\x8b")
    layer.unlink()
    with pytest.raises(VerificationError) as caught:
        pack.run(plan, tmp_path / "dist", store, progress=SilentProgress())
    assert any(layer.name in line for line in caught.value.details)
    assert not (tmp_path / "dist").exists()


def test_a_blob_that_rotted_in_the_cache_never_becomes_a_bundle(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "cache")
    plan = packed.plan(store)
    layer = next(blob for blob in (store.folder / "sha256").iterdir() if blob.read_bytes()[:2] == b"\x1f\x8b")
    content = layer.read_bytes()
    layer.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(VerificationError) as caught:
        pack.run(plan, tmp_path / "dist", store, progress=SilentProgress())
    assert any(f"{layer.name} is altered" in line for line in caught.value.details)
    assert not list((tmp_path / "dist").iterdir())


@pytest.mark.parametrize("path", ["bundle.json", "install.sh", "oci-layout"])
def test_a_document_cannot_take_the_place_of_what_is_made_here(tmp_path: Path, path: str) -> None:
    store = BlobStore(tmp_path)
    with pytest.raises(ValueError, match=path):
        pack.members_of(replace(packed.plan(store), documents={path: b""}), store)


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    plan = packed.plan(store)
    with pytest.raises(ValueError, match="the same name"):
        pack.members_of(replace(plan, images=(plan.images[0], plan.images[0])), store)


# Signing


def key_file(path: Path, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, password: bytes = b"") -> Path:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    path.chmod(0o600)
    return path


def test_a_signed_bundle_carries_a_signature_over_its_manifest(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    made = packed.bundle(tmp_path, key_file(tmp_path / "key.pem", key))
    with Bundle.open(made.path) as bundle:
        signature = bundle.read(layout.SIGNATURE)
        key.public_key().verify(signature, bundle.read(layout.MANIFEST), ec.ECDSA(hashes.SHA256()))


def test_signing_adds_signatures_and_changes_no_file(tmp_path: Path) -> None:
    key = key_file(tmp_path / "key.pem", ec.generate_private_key(ec.SECP256R1()))
    plain, signed = packed.bundle(tmp_path / "plain"), packed.bundle(tmp_path / "signed", key)
    again = packed.bundle(tmp_path / "again", key)
    assert again.digest == signed.digest
    with Bundle.open(plain.path) as one, Bundle.open(signed.path) as other:
        at_head, by_key = sorted(other.members.keys() - one.members.keys())
        assert at_head == layout.SIGNATURE
        assert layout.signer(by_key)
        assert other.read(at_head) == other.read(by_key)
        assert all(one.read(name) == other.read(name) for name in one.members)


def test_an_encrypted_key_opens_with_its_password_only(tmp_path: Path) -> None:
    key = key_file(tmp_path / "key.pem", ec.generate_private_key(ec.SECP256R1()), b"secret")
    store = BlobStore(tmp_path / "cache")
    plan = packed.plan(store)
    for wrong in (None, b"other"):
        with pytest.raises(UsageError, match="Cannot open"):
            pack.run(plan, tmp_path, store, progress=SilentProgress(), signing_key=SigningKey(key, wrong))
    made = pack.run(plan, tmp_path, store, progress=SilentProgress(), signing_key=SigningKey(key, b"secret"))
    with Bundle.open(made.path) as bundle:
        assert layout.SIGNATURE in bundle


def test_what_is_no_p256_key_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    others = (
        tmp_path / "none",
        tmp_path / "text",
        key_file(tmp_path / "p384", ec.generate_private_key(ec.SECP384R1())),
        key_file(tmp_path / "ed25519", ed25519.Ed25519PrivateKey.generate()),
    )
    for wrong in others:
        with pytest.raises(UsageError, match=wrong.name):
            packed.bundle(tmp_path / "out", wrong)
    assert not (tmp_path / "out" / "dist").exists()


def test_the_manifest_is_canonical_json_that_any_program_reads(tmp_path: Path) -> None:
    made = packed.bundle(tmp_path)
    with Bundle.open(made.path) as bundle:
        value = json.loads(bundle.read(layout.MANIFEST))
    assert value["format"] == 1
    assert {entry["role"] for entry in value["files"]} == {
        *("layout", "index", "readme", "images", "manifest", "sbom", "installer", "verifier", "program", "lock", "blob")
    }

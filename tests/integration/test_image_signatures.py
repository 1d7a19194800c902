"""``build --sign-images``: other programs verify what a registry holds after a push, and what ``serve`` offers."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bundler.effects.archive import signing
from bundler.effects.archive.reader import Bundle
from bundler.effects.blobs import BlobStore
from bundler.effects.registry_server.server import serving
from bundler.model import media_types
from bundler.model.digest import Digest
from bundler.model.progress import SilentProgress
from bundler.oci import index
from bundler.steps.build import image_signatures, pack, referrer_companions
from bundler.steps.build.pack import ImageToPack
from bundler.steps.bundle import verify
from bundler.steps.bundle.images import open_images
from bundler.steps.transport import push, serve
from tests.support import pushing, registries
from tests.support.command_line import called
from tests.support.programs import require
from tests.support.registries import RunningRegistry
from tests.unit import packed

pytestmark = pytest.mark.integration

ONE, MANY = "driver-stats", "team/kubectl"


@dataclass(frozen=True)
class Signed:
    """A bundle with signed images, and both halves of the key."""

    bundle: Path
    private: Path
    public: Path
    subjects: tuple[tuple[str, Digest], ...]
    """The repositories and digests that must be signed: an image, an index, and the two images in it."""


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    require("openssl")
    folder = tmp_path_factory.mktemp("signed")
    private, public = folder / "a.key", folder / "a.pub"
    signing.generate(private, public, None)
    signing.generate(folder / "other.key", folder / "other.pub", None)
    store = BlobStore(folder / "cache")
    plan = packed.plan(store)
    names = {ONE: plan.images[0].root, MANY: packed.multi_platform(store, {"bin/kubectl": b"kubectl"})}
    made = [
        ImageToPack(f"{packed.REGISTRY}/{name}:1", "kubectl", root, f"{packed.REGISTRY}/{name}:1", made_here=True)
        for name, root in names.items()
    ]
    images = (*made, plan.images[1])
    made_signatures = image_signatures.sign(images, signing.load_key(private), store)
    signatures = (*made_signatures.signatures, *referrer_companions.companions(made_signatures.referring, store))
    bundle = pack.run(
        replace(plan, images=(*images, *signatures)), folder / "dist", store, progress=SilentProgress()
    ).path
    inside = [(MANY, entry.digest) for entry in index.parse(store.read(names[MANY].digest)).manifests]
    assert len(inside) == 2
    return Signed(bundle, private, public, (*((name, root.digest) for name, root in names.items()), *inside))


@pytest.fixture(scope="module")
def registry(signed: Signed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with registries.running(tmp_path_factory.mktemp("registry")) as running:
        push.run(signed.bundle, pushing.options(f"{running.address}/site"), SilentProgress())
        yield running


def test_a_signature_is_a_companion_of_each_index_and_image_that_was_made_here(signed: Signed) -> None:
    with Bundle.open(signed.bundle) as bundle:
        listed = [image.internal for image in bundle.manifest.images if image.role == "companion"]
    names = [f"{packed.REGISTRY}/{name}:sha256-{digest.hex}" for name, digest in signed.subjects]
    assert listed == [*(f"{name}.sig" for name in names), *names]
    report = verify.run(signed.bundle, progress=SilentProgress())
    assert not report.failed, report


def check(repository: str, digest: Digest, key: Path, folder: Path) -> str:
    """Look for the signature of an image as cosign does, by skopeo and openssl alone; return what openssl says."""
    source = f"docker://{repository}:sha256-{digest.hex}.sig"
    subprocess.run([require("skopeo"), "copy", "--src-tls-verify=false", source, f"dir:{folder}"], check=True)
    (row,) = json.loads((folder / "manifest.json").read_text())["layers"]
    assert row["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
    payload = folder / row["digest"].removeprefix("sha256:")
    assert json.loads(payload.read_text())["critical"] == {
        "identity": {"docker-reference": f"{packed.REGISTRY}/{repository.partition('/')[2].partition('/')[2]}"},
        "image": {"docker-manifest-digest": str(digest)},
        "type": "cosign container image signature",
    }
    (folder / "der").write_bytes(base64.b64decode(row["annotations"]["dev.cosignproject.cosign/signature"]))
    command = ("openssl", "dgst", "-sha256", "-verify", key, "-signature", folder / "der", payload)
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()


def test_openssl_verifies_every_signature_that_the_registry_holds(
    signed: Signed, registry: RunningRegistry, tmp_path: Path
) -> None:
    for number, (name, digest) in enumerate(signed.subjects):
        repository, folder = f"{registry.address}/site/{name}", tmp_path / str(number)
        assert check(repository, digest, signed.public, folder) == "Verified OK"
        assert check(repository, digest, signed.public.with_name("other.pub"), folder) == "Verification failure"
    # What was mirrored has the signatures of its makers, here none.
    root = Digest.of(registry.manifest("site/feastdev/feast-operator", "0.61.0"))
    assert f"sha256-{root.hex}.sig" not in registry.tags("site/feastdev/feast-operator")


def test_openssl_verifies_every_sigstore_bundle_that_refers_to_an_image(
    signed: Signed, registry: RunningRegistry, tmp_path: Path
) -> None:
    for number, (name, digest) in enumerate(signed.subjects):
        (row,) = json.loads(registry.manifest(f"site/{name}", f"sha256-{digest.hex}"))["manifests"]
        assert row["artifactType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
        folder = tmp_path / str(number)
        source = f"docker://{registry.address}/site/{name}@{row['digest']}"
        subprocess.run([require("skopeo"), "copy", "--src-tls-verify=false", source, f"dir:{folder}"], check=True)
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["subject"]["digest"] == str(digest)
        kept = json.loads((folder / manifest["layers"][0]["digest"].removeprefix("sha256:")).read_text())
        payload = base64.b64decode(kept["dsseEnvelope"]["payload"])
        (folder / "der").write_bytes(base64.b64decode(kept["dsseEnvelope"]["signatures"][0]["sig"]))
        encoded = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
        command = ("openssl", "dgst", "-sha256", "-verify", signed.public, "-signature", folder / "der")
        assert subprocess.run(command, check=True, input=encoded, capture_output=True).stdout == b"Verified OK\n"
        assert json.loads(payload)["subject"] == [{"digest": {"sha256": digest.hex}}]


def test_openssl_verifies_what_a_served_bundle_offers(signed: Signed, tmp_path: Path) -> None:
    name, digest = signed.subjects[0]
    with Bundle.open(signed.bundle) as bundle, serving(serve.catalog(open_images(bundle)), serve.ANY_PORT) as server:
        assert check(f"{server.address}/feast/{name}", digest, signed.public, tmp_path) == "Verified OK"


def test_the_same_key_signs_with_the_same_bytes(signed: Signed, tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    root = packed.image(store, {"a": b"b"})
    name = f"{packed.REGISTRY}/{ONE}:1"
    image = ImageToPack(name, "feature-server", root, name, made_here=True)
    key = signing.load_key(signed.private)
    first, second = (image_signatures.sign((image,), key, store) for _ in range(2))
    assert first == second
    assert root.media_type == media_types.OCI_MANIFEST


def test_signing_images_needs_a_key(tmp_path: Path) -> None:
    ran = called("build", "-f", tmp_path / "bundle.yaml", "--sign-images")
    assert ran.status == 2
    assert "--sign-images needs --sign-key" in ran.output

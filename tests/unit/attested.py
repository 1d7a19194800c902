"""A feature server and an image of kubectl, made of little, with bills of materials and provenance."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

from bundler.effects.archive import signing
from bundler.effects.blobs import BlobStore
from bundler.model.digest import Digest
from bundler.model.lock import BundleLock, LockedPlatform, LockedWheel
from bundler.model.reference import ImageRef
from bundler.oci.image import Image
from bundler.oci.rootfs import BaseContents
from bundler.steps.build import attestations, image_signatures
from bundler.steps.build.attestations import Attestation, Attested
from bundler.steps.build.bake import BakedServer
from bundler.steps.build.bills import BuildInputs
from bundler.steps.build.pack import ImageToPack
from bundler.steps.lock import project
from bundler.steps.lock.lockfile import Gathered
from bundler.steps.sources.unpacked_base import UnpackedBase
from tests.unit import packed

EXAMPLE = Path(__file__).parents[2] / "examples/driver-stats/bundle.yaml"
DIGEST = str(Digest.of(b"x"))
STATUS = b"Package: kubernetes-client\nStatus: install ok installed\nVersion: 1.20.5\n"
COPYRIGHT = (
    b"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: Apache-2.0\n"
)


@dataclass(frozen=True)
class Example:
    """What was made: the images, and what is attested of them."""

    store: BlobStore
    images: tuple[ImageToPack, ...]
    attested: Attested


def wheel(metadata: str) -> bytes:
    """Return a wheel that holds its metadata alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("demo-1.0.dist-info/METADATA"), metadata)
    return buffer.getvalue()


def example(
    folder: Path,
    key: Path | None = None,
    *,
    attach: bool = True,
    builder: str = "urn:x:ci",
    sign_images: bool = False,
) -> Example:
    """Make the images and attest them; ``sign_images`` by the key."""
    store = BlobStore(folder)
    loaded = project.load(EXAMPLE)
    content = wheel("Name: demo\nVersion: 1.0\nLicense-Expression: MIT OR Apache-2.0\n")
    locked = LockedWheel(
        name="demo",
        version="1.0",
        filename="demo-1.0-py3-none-any.whl",
        size=len(content),
        sha256=store.put(content).hex,
    )
    row = LockedPlatform(
        platform="linux/amd64", python="3.11.2", glibc="2.36", base_digest=DIGEST, base_packages={}, wheels=(locked,)
    )
    lock = BundleLock(
        tool="bundler 0",
        created=packed.CREATED,
        spec=DIGEST,
        repo=DIGEST,
        compressor="gz",
        constraints="x",
        platforms=(row,),
        images=(),
    )
    root = packed.image(store, {"opt/feast/feature_repo/feature_store.yaml": b"project: x\n"})
    made = Image.from_blobs(root, store.read)
    contents = BaseContents(
        None,
        {"six": "1.16.0"},
        None,
        {},
        has_bash=False,
        os_release={"ID": "debian", "VERSION_CODENAME": "bookworm"},
        debian_packages={"libc6": "2.36-9"},
        python_licences={"six": "MIT"},
        debian_licences={"libc6": "GPL-2.0-only\nLGPL-2.1-or-later"},
    )
    server = f"{packed.REGISTRY}/driver-stats-feature-server:0.1.0"
    kubectl = f"{packed.REGISTRY}/kubectl:1.20.5"
    files = {"var/lib/dpkg/status": STATUS, "usr/share/doc/kubernetes-client/copyright": COPYRIGHT}
    images = (
        ImageToPack(server, "feature-server", root, server, made_here=True),
        ImageToPack(kubectl, "kubectl", packed.multi_platform(store, files), kubectl, made_here=True),
        packed.plan(store).images[1],
    )
    baked = BakedServer(None, loaded.repo, ImageRef.parse(server), {packed.AMD64: made})
    gathered = Gathered({packed.AMD64: UnpackedBase(made, contents)}, (), (), None)  # type: ignore[arg-type]
    inputs = BuildInputs(loaded, gathered, lock, (baked,), None, store)
    private = signing.load_key(key) if key else None
    signed = image_signatures.sign(images, private, store).referring if private and sign_images else {}
    how = Attestation(private, builder, attach, signed)
    return Example(store, images, attestations.make(inputs, images, how))

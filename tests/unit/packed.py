"""Small real images in a real cache, packed into a real bundle: what the tests of bundles start from."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from bundler.effects.blobs import BlobStore
from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.model.progress import SilentProgress
from bundler.oci import document
from bundler.oci.index import Index
from bundler.oci.manifest import ImageManifest
from bundler.steps.build import pack
from bundler.steps.build.pack import ImageToPack, Packed, PackPlan, SigningKey

CREATED = 1700000000
REGISTRY = "registry.example.internal:5000/feast"
DOCUMENTS = {
    "bundle.lock": b'{"format": 1}\n',
    "manifests/namespace.yaml": b"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: feast\n",
    "manifests/kustomization.yaml": b"kind: Kustomization\nresources:\n  - namespace.yaml\n",
    "sbom/image.json": b"{}\n",
}
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def layer(files: Mapping[str, bytes]) -> tuple[bytes, Digest]:
    """Return a gzipped layer and its diff id."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0), Digest.of(buffer.getvalue())


def image(store: BlobStore, *layers: Mapping[str, bytes], platform: Platform = AMD64) -> Descriptor:
    """Put an image into the cache."""
    made = [layer(files) for files in layers]
    config = document.canonical(
        {
            "architecture": platform.architecture,
            "os": platform.os,
            "config": {"User": "1001"},
            "rootfs": {"type": "layers", "diff_ids": [str(diff_id) for _, diff_id in made]},
        }
    )
    manifest = ImageManifest(
        Descriptor(media_types.OCI_CONFIG, store.put(config), len(config)),
        tuple(Descriptor(media_types.OCI_LAYER_GZIP, store.put(blob), len(blob)) for blob, _ in made),
    ).to_bytes()
    return Descriptor(media_types.OCI_MANIFEST, store.put(manifest), len(manifest), platform)


def multi_platform(store: BlobStore, files: Mapping[str, bytes]) -> Descriptor:
    """Put an image for two platforms into the cache."""
    index = Index(tuple(image(store, files, platform=platform) for platform in (AMD64, ARM64)))
    store.put(index.to_bytes())
    return index.descriptor


def plan(store: BlobStore) -> PackPlan:
    """Two images that share a layer; one of them for two platforms."""
    shared = {"usr/bin/tool": b"#!/bin/sh\necho tool\n" * 500}
    server = image(store, shared, {"opt/feast/feature_repo/feature_store.yaml": b"project: x\n"})
    return PackPlan(
        name="driver-stats",
        version="0.1.0",
        created=CREATED,
        tool="bundler test",
        registry=REGISTRY,
        images=(
            ImageToPack(f"{REGISTRY}/driver-stats:0.1.0", "feature-server", server, f"{REGISTRY}/driver-stats:0.1.0"),
            ImageToPack(
                "quay.io/feastdev/feast-operator:0.61.0",
                "operator",
                multi_platform(store, shared),
                f"{REGISTRY}/feastdev/feast-operator:0.61.0",
                Digest.of(b"as the source has it"),
            ),
        ),
        documents=DOCUMENTS,
    )


def bundle(folder: Path, key: Path | None = None, volume_size: int | None = None) -> Packed:
    """Pack the two images, in volumes where their size in bytes is given."""
    store = BlobStore(folder / "cache")
    signing_key = SigningKey(key) if key else None
    return pack.run(
        plan(store),
        folder / "dist",
        store,
        progress=SilentProgress(),
        signing_key=signing_key,
        volume_size=volume_size,
    )

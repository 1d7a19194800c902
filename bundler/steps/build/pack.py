"""Pack: images of the cache and rendered documents become one bundle, verified before it has its name."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bundler import resources
from bundler.effects import offline_program
from bundler.effects.archive import signing
from bundler.effects.archive import writer as archive_writer
from bundler.effects.archive.digests import Hashed
from bundler.effects.archive.reader import Bundle
from bundler.effects.archive.writer import NewFile
from bundler.effects.blobs import BlobStore
from bundler.errors import VerificationError
from bundler.model import bundle_texts, layout
from bundler.model.delta import BaseBundle
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.manifest import BundledImage, BundleManifest, FileEntry
from bundler.model.progress import Progress
from bundler.oci import bundle_index, graph
from bundler.render import bundle_readme
from bundler.steps.bundle import verify

_ROLES: Final = {
    layout.OCI_LAYOUT: "layout",
    layout.INDEX: "index",
    layout.IMAGES: "images",
    layout.README: "readme",
    layout.INSTALL_SCRIPT: "installer",
    layout.VERIFIER: "verifier",
    layout.OFFLINE_PROGRAM: "program",
    layout.LOCK: "lock",
    layout.CHECKLIST_HTML: "checklist",
    layout.CHECKLIST_JSON: "checklist",
    layout.CHECKLIST_MARKDOWN: "checklist",
}
_FOLDER_ROLES: Final = {
    layout.MANIFESTS: "manifest",
    layout.SBOM: "sbom",
    layout.PROVENANCE: "provenance",
    layout.BLOBS: "blob",
}


@dataclass(frozen=True)
class ImageToPack:
    """An image whose blobs are in the cache; see ``BundledImage`` for what the names mean.

    ``made_here`` tells that this build made it, and not another that it was mirrored from.
    """

    reference: str
    role: str
    root: Descriptor
    internal: str
    source_digest: Digest | None = None
    made_here: bool = False


@dataclass(frozen=True)
class PackPlan:
    """What shall be in a bundle.

    ``created`` is in seconds and the time of every file. ``registry`` is the HOST[:PORT][/PREFIX] that the manifests
    pull from. ``documents`` are the files that are not made here, by path in the bundle: manifests, bills of
    materials, checklists, the lock. ``base`` is what a delta leaves to another bundle.
    """

    name: str
    version: str
    created: int
    tool: str
    registry: str
    images: tuple[ImageToPack, ...]
    documents: Mapping[str, bytes] = field(default_factory=dict)
    base: BaseBundle | None = None


@dataclass(frozen=True)
class SigningKey:
    """A private key's file (PEM) and what opens it."""

    path: Path
    password: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Packed:
    """A finished bundle: its bytes, its file or first volume, and the digest of ``bundle.json``, which stands for all.

    So it is the same in one file and in volumes, and before and after it is signed; ``inspect`` and ``verify`` say it
    too.
    """

    path: Path
    size: int
    digest: Digest
    manifest: BundleManifest
    volumes: tuple[Path, ...] = ()


def run(
    plan: PackPlan,
    folder: Path,
    store: BlobStore,
    *,
    progress: Progress,
    signing_key: SigningKey | None = None,
    volume_size: int | None = None,
    described: Described | None = None,
) -> Packed:
    """Write the bundle into ``folder`` and verify what was written; only then it gets its name.

    ``volume_size`` is the most bytes of a file: a longer bundle goes into volumes. ``described`` is what ``describe``
    says of the plan's images, where the caller knows it already.

    Raises:
        UsageError: the signing key cannot be used, or volumes would be too many (found before anything is written).
        VerificationError: the cache lacks a blob, an image is malformed, or what was written is not what was meant.
        ToolFailedError: no space, no right, ...
    """
    key = signing.load_key(signing_key.path, signing_key.password) if signing_key else None
    manifest, members = members_of(plan, store, described)
    content = manifest.to_bytes()
    members = [
        *members,
        NewFile.of(layout.MANIFEST, content),
        NewFile.of(layout.CHECKSUMS, bundle_texts.checksums(manifest)),
    ]
    if key:
        # At the head for openssl and cosign, and at the end under its key's id, beside those that are added later.
        signature, signer = signing.sign(content, key), signing.public_key(key, "")
        members += [NewFile.of(path, signature) for path in (layout.SIGNATURE, layout.signature(signer.key_id))]

    def check(bundle: Bundle, hashed: Mapping[str, Hashed]) -> None:
        verify.require(bundle, progress=progress, hashed=hashed)

    written = archive_writer.write(
        folder / manifest.file_name,
        members,
        created=plan.created,
        check=check,
        progress=progress,
        volume_size=volume_size,
    )
    volumes = written.paths if volume_size else ()
    return Packed(written.paths[0], written.size, Digest.of(content), manifest, volumes)


def members_of(
    plan: PackPlan, store: BlobStore, described: Described | None = None
) -> tuple[BundleManifest, list[NewFile]]:
    """Return the manifest of a bundle and every file that it lists."""
    described = described or describe(plan.images, store)
    made_here = _made_here(plan, described.images)
    left_out = plan.base.blobs if plan.base else {}
    if clash := [path for path in plan.documents if path in made_here or layout.unlisted(path)]:
        raise ValueError(f"documents that a bundle makes itself: {sorted(clash)}")
    members = [NewFile.of(path, content) for path, content in {**plan.documents, **made_here}.items()]
    members += [
        NewFile(layout.blob(digest), size, store.path(digest))
        for digest, size in described.blobs.items()
        if digest not in left_out
    ]
    members.sort(key=lambda member: layout.order(member.path))
    files = tuple(FileEntry(member.path, role(member.path), member.size, _digest(member)) for member in members)
    manifest = BundleManifest(
        plan.name, plan.version, plan.tool, plan.created, described.images, files, plan.registry, plan.base
    )
    manifest.check()
    return manifest, members


def _digest(member: NewFile) -> Digest:
    if isinstance(member.content, bytes):
        return Digest.of(member.content)
    # A blob is not read here: that its bytes fit its name is verified in the written file.
    return Digest(member.path.removeprefix(layout.BLOBS))


@dataclass(frozen=True)
class Described:
    """Images as a bundle says them, every blob they need with its size in bytes, and which of these are layers."""

    images: tuple[BundledImage, ...]
    blobs: Mapping[Digest, int]
    layers: frozenset[Digest]


def describe(images_to_pack: Sequence[ImageToPack], store: BlobStore) -> Described:
    """Follow images through the cache; raise ``VerificationError`` naming all that is missing or malformed."""

    def read(descriptor: Descriptor) -> bytes:
        try:
            return store.read(descriptor.digest)
        except FileNotFoundError:
            raise FileNotFoundError(f"the cache lacks {descriptor.digest} ({descriptor.media_type})") from None

    images, blobs, layers, problems = [], dict[Digest, int](), set[Digest](), list[str]()
    for image in images_to_pack:
        below = graph.below(image.root, read)
        problems += [f"{image.reference}: {problem}" for problem in below.problems]
        blobs |= {blob.digest: blob.size for blob in below.blobs}
        layers |= below.layers
        images.append(
            BundledImage(
                image.reference,
                image.role,
                replace(image.root, annotations={}),
                tuple(sorted(below.platforms)),
                below.size,
                image.internal,
                image.source_digest if image.source_digest != image.root.digest else None,
            )
        )
    problems += [f"the cache lacks {digest}" for digest, size in blobs.items() if not store.has(digest, size)]
    if problems:
        raise VerificationError(
            "Images cannot be packed as they are in the cache.",
            remedy="Run the build again; if it fails again, delete the cache (--cache-dir).",
            details=tuple(dict.fromkeys(problems)),
        )
    return Described(tuple(images), blobs, frozenset(layers))


def _made_here(plan: PackPlan, images: tuple[BundledImage, ...]) -> Mapping[str, bytes]:
    return {
        layout.OCI_LAYOUT: layout.LAYOUT_VERSION,
        layout.INDEX: bundle_index.of(images).to_bytes(),
        layout.IMAGES: bundle_texts.image_list(images, plan.registry).encode(),
        layout.README: bundle_readme.render(plan.name, plan.version, plan.registry, images, plan.base).encode(),
        layout.INSTALL_SCRIPT: resources.read(layout.INSTALL_SCRIPT),
        layout.VERIFIER: resources.read(layout.VERIFIER),
        layout.OFFLINE_PROGRAM: _offline_program(),
    }


@functools.cache
def _offline_program() -> bytes:
    """Return the offline program; made once in a process, because finding its modules takes a second."""
    return offline_program.build()


def role(path: str) -> str:
    """Return what a file of a bundle is for."""
    folder = next((folder for folder in _FOLDER_ROLES if path.startswith(folder)), "")
    return _FOLDER_ROLES[folder] if folder else _ROLES.get(path, "document")

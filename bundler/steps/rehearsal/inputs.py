"""Where a rehearsal takes images and manifests from: a bundle, or a build before it packs one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from bundler.effects.archive.reader import Bundle
from bundler.effects.blobs import BlobStore
from bundler.errors import VerificationError
from bundler.kube.manifest_file import ManifestFile
from bundler.model import json_document, layout, limits
from bundler.model.digest import Digest
from bundler.model.manifest import BundledImage


class RehearsalInput(Protocol):
    """Images, blobs and manifests; ``manifests`` is path below ``manifests/`` -> file."""

    @property
    def title(self) -> str:
        """The title in the report."""

    @property
    def images(self) -> tuple[BundledImage, ...]:
        """Every image."""

    @property
    def manifests(self) -> Mapping[str, ManifestFile]:
        """Every Kubernetes manifest."""

    @property
    def operator_version(self) -> str:
        """The release of the operator that the manifests are for."""

    def open_blob(self, digest: Digest) -> BinaryIO:
        """Open a blob for reading."""


@dataclass(frozen=True)
class BundleInput:
    """A packed bundle, read in place."""

    bundle: Bundle

    @property
    def title(self) -> str:
        """Its file's name."""
        return self.bundle.path.name

    @property
    def images(self) -> tuple[BundledImage, ...]:
        """Every image of its manifest."""
        return self.bundle.manifest.images

    @property
    def manifests(self) -> Mapping[str, ManifestFile]:
        """Every Kubernetes manifest in it."""
        return {path: ManifestFile(path, text) for path, text in self.bundle.manifests().items()}

    @property
    def operator_version(self) -> str:
        """The release that its checklist names."""
        path = layout.CHECKLIST_JSON
        try:
            value = json_document.parse_object(self.bundle.read(path), path, size=limits.DOCUMENT_SIZE)
        except ValueError as error:
            remedy = "Copy the bundle again, then run: bundler verify BUNDLE"
            raise VerificationError(
                f"{path} in the bundle {self.bundle.path} cannot be read: {error}.", remedy=remedy
            ) from error
        return json_document.text(json_document.mapping(value.get("facts")).get("Operator")).partition(" ")[0]

    def open_blob(self, digest: Digest) -> BinaryIO:
        """Open a blob inside the bundle."""
        return self.bundle.open_member(layout.blob(digest))


@dataclass(frozen=True)
class BuildInput:
    """The results of a build: blobs in its blob store, manifests that are not written yet."""

    title: str
    images: tuple[BundledImage, ...]
    manifests: Mapping[str, ManifestFile]
    operator_version: str
    blobs: BlobStore

    def open_blob(self, digest: Digest) -> BinaryIO:
        """Open a blob of the blob store."""
        return self.blobs.open(digest)

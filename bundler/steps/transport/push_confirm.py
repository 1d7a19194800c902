"""Confirm a push: after the last change, the registry must have every tag, and give every blob that was not sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

from bundler.effects.registry import remote_blob
from bundler.errors import RegistryError
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.manifest import BundledImage
from bundler.oci.manifest import RawManifest
from bundler.steps.transport.push_blobs import BlobSender
from bundler.steps.transport.push_plan import ImagePlan
from bundler.steps.transport.push_work import PushWork

_NOT_KEPT = "See the registry's log and storage, then run the same command again with --force."


@dataclass(frozen=True)
class _BlobToConfirm:
    repository: str
    blob: Descriptor
    images: list[BundledImage] = field(default_factory=list)


@dataclass(frozen=True)
class _ManifestToConfirm:
    repository: str
    manifest: RawManifest
    reference: str | Digest
    images: tuple[BundledImage, ...]


class Confirmation:
    """Asks for what a registry said it has; what it has lost is sent."""

    def __init__(self, work: PushWork, sender: BlobSender) -> None:
        self._work = work
        self._sender = sender
        self._sent = frozenset(digest for _, digest in sender.sent.places)

    def run(self, images: Iterable[ImagePlan]) -> None:
        """Confirm every image that has not failed: all in one round, a second one only for what was lost."""
        alive = [image for image in images if not self._work.failures.of(image.named.opened.image)]
        blobs, below, roots = self._blobs(alive), _below(alive), _roots(alive)
        checks = [partial(self._is_held, blob) for blob in blobs]
        checks += [partial(self._is_there, manifest) for manifest in (*below, *roots)]
        with self._work.progress.task("Confirming", total=len(checks)) as task:
            held = self._work.each(checks, lambda check: check())
            task.advance(len(checks))
        lost = [content for content, is_held in zip((*blobs, *below, *roots), held, strict=True) if not is_held]
        self._work.each([content for content in lost if isinstance(content, _BlobToConfirm)], self._send_again)
        for manifests in (below, roots):
            self._work.each([content for content in manifests if content in lost], self._put_again)

    def _blobs(self, images: Iterable[ImagePlan]) -> tuple[_BlobToConfirm, ...]:
        """Return the blobs that were there, or mounted."""
        wanted: dict[tuple[str, Digest], _BlobToConfirm] = {}
        for image in images:
            repository = image.named.target.repository
            for blob in image.named.opened.blobs:
                key = (repository, blob.digest)
                if key not in self._sender.sent.places:
                    wanted.setdefault(key, _BlobToConfirm(repository, blob)).images.append(image.named.opened.image)
        return tuple(wanted.values())

    def _is_held(self, wanted: _BlobToConfirm) -> bool:
        repository, digest = self._work.repository(wanted.repository), wanted.blob.digest
        with self._work.failures.noting(wanted.images):
            if digest in self._sent:  # its bytes came a moment ago: only that it was mounted is in question
                return repository.has_blob(digest)
            return remote_blob.serves(repository, wanted.blob)
        return True  # that it is not known is noted

    def _is_there(self, wanted: _ManifestToConfirm) -> bool:
        with self._work.failures.noting(wanted.images):
            repository = self._work.repository(wanted.repository)
            return repository.find_manifest(wanted.reference) == wanted.manifest.descriptor.digest
        return True

    def _send_again(self, lost: _BlobToConfirm) -> None:
        repository = self._work.repository(lost.repository)
        with self._work.failures.noting(lost.images):
            self._sender.send_again(lost.repository, lost.blob.digest)
            if not remote_blob.serves(repository, lost.blob):
                raise RegistryError(
                    f"{repository.full_name} accepted the blob {lost.blob.digest}, and does not have it now.",
                    remedy=_NOT_KEPT,
                )

    def _put_again(self, lost: _ManifestToConfirm) -> None:
        repository, manifest = self._work.repository(lost.repository), lost.manifest
        with self._work.failures.noting(lost.images):
            # A registry that believes that it has a manifest may have stored nothing. As a blob it takes the bytes.
            self._sender.send_document(lost.repository, manifest.content)
            repository.put_manifest(lost.reference, manifest.content, manifest.descriptor.media_type)
            if (digest := repository.find_manifest(lost.reference)) != manifest.descriptor.digest:
                raise RegistryError(
                    f"{repository.full_name} has {digest or 'nothing'} under {lost.reference} after the push, "
                    f"and should have {manifest.descriptor.digest}.",
                    remedy="Another push may use this name, or a cache may be stale: run the command again.",
                )


def _below(images: Iterable[ImagePlan]) -> tuple[_ManifestToConfirm, ...]:
    return tuple(
        _ManifestToConfirm(image.named.target.repository, raw, raw.descriptor.digest, (image.named.opened.image,))
        for image in images
        for raw in image.named.opened.manifests[:-1]
    )


def _roots(images: Iterable[ImagePlan]) -> tuple[_ManifestToConfirm, ...]:
    return tuple(
        _ManifestToConfirm(
            image.named.target.repository,
            image.root,
            image.named.target.tag or image.root.descriptor.digest,
            (image.named.opened.image,),
        )
        for image in images
    )

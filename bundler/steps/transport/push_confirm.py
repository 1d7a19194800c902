"""Confirm a push: after the last change, the registry must have every tag, and give every blob that was not sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bundler.effects.registry import remote_blob
from bundler.errors import RegistryError
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.manifest import BundledImage
from bundler.model.reference import ImageRef
from bundler.oci.manifest import RawManifest
from bundler.steps.transport.push_blobs import BlobSender
from bundler.steps.transport.push_plan import ImagePlan
from bundler.steps.transport.push_work import PushWork

_NOT_KEPT = "See the registry's log and storage, then run the same command again with --force."


class Confirmation:
    """Asks for what a registry said it has; what it has lost is sent."""

    def __init__(self, work: PushWork, sender: BlobSender) -> None:
        self._work = work
        self._sender = sender

    def run(self, images: Iterable[ImagePlan]) -> None:
        """Confirm every image that has not failed."""
        alive = [image for image in images if not self._work.failures.of(image.named.opened.image)]
        wanted: dict[tuple[str, Digest], tuple[Descriptor, list[BundledImage]]] = {}
        for image in alive:
            repository = image.named.target.repository
            for blob in image.named.opened.blobs:
                if (repository, blob.digest) not in self._sender.sent.places:
                    wanted.setdefault((repository, blob.digest), (blob, []))[1].append(image.named.opened.image)
        blobs = [(repository, blob, asking) for (repository, _), (blob, asking) in wanted.items()]
        with self._work.progress.task("Confirming", total=len(blobs) + len(alive)) as task:
            self._work.each(blobs, self._blob)
            task.advance(len(blobs))
            self._work.each(alive, self._image)
            task.advance(len(alive))

    def _blob(self, item: tuple[str, Descriptor, Sequence[BundledImage]]) -> None:
        name, blob, images = item
        repository = self._work.repository(name)
        with self._work.failures.noting(images):
            if remote_blob.serves(repository, blob):
                return
            self._sender.send_again(name, blob.digest)
            if not remote_blob.serves(repository, blob):
                raise RegistryError(
                    f"{repository.full_name} took the blob {blob.digest}, and does not give it back.", remedy=_NOT_KEPT
                )

    def _image(self, image: ImagePlan) -> None:
        target = image.named.target
        with self._work.failures.noting((image.named.opened.image,)):
            for manifest in image.named.opened.manifests[:-1]:
                self._manifest(target, manifest, manifest.descriptor.digest)
            self._manifest(target, image.root, target.tag or image.root.descriptor.digest)

    def _manifest(self, target: ImageRef, manifest: RawManifest, reference: str | Digest) -> None:
        repository, digest = self._work.repository(target.repository), manifest.descriptor.digest
        if repository.find_manifest(reference) == digest:
            return
        # A registry that believes that it has a manifest may have stored nothing. As a blob it takes the bytes.
        self._sender.send_document(target.repository, manifest.content)
        repository.put_manifest(reference, manifest.content, manifest.descriptor.media_type)
        if (found := repository.find_manifest(reference)) != digest:
            raise RegistryError(
                f"{repository.full_name} has {found or 'nothing'} under {reference} after the push, "
                f"and should have {digest}.",
                remedy="Somebody else may push the same name, or a cache in between be stale: run it again.",
            )

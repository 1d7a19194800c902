"""Manifests on their way to a registry: children before their index, tags last, artifacts after images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from bundler.effects.registry.faults import RefusedError
from bundler.model import media_types
from bundler.model.digest import Digest
from bundler.oci import index as oci_index
from bundler.oci import manifest as oci_manifest
from bundler.oci.manifest import RawManifest
from bundler.steps.transport.push_blobs import BlobSender
from bundler.steps.transport.push_failures import is_artifact
from bundler.steps.transport.push_plan import ImagePlan
from bundler.steps.transport.push_work import PushWork

# How a registry says that something is lacking which it said that it has (distribution specification, Error Codes).
_LACKS = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"})


class ManifestPutter:
    """Puts the manifests of a push, once its blobs are there."""

    def __init__(self, work: PushWork, sender: BlobSender) -> None:
        self._work = work
        self._sender = sender

    def put(self, images: Iterable[ImagePlan]) -> None:
        """Put what is lacking of every image that has not failed; no image has to wait for an artifact."""
        images = tuple(images)
        for artifacts in (False, True):
            self._put_all([image for image in images if is_artifact(image.named.opened.image) is artifacts])

    def _put_all(self, images: Sequence[ImagePlan]) -> None:
        self._each_alive(images, self._put_below_root)
        self._each_alive(images, self.put_root)

    def _each_alive(self, images: Sequence[ImagePlan], work: Callable[[ImagePlan], None]) -> None:
        failures = self._work.failures

        def put_image(image: ImagePlan) -> None:
            with failures.noting((image.named.opened.image,)):
                work(image)

        self._work.each([image for image in images if not failures.of(image.named.opened.image)], put_image)

    def _put_below_root(self, image: ImagePlan) -> None:
        for manifest in image.missing:
            self._put(image, manifest, manifest.descriptor.digest)

    def put_root(self, image: ImagePlan) -> None:
        """Give an image its tag, unless the registry has it."""
        if image.tagged:
            return
        if image.merged and image.merged.config:
            self._sender.send_document(image.named.target.repository, image.merged.config)
        self._put(image, image.root, image.named.target.tag or image.root.descriptor.digest)

    def _put(self, image: ImagePlan, manifest: RawManifest, reference: str | Digest) -> None:
        repository = self._work.repository(image.named.target.repository)
        try:
            repository.put_manifest(reference, manifest.content, manifest.descriptor.media_type)
        except RefusedError as error:
            if not error.codes & _LACKS:
                raise
            self._send_again(image, manifest)
            repository.put_manifest(reference, manifest.content, manifest.descriptor.media_type)

    def _send_again(self, image: ImagePlan, manifest: RawManifest) -> None:
        """Send all that a manifest names: the registry said that it has it, and lost it in a garbage collection."""
        repository, opened, descriptor = image.named.target.repository, image.named.opened, manifest.descriptor
        if descriptor.media_type in media_types.INDEXES:
            children = {entry.digest for entry in oci_index.parse(manifest.content, descriptor.media_type).manifests}
            for child in opened.manifests:
                if child.descriptor.digest in children:
                    self._put(image, child, child.descriptor.digest)
            return
        image_manifest = oci_manifest.parse(manifest.content, descriptor.media_type)
        held = {blob.digest for blob in opened.blobs}
        for blob in (image_manifest.config, *image_manifest.layers):
            if blob.digest in held and (repository, blob.digest) not in self._sender.sent.places:
                self._sender.send_again(repository, blob.digest)

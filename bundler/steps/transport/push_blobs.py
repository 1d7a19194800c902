"""Blobs on their way to a registry: each is sent once, and mounted everywhere else."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass, field

from bundler.effects.archive.blob_content import BlobContent, BundledBlob, MemoryBlob
from bundler.effects.registry.meter import Meter
from bundler.effects.registry.remote_blob import RemoteBlob
from bundler.effects.registry.repository import Mounted, MountOutcome, Repository, UploadBegun
from bundler.effects.registry.upload import upload
from bundler.errors import RegistryError
from bundler.model.digest import Digest
from bundler.model.manifest import BundledImage
from bundler.model.progress import SilentProgress
from bundler.steps.transport.push_plan import BlobPlan, ImagePlan
from bundler.steps.transport.push_work import PushWork


@dataclass
class SentBlobs:
    """What was sent, and where it is since then; safe to share between threads."""

    count: int = 0
    mounted: int = 0
    size: int = 0
    places: set[tuple[str, Digest]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, repository: str, content: BlobContent) -> None:
        """Count a blob that was sent."""
        with self._lock:
            self.count += 1
            self.size += content.size
            self.places.add((repository, content.digest))

    def add_mounted(self) -> None:
        """Count a blob that the registry took over from another repository."""
        with self._lock:
            self.mounted += 1


class BlobSender:
    """Brings the blobs of a push to the repositories that lack them."""

    def __init__(self, work: PushWork, images: Iterable[ImagePlan]) -> None:
        self._work = work
        self._wanted = _wanted(images)
        self.sent = SentBlobs()

    def bring(self, blob: BlobPlan, meter: Meter) -> None:
        """Bring a blob of the bundle to every repository that lacks it: sent once, then mounted."""
        digest, source = blob.descriptor.digest, blob.present[0] if blob.present else None
        for target in blob.missing:
            with self._noting(target, digest):
                self._bring(BundledBlob.of(self._work.bundle, digest), target, source, meter)
                source = source or target

    def take_over(self, blob: BlobPlan) -> None:
        """Bring a blob that a delta leaves to its base bundle to where it lacks, from a repository that has it.

        A registry that does not mount it is read, and gets it sent from there.
        """
        source = Repository(self._work.session, blob.present[0])
        for target in blob.missing:
            with (
                self._noting(target, blob.descriptor.digest),
                SilentProgress().task("") as task,
                closing(RemoteBlob(source, blob.descriptor)) as content,
            ):
                self._bring(content, target, source.name, Meter(task))

    def send_again(self, repository: str, digest: Digest) -> None:
        """Send a blob that a registry says it has and has lost, as after a garbage collection.

        Raises:
            RegistryError: the registry refused, or a delta leaves the blob to another bundle.
        """
        if (base := self._work.bundle.manifest.base) and digest in base.blobs:
            raise RegistryError(
                f"{repository} has lost the blob {digest}, which this delta leaves to {base}.",
                remedy=f"Push {base} again with --force, then this delta.",
            )
        self._send(self._work.repository(repository), BundledBlob.of(self._work.bundle, digest))

    def send_document(self, repository: str, content: bytes) -> None:
        """Send a small blob that was made here."""
        self._send(self._work.repository(repository), MemoryBlob(content))

    def _bring(self, content: BlobContent, target: str, source: str | None, meter: Meter) -> None:
        repository = self._work.repository(target)
        outcome = _mount(repository, content.digest, source) if source else None
        if isinstance(outcome, Mounted):
            self.sent.add_mounted()
            return
        meter.note(f"{content.digest.short} to {target}")
        self._send(repository, content, meter, outcome.url if isinstance(outcome, UploadBegun) else None)

    def _send(
        self, repository: Repository, content: BlobContent, meter: Meter | None = None, begun: str | None = None
    ) -> None:
        with SilentProgress().task("") as task:
            upload(
                repository,
                content,
                journal=self._work.journal,
                meter=meter or Meter(task),
                begun=begun,
                chunk_size=self._work.options.chunk_size,
            )
        self.sent.add(repository.name, content)

    def _noting(self, repository: str, digest: Digest) -> AbstractContextManager[None]:
        return self._work.failures.noting(self._wanted[repository, digest])


def _wanted(images: Iterable[ImagePlan]) -> Mapping[tuple[str, Digest], list[BundledImage]]:
    """Return which images want a blob in a repository."""
    wanted: dict[tuple[str, Digest], list[BundledImage]] = {}
    for image in images:
        for blob in image.named.opened.blobs:
            key = (image.named.target.repository, blob.digest)
            wanted.setdefault(key, []).append(image.named.opened.image)
    return wanted


def _mount(repository: Repository, digest: Digest, source: str) -> MountOutcome:
    """Try to take a blob over; an upload that the registry began for a blob that is there all the same is cancelled."""
    outcome = repository.mount(digest, source)
    # Somebody else may have put it there, or the registry mounted it and answered as if it had not.
    if isinstance(outcome, UploadBegun) and repository.has_blob(digest):
        with suppress(RegistryError):
            repository.cancel_upload(outcome.url)
        return Mounted()
    return outcome

"""Push: from a bundle to a registry, straight out of the file; every byte once, nothing tagged before all is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bundler.effects import files
from bundler.effects.archive.blob_content import BundledBlob
from bundler.effects.archive.reader import Bundle
from bundler.effects.registry import parallel
from bundler.effects.registry.endpoint import Access, Destination
from bundler.effects.registry.faults import RefusedError
from bundler.effects.registry.journal import Journal
from bundler.effects.registry.meter import Meter
from bundler.effects.registry.repository import Mounted, MountOutcome, Repository, UploadBegun
from bundler.effects.registry.session import Session
from bundler.effects.registry.upload import CHUNK_SIZE, upload
from bundler.errors import RegistryError
from bundler.model import layout
from bundler.model.digest import Digest
from bundler.model.progress import Progress
from bundler.oci.manifest import RawManifest
from bundler.steps.bundle.images import check_metadata, choose, name, open_images
from bundler.steps.transport import push_plan
from bundler.steps.transport.push_plan import BlobPlan, ContentKind, ImagePlan, PushedImage, PushPlan, Question, Receipt

# As many as keep a registry near by busy. Where all begin together, all end together too, and the registry then brings
# everything to disk while nobody sends.
_UPLOADS_AT_FIRST = 3
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class PushOptions:
    """What ``bundler push`` was asked.

    ``only`` names images by their reference in the bundle or by the name they get; empty means all.
    ``journal_folder`` is where unfinished uploads are noted, so that a killed push goes on; None: they are not.
    ``chunk_size`` is the most bytes in one request.
    """

    destination: Destination
    access: Access = field(default_factory=Access)
    only: tuple[str, ...] = ()
    chunk_size: int = CHUNK_SIZE
    journal_folder: Path | None = None
    receipt_file: Path | None = None


def plan(path: Path, options: PushOptions, progress: Progress) -> PushPlan:
    """Say what a push would send, and what is there already; writes nothing anywhere.

    Raises:
        VerificationError: the bundle's metadata is damaged.
        UsageError: there is no such bundle, ``only`` names no image of it, or two images would get one name.
        RegistryError: the registry refuses or cannot be reached.
    """
    with Bundle.open(path) as bundle, closing(_session(options)) as session:
        return _Push(bundle, options, session, progress).plan()


def run(path: Path, options: PushOptions, progress: Progress) -> Receipt:
    """Push a bundle's images and return what happened.

    Blobs go first, then manifests (children before their index), tags last. Every blob that is sent is hashed on its
    way and left incomplete at the registry where it is damaged; at that point nothing was tagged.

    Raises:
        VerificationError: a blob is damaged; and what ``plan`` raises.
    """
    if options.receipt_file:
        files.require_writable(options.receipt_file)
    with Bundle.open(path) as bundle, closing(_session(options)) as session:
        receipt = _Push(bundle, options, session, progress).run()
    if options.receipt_file:
        files.write(options.receipt_file, receipt.to_bytes())
    return receipt


def _session(options: PushOptions) -> Session:
    return Session(options.access.endpoint(options.destination.host), options.access.connection)


@dataclass(frozen=True)
class _Outcome:
    sent: int = 0
    mounted: int = 0
    bytes_sent: int = 0


class _Push:
    def __init__(self, bundle: Bundle, options: PushOptions, session: Session, progress: Progress) -> None:
        self._bundle = bundle
        self._options = options
        self._session = session
        self._progress = progress
        self._journal = Journal(options.journal_folder)

    def plan(self) -> PushPlan:
        check_metadata(self._bundle)
        destination = self._options.destination
        images = choose(open_images(self._bundle), self._options.only)
        named = tuple(name(image, self._bundle.manifest.registry, destination) for image in images)
        self._session.check(*(self._repository(image.target.repository).scope for image in named[:1]))
        elsewhere = self._elsewhere()
        questions = push_plan.questions(named, elsewhere)
        own = {image.target.repository for image in named}
        with self._progress.task("Looking what is there", total=len(questions)) as task:
            meter = Meter(task)

            def ask(question: Question) -> bool:
                present = self._is_there(question, own=question.repository in own)
                meter.reached(repr(question), 1)
                return present

            answers = self._each(questions, ask)
        there = frozenset(question for question, present in zip(questions, answers, strict=True) if present)
        made = push_plan.make(named, there, destination, elsewhere)
        self._check_base(made, elsewhere)
        return made

    def _elsewhere(self) -> push_plan.Places:
        """Return the repositories that the base of a delta brought to this destination what the delta leaves out."""
        prefix = self._options.destination.prefix
        left_out = self._bundle.manifest.left_out.items()
        return {digest: "/".join(filter(None, (prefix, blob.repository))) for digest, blob in left_out}

    def _check_base(self, made: PushPlan, elsewhere: push_plan.Places) -> None:
        """See, before anything is sent, that the registry has what a delta leaves to another bundle."""
        base = self._bundle.manifest.base
        lacking = [blob.descriptor for blob in made.blobs if blob.descriptor.digest in elsewhere and not blob.present]
        if base and lacking:
            raise RegistryError(
                f"{made.destination} lacks {len(lacking)} blobs that this delta leaves to {base}; nothing was sent.",
                remedy=f"Push {base} there first ({layout.MANIFEST} {base.digest}), then this one.",
                details=tuple(f"{blob.digest}, {blob.size} bytes, of {elsewhere[blob.digest]}" for blob in lacking),
            )

    def _is_there(self, question: Question, *, own: bool) -> bool:
        if not own:  # where we need not write, and may not be let in
            with suppress(RefusedError):
                return Repository(self._session, question.repository).has_blob(question.digest)
            return False
        repository = self._repository(question.repository)
        if question.kind is ContentKind.BLOB:
            return repository.has_blob(question.digest)
        reference = question.tag if question.kind is ContentKind.TAG else question.digest
        return repository.find_manifest(reference) == question.digest

    def run(self) -> Receipt:
        plan = self.plan()
        self._journal.tidy()
        outcomes: tuple[_Outcome, ...] = ()
        left_out, missing = self._bundle.manifest.left_out, [blob for blob in plan.blobs if blob.missing]
        # What is not in the bundle comes first: where that fails, nothing was sent.
        taken = self._each([blob for blob in missing if blob.descriptor.digest in left_out], self._taken_over)
        if to_upload := [blob for blob in missing if blob.descriptor.digest not in left_out]:
            with self._progress.task("Pushing", total=plan.bytes_to_send, unit="bytes") as task:
                meter = Meter(task)
                outcomes = self._each(to_upload, lambda blob: self._blob(blob, meter), at_first=_UPLOADS_AT_FIRST)
        self._each(plan.images, self._below_the_root)
        self._each(plan.images, self._root)
        return Receipt(
            registry=str(plan.destination),
            images=tuple(_pushed(image) for image in plan.images),
            bytes_sent=sum(outcome.bytes_sent for outcome in outcomes),
            blobs_sent=sum(outcome.sent for outcome in outcomes),
            blobs_mounted=sum(outcome.mounted for outcome in (*taken, *outcomes)),
            bytes_present=plan.bytes_present,
            manifests_put=sum(len(image.manifests) for image in plan.images),
        )

    def _blob(self, blob: BlobPlan, meter: Meter) -> _Outcome:
        """Bring one blob to every repository that lacks it: sent once, then mounted from the first that has it."""
        content = BundledBlob.of(self._bundle, blob.descriptor.digest)
        source = blob.present[0] if blob.present else None
        sent = 0
        for target in blob.missing:
            repository = self._repository(target)
            outcome = _mount(repository, content.digest, source) if source else None
            if isinstance(outcome, Mounted):
                continue
            meter.note(f"{content.digest.short} to {target}")
            upload(
                repository,
                content,
                journal=self._journal,
                meter=meter,
                begun=outcome.url if isinstance(outcome, UploadBegun) else None,
                chunk_size=self._options.chunk_size,
            )
            sent += 1
            source = source or target
        return _Outcome(sent, len(blob.missing) - sent, sent * content.size)

    def _taken_over(self, blob: BlobPlan) -> _Outcome:
        """Bring a blob that the bundle does not hold to where it lacks, from a repository that has it."""
        digest, source = blob.descriptor.digest, blob.present[0]
        for target in blob.missing:
            repository = self._repository(target)
            outcome = _mount(repository, digest, source)
            if isinstance(outcome, Mounted):
                continue
            if isinstance(outcome, UploadBegun):
                with suppress(RegistryError):
                    repository.cancel_upload(outcome.url)
            raise RegistryError(
                f"The registry has {digest} in {source}, and does not mount it to {target}; nothing was sent.",
                remedy="Push a full bundle instead of the delta: build it without --base.",
            )
        return _Outcome(mounted=len(blob.missing))

    def _below_the_root(self, image: ImagePlan) -> None:
        for manifest in image.missing:
            self._put(image, manifest, manifest.descriptor.digest)

    def _root(self, image: ImagePlan) -> None:
        if not image.tagged:
            self._put(image, image.root, image.named.target.tag or image.root.descriptor.digest)

    def _put(self, image: ImagePlan, manifest: RawManifest, reference: str | Digest) -> None:
        repository = self._repository(image.named.target.repository)
        repository.put_manifest(reference, manifest.content, manifest.descriptor.media_type)

    def _repository(self, repository: str) -> Repository:
        return Repository(self._session, repository, write=True)

    def _each(
        self, items: Iterable[_Item], work: Callable[[_Item], _Result], *, at_first: int | None = None
    ) -> tuple[_Result, ...]:
        workers = self._options.access.connection.parallel
        return parallel.each(items, work, workers=workers, cancellation=self._session.cancellation, at_first=at_first)


def _mount(repository: Repository, digest: Digest, source: str) -> MountOutcome:
    """Try to take a blob over; an upload that the registry began for a blob that is there all the same is cancelled."""
    outcome = repository.mount(digest, source)
    # Somebody else may have put it there, or the registry mounted it and answered as if it had not.
    if isinstance(outcome, UploadBegun) and repository.has_blob(digest):
        with suppress(RegistryError):
            repository.cancel_upload(outcome.url)
        return Mounted()
    return outcome


def _pushed(image: ImagePlan) -> PushedImage:
    bundled, target = image.named.opened.image, image.named.target
    return PushedImage(
        bundled.reference, bundled.role, target.tagged, image.root.descriptor.digest, bool(image.manifests)
    )

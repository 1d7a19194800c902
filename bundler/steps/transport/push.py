"""Push: from a bundle to a registry, straight out of the file; every byte once, nothing tagged before all is there."""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from bundler.effects import files
from bundler.effects.archive.reader import Bundle
from bundler.effects.registry.faults import RefusedError
from bundler.effects.registry.journal import Journal
from bundler.effects.registry.meter import Meter
from bundler.effects.registry.repository import Repository
from bundler.effects.registry.session import Session
from bundler.errors import RegistryError
from bundler.model import layout
from bundler.model.digest import Digest
from bundler.model.progress import Progress
from bundler.model.trust import UNCHECKED, Trust
from bundler.steps.bundle import verify
from bundler.steps.bundle.images import (
    NamedImage,
    choose,
    name,
    open_each,
)
from bundler.steps.transport import companions, push_plan
from bundler.steps.transport.push_blobs import BlobSender
from bundler.steps.transport.push_confirm import Confirmation
from bundler.steps.transport.push_failures import Failures
from bundler.steps.transport.push_manifests import ManifestPutter
from bundler.steps.transport.push_options import PushOptions as PushOptions  # noqa: PLC0414  (callers take it from here)
from bundler.steps.transport.push_plan import ContentKind, ImagePlan, PushedImage, PushPlan, Question, Receipt
from bundler.steps.transport.push_work import PushWork

# As many as keep a registry near by busy. Where all begin together, all end together too, and the registry then brings
# everything to disk while nobody sends.
_UPLOADS_AT_FIRST = 3
_SMALL_BLOB = 4 << 20  # bytes; configs of signatures have hundreds


def plan(path: Path, options: PushOptions, progress: Progress, trust: Trust = UNCHECKED) -> PushPlan:
    """Say what a push would send, and what is there already; writes nothing anywhere.

    Raises:
        VerificationError: the bundle's metadata is damaged.
        UsageError: there is no such bundle, ``only`` names no image of it, or two images would get one name.
        RegistryError: the registry refuses or cannot be reached.
    """
    with Bundle.open(path, trust) as bundle, closing(_session(options, progress)) as session:
        return _Push(bundle, options, session, progress).plan()


def run(path: Path, options: PushOptions, progress: Progress, trust: Trust = UNCHECKED) -> Receipt:
    """Push a bundle's images and return what happened.

    Blobs go first, then manifests (children before their index), tags last. Every blob that is sent is hashed on its
    way and left incomplete at the registry where it is damaged; at that point nothing was tagged.

    Raises:
        VerificationError: a blob is damaged; and what ``plan`` raises.
    """
    if options.receipt_file:
        files.require_writable(options.receipt_file)
    with Bundle.open(path, trust) as bundle, closing(_session(options, progress)) as session:
        receipt = _Push(bundle, options, session, progress).run()
    if options.receipt_file:
        files.write(options.receipt_file, receipt.to_bytes())
    return receipt


def _session(options: PushOptions, progress: Progress) -> Session:
    endpoint = options.access.endpoint(options.destination.host)
    return Session(endpoint, options.access.connection, say=progress.say)


class _Push:
    def __init__(self, bundle: Bundle, options: PushOptions, session: Session, progress: Progress) -> None:
        self._bundle = bundle
        self._options = options
        self._session = session
        self._progress = progress
        self._failures = Failures(keep_going=options.keep_going)
        journal = Journal(options.journal_folder)
        self._work = PushWork(bundle, options, session, progress, journal, self._failures)

    def plan(self) -> PushPlan:
        verify.require_metadata(self._bundle)
        destination = self._options.destination
        images = choose(open_each(self._bundle, self._failures.noting), self._options.only)
        named = tuple(name(image, self._bundle.manifest.registry, destination) for image in images)
        self._session.check(*(self._work.repository(image.target.repository).scope for image in named[:1]))
        elsewhere = self._elsewhere()
        made = push_plan.make(named, self._at_registry(named, elsewhere), destination, elsewhere)
        self._check_base(made, elsewhere)
        planned = self._work.each(made.images, self._with_those_of_the_site)
        return replace(made, images=planned, failed=self._failures.all())

    def _at_registry(self, named: tuple[NamedImage, ...], elsewhere: push_plan.Places) -> frozenset[Question]:
        """Return what the registry has; with ``--force`` only what this bundle does not hold is asked for."""
        questions = push_plan.questions(named, elsewhere)
        if self._options.force:
            questions = tuple(
                question for question in questions if question.kind is ContentKind.BLOB and question.digest in elsewhere
            )
        own = {image.target.repository for image in named}
        with self._progress.task("Asking what the registry has", total=len(questions)) as task:
            meter = Meter(task)

            def ask(question: Question) -> bool:
                try:
                    held = self._is_there(question, own=question.repository in own)
                except RegistryError as error:
                    asking = push_plan.askers(named, question)
                    self._failures.note((image.opened.image for image in asking), error)
                    held = False
                meter.reached(repr(question), 1)
                return held

            answers = self._work.each(questions, ask)
        return frozenset(question for question, held in zip(questions, answers, strict=True) if held)

    def _elsewhere(self) -> push_plan.Places:
        """Return the repositories that the base of a delta brought to this destination what the delta leaves out."""
        destination = self._options.destination
        left_out = self._bundle.manifest.left_out.items()
        return {digest: destination.repository(blob.repository) for digest, blob in left_out}

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
        repository = self._work.repository(question.repository)
        if question.kind is ContentKind.BLOB:
            return repository.has_blob(question.digest)
        reference = question.tag if question.kind is ContentKind.TAG else question.digest
        return repository.find_manifest(reference) == question.digest

    def _with_those_of_the_site(self, image: ImagePlan) -> ImagePlan:
        """Return what to put where others may have added signatures under the same tag."""
        target, bundled = image.named.target, image.named.opened.image
        if image.tagged or not companions.may_be_shared(image.named) or self._failures.of(bundled):
            return image
        repository = self._work.repository(target.repository)
        try:
            if repository.find_manifest(target.tag or "") in (None, image.root.descriptor.digest):
                return image
            theirs = repository.manifest(target.tag or "")
            merged = companions.merge(image.named, theirs, lambda digest: _small_blob(repository, digest))
        except ValueError as error:
            self._failures.note(
                (bundled,),
                RegistryError(
                    f"The registry has other content than signatures under {target.tagged}: {error}.",
                    remedy="It was left as it is. Remove that tag, then run the same command again.",
                ),
            )
        except RegistryError as error:
            self._failures.note((bundled,), error)
        else:
            unchanged = merged.root.descriptor.digest == theirs.descriptor.digest
            return replace(image, merged=merged, tagged=unchanged and not self._options.force)
        return image

    def run(self) -> Receipt:
        plan = self.plan()
        self._work.journal.tidy()
        sender = BlobSender(self._work, plan.images)
        left_out, missing = self._bundle.manifest.left_out, [blob for blob in plan.blobs if blob.missing]
        # What is not in the bundle comes first: where that fails, nothing was sent.
        self._work.each([blob for blob in missing if blob.descriptor.digest in left_out], sender.take_over)
        if to_send := [blob for blob in missing if blob.descriptor.digest not in left_out]:
            with self._progress.task("Pushing", total=plan.bytes_to_send, unit="bytes") as task:
                meter = Meter(task)
                self._work.each(to_send, lambda blob: sender.bring(blob, meter), at_first=_UPLOADS_AT_FIRST)
        ManifestPutter(self._work, sender).put(plan.images)
        if missing or any(image.manifests for image in plan.images):  # else the plan has just asked for all of it
            Confirmation(self._work, sender).run(plan.images)
        pushed = [image for image in plan.images if not self._failures.of(image.named.opened.image)]
        return Receipt(
            registry=str(plan.destination),
            images=tuple(map(_pushed, pushed)),
            bytes_sent=sender.sent.size,
            blobs_sent=sender.sent.count,
            blobs_mounted=sender.sent.mounted,
            bytes_present=plan.bytes_present,
            manifests_put=sum(len(image.manifests) for image in pushed),
            failed=self._failures.all(),
        )


def _small_blob(repository: Repository, digest: Digest) -> bytes:
    """Return the config of a signature; raise ``ValueError`` where it is too large to be one."""
    with repository.open_blob(digest) as response:
        content = response.read(_SMALL_BLOB + 1)
    if len(content) > _SMALL_BLOB or Digest.of(content) != digest:
        raise ValueError(f"its config {digest} has other bytes, or too many")
    return content


def _pushed(image: ImagePlan) -> PushedImage:
    bundled, target = image.named.opened.image, image.named.target
    return PushedImage(
        bundled.reference, bundled.role, target.tagged, image.root.descriptor.digest, bool(image.manifests)
    )

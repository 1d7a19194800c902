"""Bring a project's lock: read it and check that it fits, or make it and write it beside the spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bundler.effects import files, operator_manifest
from bundler.effects.blobs import BlobStore
from bundler.effects.operator_manifest import OperatorRelease
from bundler.effects.packages import index
from bundler.effects.registry.endpoint import Access
from bundler.errors import LockError, SpecError, ToolFailedError
from bundler.feast.deployment import wiring
from bundler.feast.deployment.tenant import DeploymentImages
from bundler.feast.deployment.tenants import Baked
from bundler.feast.rules import store_addresses, supported
from bundler.model.digest import Digest
from bundler.model.lock import BundleLock, LockedImage, differences
from bundler.model.platform import Platform
from bundler.model.progress import Progress
from bundler.model.reference import ImageRef
from bundler.oci import relocation
from bundler.render import manifests, mirror_config
from bundler.steps.lock import project
from bundler.steps.lock import resolve as lock
from bundler.steps.lock.project import Project
from bundler.steps.lock.resolve import LockInputs
from bundler.steps.sources.gather import GatheredBases, GatheredImage, Gathering
from bundler.steps.sources.mirror import MirrorPlan
from bundler.steps.sources.unpacked_base import UnpackedBase


@dataclass(frozen=True)
class Gathered:
    """Everything of a project that comes from outside but Python packages: it is in the store."""

    bases: Mapping[Platform, UnpackedBase]
    base_images: tuple[LockedImage, ...]
    images: tuple[GatheredImage, ...]
    operator: OperatorRelease

    @property
    def locked_images(self) -> tuple[LockedImage, ...]:
        """The lock's entries of all images that are not baked, each once: the base may be mirrored as well."""
        by_reference = {image.reference: image for image in self.base_images}
        return tuple({**by_reference, **{image.reference: image.locked() for image in self.images}}.values())


@dataclass(frozen=True)
class LockRequest:
    """What ``bundler lock`` was asked; ``epoch`` in seconds is when it is made."""

    spec_file: Path
    epoch: int
    upgrade: bool = False
    upgrade_packages: tuple[str, ...] = ()
    access: Access = field(default_factory=Access)


@dataclass(frozen=True)
class WrittenLock:
    """Where a lock was written, and what moved against the one before: lines with ``-`` and ``+``."""

    path: Path
    lock: BundleLock
    changes: tuple[str, ...]


@dataclass(frozen=True)
class GatherJob:
    """What is to be gathered of a project that has passed the checks; each part is fetched when it is asked for."""

    gathering: Gathering
    operator: OperatorRelease

    def bases(self) -> GatheredBases:
        """Bring the base of each platform into the store."""
        return self.gathering.bases()

    def images(self) -> tuple[GatheredImage, ...]:
        """Bring every other image into the store."""
        return self.gathering.others(self.operator.images)

    def gathered(self, bases: GatheredBases, images: tuple[GatheredImage, ...]) -> Gathered:
        """Return both together with the operator's release."""
        return Gathered(bases.platforms, bases.locked, images, self.operator)


def gather_job(
    loaded: Project,
    pinned: BundleLock | None,
    store: BlobStore,
    progress: Progress,
    *,
    refresh: bool = False,
    reader: str = "bundler",
    access: Access | None = None,
) -> GatherJob:
    """Check a project and return what brings its images into the store, by the digests of a lock.

    Raises:
        SpecError: before anything is fetched, where the spec or its requirements cannot be met.
        ToolMissingError: before anything is fetched, where a program is missing that fetching needs.
    """
    if old := supported.too_old(loaded.spec.feast.version):
        progress.say(f"feast.version: {old}. A build refuses it: move the feature repo to a later release of Feast.")
    _ = loaded.requirements  # what reading them refuses need not wait for what is fetched
    gathering = Gathering(
        loaded.spec, store, progress, _digests(pinned), refresh=refresh, reader=reader, access=access or Access()
    )
    gathering.check()
    operator = operator_manifest.release(loaded.spec.operator, loaded.folder)
    _check(loaded, operator, gathering.references(operator.images))
    return GatherJob(gathering, operator)


def gathered(
    loaded: Project,
    pinned: BundleLock | None,
    store: BlobStore,
    progress: Progress,
    *,
    refresh: bool = False,
    access: Access | None = None,
) -> Gathered:
    """Check a project and bring all its images into the store; raises as ``gather_job`` and as fetching does."""
    job = gather_job(loaded, pinned, store, progress, refresh=refresh, access=access)
    return job.gathered(job.bases(), job.images())


def _check(loaded: Project, operator: OperatorRelease, mirrored: Sequence[str]) -> None:
    """Refuse now what would be refused once all is baked: render the manifests, for images that are not there yet.

    ``mirrored`` are references of registries: each must get a name of its own in the internal registry, and the files
    that lead to it paths that a bundle can have.
    """
    namespace = loaded.spec.deployment.namespace
    repos = (loaded.repo, *loaded.own.values())
    refused = [f"{repo.folder}/{line}" for repo in repos for line in store_addresses.refused(repo.config, namespace)]
    if refused:
        raise SpecError("Stores have addresses that pods cannot reach.", details=tuple(refused))
    later = f"{loaded.spec.registry.host}/later@sha256:{'0' * 64}"
    images = DeploymentImages(later, later, wiring.REPO_FOLDER)
    own = {name: Baked(repo.config, images) for name, repo in loaded.own.items()}
    manifests.render(loaded.spec, loaded.repo.config, images, operator.capabilities, own=own)
    moved = relocation.relocations([ImageRef.parse(name) for name in mirrored], loaded.spec.registry)
    mirror_config.check_paths(moved, loaded.spec.name)


def plan(
    loaded: Project, pinned: BundleLock | None, store: BlobStore, progress: Progress, access: Access | None = None
) -> MirrorPlan:
    """Say what ``gathered`` would fetch from registries, and how many bytes; fetches manifests only."""
    operator = operator_manifest.release(loaded.spec.operator, loaded.folder)
    gathering = Gathering(loaded.spec, store, progress, _digests(pinned), access=access or Access())
    _check(loaded, operator, gathering.references(operator.images))
    return gathering.plan(operator.images)


def _digests(pinned: BundleLock | None) -> Mapping[str, Digest]:
    """Return reference -> what its source called it when it was locked."""
    return {image.reference: Digest.parse(image.source_digest) for image in pinned.images} if pinned else {}


def write(request: LockRequest, store: BlobStore, progress: Progress) -> WrittenLock:
    """Resolve and write the lock, keeping the pins of the earlier lock unless newer ones are requested."""
    with index.trusting(request.access.tls.ca_certificates):
        return _write(request, store, progress)


def _write(request: LockRequest, store: BlobStore, progress: Progress) -> WrittenLock:
    loaded = project.load(request.spec_file)
    files.require_writable(loaded.lock_file)
    old = _earlier(loaded, tolerant=request.upgrade)
    pinned = None if request.upgrade else old
    inputs = gathered(loaded, pinned, store, progress, refresh=request.upgrade, access=request.access)
    upgrade = None if request.upgrade else frozenset(request.upgrade_packages)
    new = lock.run(_inputs(loaded, inputs, request.epoch, old, upgrade), store, progress)
    files.write(loaded.lock_file, new.to_text().encode())
    return WrittenLock(loaded.lock_file, new, differences(old, new) if old else ())


def _earlier(loaded: Project, *, tolerant: bool) -> BundleLock | None:
    try:
        return project.read_lock(loaded)
    except LockError:
        if tolerant:  # it will be replaced: nothing of it is kept
            return None
        raise


def fitting(
    loaded: Project,
    existing: BundleLock | None,
    inputs: Gathered,
    store: BlobStore,
    progress: Progress,
    *,
    epoch: int,
    locked: bool = False,
) -> BundleLock:
    """Return the existing lock if it fits what was found; make one where there is none.

    Where only files of a feature repo changed, nothing that was resolved depends on them: the lock gets the new
    fingerprint, unless ``locked`` says that it must fit as it is.

    Raises:
        LockError: it is stale, with the differences.
    """
    if existing is not None:
        stale = lock.stale(existing, _inputs(loaded, inputs, epoch, None, frozenset()))
        stale += _image_changes(existing.images, inputs.locked_images)
        if stale and not locked and all(line[2:].startswith("feature repo ") for line in stale):
            progress.say(f"The feature repo has changed and nothing else: {loaded.lock_file} gets its new fingerprint")
            renewed = existing.model_copy(update={"repo": str(loaded.fingerprint)})
            _write_where_allowed(loaded, renewed, progress)
            return renewed
        if stale:
            raise LockError(
                f"{loaded.lock_file} does not fit what would be built (- locked, + found).",
                remedy=f"Review the difference, then run: {loaded.lock_command}",
                details=stale,
            )
        return existing
    new = lock.run(_inputs(loaded, inputs, epoch, None, frozenset()), store, progress)
    _write_where_allowed(loaded, new, progress)
    return new


def _write_where_allowed(loaded: Project, new: BundleLock, progress: Progress) -> None:
    """Write a lock beside the spec, where this user may."""
    try:
        files.write(loaded.lock_file, new.to_text().encode())
    except ToolFailedError as error:  # the bundle holds it too
        progress.say(f"The lock is only in the bundle: {error.problem}")


def _inputs(
    loaded: Project, inputs: Gathered, epoch: int, old: BundleLock | None, upgrade: frozenset[str] | None
) -> LockInputs:
    return LockInputs(
        project=loaded,
        bases=inputs.bases,
        images=inputs.locked_images,
        now=epoch,
        old=old,
        upgrade=upgrade,
    )


def _image_changes(locked: tuple[LockedImage, ...], current: tuple[LockedImage, ...]) -> tuple[str, ...]:
    before, now = ({f"image {image.reference} {image.digest}" for image in images} for images in (locked, current))
    return (*(f"- {line}" for line in sorted(before - now)), *(f"+ {line}" for line in sorted(now - before)))

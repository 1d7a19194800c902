"""What a push will do and what it did, as values; pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from bundler.effects.registry.endpoint import Destination
from bundler.errors import UsageError
from bundler.model.descriptor import Descriptor, Json
from bundler.model.digest import Digest
from bundler.oci.manifest import RawManifest
from bundler.steps.bundle.images import NamedImage
from bundler.steps.transport.companions import Merged
from bundler.steps.transport.push_failures import FailedImage


class ContentKind(Enum):
    """What may be there already."""

    BLOB = "blob"
    MANIFEST = "manifest"
    TAG = "tag"


@dataclass(frozen=True)
class Question:
    """Whether a repository has this: a blob, a manifest by digest, or a tag that names that digest."""

    kind: ContentKind
    repository: str
    digest: Digest
    tag: str = ""


@dataclass(frozen=True)
class BlobPlan:
    """One blob, which repositories (also of a delta's base) have it, and which of those that need it do not."""

    descriptor: Descriptor
    present: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def bytes_to_send(self) -> int:
        """Bytes that must cross the network: none where another repository has the blob."""
        return self.descriptor.size if self.missing and not self.present else 0


@dataclass(frozen=True)
class ImagePlan:
    """One image: ``missing`` are manifests below the root, ``tagged`` tells whether the tag names the root already.

    ``merged`` is what signatures become together with those that the registry has.
    """

    named: NamedImage
    missing: tuple[RawManifest, ...]
    tagged: bool
    merged: Merged | None = None

    @property
    def root(self) -> RawManifest:
        """The manifest or index that the tag names."""
        return self.merged.root if self.merged else self.named.opened.manifests[-1]

    @property
    def manifests(self) -> tuple[RawManifest, ...]:
        """Everything to put."""
        return self.missing if self.tagged else (*self.missing, self.root)


@dataclass(frozen=True)
class PushPlan:
    """The whole push; blobs with the biggest first, so that the last ones to run are short.

    ``failed`` are images of which is known already that they cannot be pushed.
    """

    destination: Destination
    blobs: tuple[BlobPlan, ...]
    images: tuple[ImagePlan, ...]
    failed: tuple[FailedImage, ...] = ()

    @property
    def bytes_to_send(self) -> int:
        """Bytes of blobs that the registry lacks."""
        return sum(blob.bytes_to_send for blob in self.blobs)

    @property
    def bytes_present(self) -> int:
        """Bytes of blobs that the registry has, in one repository or another."""
        return sum(blob.descriptor.size for blob in self.blobs if blob.present)

    def to_json(self) -> dict[str, Json]:
        """Return the plan for ``--dry-run --output json``."""
        return {
            "registry": str(self.destination),
            "bytesToSend": self.bytes_to_send,
            "bytesPresent": self.bytes_present,
            "blobs": [
                {
                    "digest": str(blob.descriptor.digest),
                    "size": blob.descriptor.size,
                    "present": list(blob.present),
                    "missing": list(blob.missing),
                }
                for blob in self.blobs
            ],
            "images": [
                {
                    "image": image.named.opened.image.reference,
                    "reference": image.named.target.tagged,
                    "digest": str(image.root.descriptor.digest),
                    "present": not image.manifests,
                }
                for image in self.images
            ],
            "failed": [failed.to_json() for failed in self.failed],
        }


@dataclass(frozen=True)
class PushedImage:
    """An image that is at the registry; ``changed`` tells whether this push put a manifest of it, None: not known."""

    image: str
    role: str
    reference: str
    digest: Digest
    changed: bool | None

    def to_json(self) -> dict[str, Json]:
        """Return a row of the receipt."""
        return {
            "image": self.image,
            "role": self.role,
            "reference": self.reference,
            "digest": str(self.digest),
            "changed": self.changed,
        }


@dataclass(frozen=True)
class Receipt:
    """What a push did; sizes in bytes. Every one of ``images`` is complete at the registry, none of ``failed``.

    What skopeo does not tell is None.
    """

    registry: str
    images: tuple[PushedImage, ...]
    bytes_sent: int | None = None
    blobs_sent: int | None = None
    blobs_mounted: int | None = None
    bytes_present: int | None = None
    manifests_put: int | None = None
    failed: tuple[FailedImage, ...] = ()

    @property
    def unchanged(self) -> bool:
        """Whether everything is known to have been there before."""
        return (self.blobs_sent, self.blobs_mounted, self.manifests_put) == (0, 0, 0) and not self.failed

    def to_json(self) -> dict[str, Json]:
        """Return the receipt for ``--output json``."""
        return {
            "registry": self.registry,
            "unchanged": self.unchanged,
            "bytesSent": self.bytes_sent,
            "bytesPresent": self.bytes_present,
            "blobsSent": self.blobs_sent,
            "blobsMounted": self.blobs_mounted,
            "manifestsPut": self.manifests_put,
            "images": [image.to_json() for image in self.images],
            "failed": [failed.to_json() for failed in self.failed],
        }

    def to_bytes(self) -> bytes:
        """Return the receipt as a file."""
        return (json.dumps(self.to_json(), indent=2) + "\n").encode()


Places: TypeAlias = Mapping[Digest, str]
"""Where else a blob may be: digest -> repository, of what a delta leaves to its base."""
_NOWHERE: Final[Places] = {}


def questions(images: tuple[NamedImage, ...], elsewhere: Places = _NOWHERE) -> tuple[Question, ...]:
    """Return what must be known before a push, each once."""
    asked: dict[Question, None] = {}
    for named in images:
        repository, root = named.target.repository, named.opened.image.root.digest
        for blob in named.opened.blobs:
            asked[Question(ContentKind.BLOB, repository, blob.digest)] = None
            if blob.digest in elsewhere:
                asked[Question(ContentKind.BLOB, elsewhere[blob.digest], blob.digest)] = None
        for manifest in named.opened.manifests[:-1]:
            asked[Question(ContentKind.MANIFEST, repository, manifest.descriptor.digest)] = None
        asked[Question(ContentKind.TAG, repository, root, named.target.tag or "")] = None
    return tuple(asked)


def askers(images: tuple[NamedImage, ...], question: Question) -> tuple[NamedImage, ...]:
    """Return the images that a question is about."""
    in_repository = (named for named in images if named.target.repository == question.repository)
    match question.kind:
        case ContentKind.TAG:
            return tuple(named for named in in_repository if named.target.tag == question.tag)
        case ContentKind.MANIFEST:
            return tuple(
                named
                for named in in_repository
                if any(manifest.descriptor.digest == question.digest for manifest in named.opened.manifests)
            )
        case ContentKind.BLOB:
            return tuple(
                named for named in in_repository if any(blob.digest == question.digest for blob in named.opened.blobs)
            )


def make(
    images: tuple[NamedImage, ...],
    there: Collection[Question],
    destination: Destination,
    elsewhere: Places = _NOWHERE,
) -> PushPlan:
    """Plan a push from what is there.

    Raises:
        UsageError: two images would get one name.
    """
    _refuse_collisions(images)
    blobs = _blob_plans(images, there, elsewhere)
    return PushPlan(destination, blobs, tuple(_image_plan(image, there) for image in images))


def _refuse_collisions(images: tuple[NamedImage, ...]) -> None:
    owners: dict[str, NamedImage] = {}
    for named in images:
        other = owners.setdefault(named.target.tagged, named)
        if other.opened.image.root.digest != named.opened.image.root.digest:
            raise UsageError(
                f"{other.opened.image.reference} and {named.opened.image.reference} would both become "
                f"{named.target.tagged}.",
                remedy="Push one of them elsewhere with --only.",
            )


def _blob_plans(images: tuple[NamedImage, ...], there: Collection[Question], elsewhere: Places) -> tuple[BlobPlan, ...]:
    wanted: dict[Digest, tuple[Descriptor, dict[str, None]]] = {}
    for named in images:
        for blob in named.opened.blobs:
            wanted.setdefault(blob.digest, (blob, {}))[1][named.target.repository] = None

    def has(repository: str, digest: Digest) -> bool:
        return Question(ContentKind.BLOB, repository, digest) in there

    def everywhere(digest: Digest, repositories: Iterable[str]) -> Iterable[str]:
        return dict.fromkeys([*repositories, *([elsewhere[digest]] if digest in elsewhere else [])])

    plans = (
        BlobPlan(
            blob,
            tuple(repository for repository in everywhere(blob.digest, repositories) if has(repository, blob.digest)),
            tuple(repository for repository in repositories if not has(repository, blob.digest)),
        )
        for blob, repositories in wanted.values()
    )
    by_size: Callable[[BlobPlan], tuple[int, Digest]] = lambda plan: (-plan.descriptor.size, plan.descriptor.digest)  # noqa: E731
    return tuple(sorted(plans, key=by_size))


def _image_plan(named: NamedImage, there: Collection[Question]) -> ImagePlan:
    repository = named.target.repository
    root = named.opened.image.root.digest
    missing = tuple(
        manifest
        for manifest in named.opened.manifests[:-1]
        if Question(ContentKind.MANIFEST, repository, manifest.descriptor.digest) not in there
    )
    return ImagePlan(named, missing, Question(ContentKind.TAG, repository, root, named.target.tag or "") in there)

"""Mirror: every image that is not baked, from wherever it is, into the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bundler.effects.blobs import BlobStore
from bundler.effects.registry import mirrors
from bundler.effects.registry.endpoint import Access
from bundler.effects.registry.mirrors import Rule
from bundler.effects.registry.pull import PullSettings, pulling
from bundler.effects.registry.remote_image import RemoteImage
from bundler.errors import SpecError
from bundler.model.companions import CompanionPolicy, ImageWish
from bundler.model.descriptor import Descriptor, Json
from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.model.progress import Progress
from bundler.model.reference import ImageRef

if TYPE_CHECKING:
    from bundler.model.spec import Mirror  # a tenth of a second of pydantic that values of ours do not need


@dataclass(frozen=True)
class MirroredImage:
    """An image that is in the store.

    ``reference`` is as it was asked for, ``source_digest`` what its source calls it; ``root`` is another where an
    index lost platforms. ``companions`` are signatures and referrers, each under its tag in the same repository.
    """

    reference: str
    root: Descriptor
    source_digest: Digest
    companions: tuple[MirroredImage, ...] = ()


@dataclass(frozen=True)
class PlannedImage:
    """An image that is to be mirrored; sizes in bytes, ``missing`` those that the cache lacks.

    ``companions`` are signatures and other artifacts beside it; ``notes`` say which of them are left out, and why.
    """

    reference: str
    root: Digest
    source_digest: Digest
    size: int
    missing: int
    companions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """Return a row of the plan."""
        return {
            "reference": self.reference,
            "digest": str(self.root),
            "sourceDigest": str(self.source_digest),
            "size": self.size,
            "bytesToFetch": self.missing,
            "companions": list(self.companions),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class MirrorPlan:
    """What a mirror run would fetch; blobs that several images share are counted once in ``bytes_to_fetch``."""

    images: tuple[PlannedImage, ...]
    bytes_to_fetch: int

    def to_json(self) -> dict[str, Json]:
        """Return the plan for ``--dry-run --output json``."""
        return {"bytesToFetch": self.bytes_to_fetch, "images": [image.to_json() for image in self.images]}


@dataclass(frozen=True)
class MirrorOptions:
    """How images are read: for which platforms, through which mirrors, and which of them need something else."""

    platforms: tuple[Platform, ...]
    settings: PullSettings = field(default_factory=PullSettings)
    wishes: Mapping[str, ImageWish] = field(default_factory=dict)

    def wish(self, reference: str) -> ImageWish:
        """Return how one image is read."""
        return self.wishes.get(reference, ImageWish())


def options(
    platforms: Sequence[Platform],
    spec_mirrors: Sequence[Mirror] = (),
    access: Access | None = None,
    wishes: Mapping[str, ImageWish] | None = None,
) -> MirrorOptions:
    """Return the options of a spec; its mirrors come before those of the host's ``registries.conf``."""
    of_spec = mirrors.of_spec((mirror.source, mirror.location, mirror.insecure) for mirror in spec_mirrors)
    named = {rule.prefix for rule in of_spec}
    reached = access or Access()
    on_host = mirrors.of_host(reached.connection.environment)
    of_host: tuple[Rule, ...] = tuple(rule for rule in on_host if rule.prefix not in named)
    settings = PullSettings(
        (*of_spec, *of_host), tls=reached.tls, connection=reached.connection, plain_http=reached.plain_http
    )
    return MirrorOptions(tuple(platforms), settings, wishes or {})


def plan(references: Sequence[str], asked: MirrorOptions, store: BlobStore, progress: Progress) -> MirrorPlan:
    """Say what mirroring registry images would fetch: reads manifests only.

    Raises:
        SpecError: a reference is malformed, or an image lacks a platform.
        RegistryError: no source has an image.
    """
    with pulling(store, asked.settings, progress) as puller:
        images = [puller.resolve(_reference(text), asked.platforms, asked.wish(text)) for text in references]
        wanted = {blob.digest: blob for image in images for blob in image.all_blobs}
        rows = tuple(
            PlannedImage(
                text,
                image.root.digest,
                image.source_digest,
                image.size,
                puller.missing(image),
                tuple(companion.reference.tagged for companion in image.companions),
                image.notes,
            )
            for text, image in zip(references, images, strict=True)
        )
    total = sum(blob.size for blob in wanted.values() if not store.has(blob.digest, blob.size))
    return MirrorPlan(rows, total)


def run(
    references: Sequence[str], asked: MirrorOptions, store: BlobStore, progress: Progress
) -> tuple[MirroredImage, ...]:
    """Bring registry images into the store, the blobs of all of them in one queue; in the order of ``references``.

    Raises what ``plan`` raises, and ``VerificationError`` where a registry serves damaged bytes.
    """
    with pulling(store, asked.settings, progress) as puller:
        images = [puller.resolve(_reference(text), asked.platforms, asked.wish(text)) for text in references]
        puller.fetch(images)
    return tuple(_mirrored(text, image) for text, image in zip(references, images, strict=True))


def pull(
    source: str,
    platforms: Sequence[Platform],
    store: BlobStore,
    *,
    progress: Progress,
    mirrors: Sequence[Mirror] = (),
    reader: str = "bundler",
    access: Access | None = None,
    wish: ImageWish | None = None,
) -> MirroredImage:
    """Bring one image of any transport into the store: registries by our own client, everything else by skopeo.

    ``reader`` "skopeo" lets skopeo read registries, too: it honours the host's signature policy (policy.json).
    """
    from bundler.effects.skopeo import pull as skopeo  # noqa: PLC0415  (not needed where every image is in a registry)
    from bundler.effects.skopeo import source as skopeo_source  # noqa: PLC0415

    reference = skopeo_source.parse(source).reference
    if reference is not None and reader != "skopeo":
        asked = options(platforms, mirrors, access, {str(reference): wish} if wish else {})
        return replace(run([str(reference)], asked, store, progress)[0], reference=source)
    if wish and (wish.all_platforms or wish.companions is CompanionPolicy.REQUIRED):
        raise SpecError(
            f"skopeo, which reads {source}, brings no signatures and no platforms that were not asked for.",
            remedy="Leave out --reader skopeo; or 'companions: required' and 'platforms: all' at the image.",
        )
    pulled = skopeo.pull(source, platforms, store, progress=progress, mirrors=mirrors, access=access)
    return MirroredImage(source, pulled.root, pulled.source_digest)


def _reference(text: str) -> ImageRef:
    try:
        return ImageRef.parse(text)
    except ValueError as error:
        raise SpecError(f"{error}.", remedy="Correct it in the spec.") from error


def _mirrored(text: str, image: RemoteImage) -> MirroredImage:
    companions = tuple(_mirrored(companion.reference.tagged, companion) for companion in image.companions)
    return MirroredImage(text, image.root, image.source_digest, companions)

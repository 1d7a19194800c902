"""Gather: base images and every image that is not baked, made of Debian's packages or pulled, with what is in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from bundler.effects import base_image
from bundler.effects.blobs import BlobStore
from bundler.effects.debian import images as debian
from bundler.effects.debian.images import DebianRequest
from bundler.effects.registry.endpoint import Access
from bundler.effects.skopeo import program as skopeo_program
from bundler.effects.skopeo import source as skopeo_source
from bundler.errors import SpecError, ToolMissingError
from bundler.model import media_types
from bundler.model.companions import ImageWish
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.lock import LockedImage
from bundler.model.platform import Platform
from bundler.model.progress import Progress
from bundler.model.spec import BundleSpec
from bundler.oci import manifest
from bundler.oci.image import Image
from bundler.oci.index import Index
from bundler.steps.sources import mirror
from bundler.steps.sources.mirror import MirrorPlan
from bundler.steps.sources.unpacked_base import UnpackedBase

BASE = "base"
KUBECTL = "kubectl"
OPERATOR = "operator"
EXTRA = "extra"
COMPANION = "companion"
_RUN = frozenset({KUBECTL, OPERATOR})
_NO_TAG = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class GatheredImage:
    """An image that is in the store: ``reference`` is its source's name, or the repository and tag it is given here.

    ``baked`` tells that it was made here and has no source registry; ``source_digest`` is what the source calls it.
    """

    reference: str
    role: str
    root: Descriptor
    source_digest: Digest
    baked: bool = False

    def locked(self) -> LockedImage:
        """Return the entry of the lock."""
        return LockedImage(
            reference=self.reference,
            role=self.role,
            digest=str(self.root.digest),
            source_digest=str(self.source_digest),
            size=self.root.size,
        )


@dataclass(frozen=True)
class GatheredBases:
    """The base of each platform, and the lock's entry of the image that they are (none for Debian's packages)."""

    platforms: Mapping[Platform, UnpackedBase]
    locked: tuple[LockedImage, ...]


@dataclass(frozen=True)
class Gathering:
    """How to gather: for which spec, into which store, and what an earlier lock pinned (reference -> source digest).

    ``refresh`` makes images of Debian's packages again, of the packages that Debian has now. ``reader`` reads
    registries: "bundler" or "skopeo"; ``access`` says as whom, and whom to trust.
    """

    spec: BundleSpec
    store: BlobStore
    progress: Progress
    pinned: Mapping[str, Digest]
    refresh: bool = False
    reader: str = "bundler"
    access: Access = field(default_factory=Access)

    def check(self) -> None:
        """See, before anything is fetched, that the programs are here that fetching will need.

        Raises:
            ToolMissingError: it says all that is missing, and how to get it.
        """
        errors = [error for error in map(_missing, self._checks()) if error]
        if errors:
            raise ToolMissingError.of_all(tuple({error.problem: error for error in errors}.values()))

    def _checks(self) -> Iterator[Callable[[], None]]:
        base, kubectl = self.spec.base, self.spec.deployment.cron_job.kubectl
        for platform in self.spec.target_platforms:
            for request in (self._base_request(platform), self._kubectl_request(platform)):
                if request is not None:
                    yield partial(debian.check, request, self.store, refresh=self.refresh)
        named = (base.image, kubectl.image, *(extra.image for extra in self.spec.images))
        pulled = [name for name in named if name is not None]
        if (self.reader == "skopeo" and pulled) or not all(map(in_registry, pulled)):
            yield skopeo_program.check

    def bases(self) -> GatheredBases:
        """Return the base of each platform, what is in it, and where it came from.

        Raises:
            SpecError: the base has no image for a platform.
        """
        base, platforms = self.spec.base, self.spec.target_platforms
        pulled: tuple[GatheredImage, ...] = ()
        if base.image is not None:
            pulled = self._pulled([base.image])[:1]
            images = base_image.of_platforms(pulled[0].root, base.image, platforms, self.store)
        else:
            requests = {platform: self._base_request(platform) for platform in platforms}
            images = {platform: self._debian(request).image for platform, request in requests.items() if request}
        missing = [str(platform) for platform in platforms if platform not in images]
        if missing:
            raise SpecError(
                f"The base has no image for {', '.join(missing)}.",
                remedy="Change 'platforms' or the base image in the spec.",
            )
        by_platform = {
            platform: UnpackedBase(image, base_image.contents(image, self.store, progress=self.progress))
            for platform, image in images.items()
        }
        # A base of another transport lies elsewhere on the next machine: the platform's own entry pins its digest.
        in_lock = (image for image in pulled if in_registry(image.reference))
        return GatheredBases(by_platform, tuple(replace(image, role=BASE).locked() for image in in_lock))

    def others(self, operator_images: Sequence[str]) -> tuple[GatheredImage, ...]:
        """Return kubectl's image for the CronJob, the operator's images and the extra ones, each reference once."""
        kubectl = self.spec.deployment.cron_job.kubectl
        made = [self._kubectl()] if kubectl.debian is not None else []
        gathered = {image.reference: image for image in made}
        roles = self._roles(operator_images)
        for image in self._pulled([name for name in roles if name not in gathered]):
            role = roles.get(image.reference, COMPANION)
            if role in _RUN:
                self._refuse_artifact(image)
            gathered[image.reference] = replace(image, role=role)
        return tuple(gathered.values())

    def plan(self, operator_images: Sequence[str]) -> MirrorPlan:
        """Say what would be fetched from registries, bases too, and how many bytes; fetches manifests only."""
        base = self.spec.base.image
        wanted = dict.fromkeys([*([base] if base and in_registry(base) else []), *self._roles(operator_images)])
        exact = [self._exact(reference) for reference in wanted]
        asked = mirror.options(self.spec.target_platforms, self.spec.mirrors, self.access, self._wishes())
        return mirror.plan(exact, asked, self.store, self.progress)

    def references(self, operator_images: Sequence[str]) -> tuple[str, ...]:
        """Return the references of all images that are mirrored from registries, each once."""
        return tuple(name for name in self._roles(operator_images) if in_registry(name))

    def _roles(self, operator_images: Sequence[str]) -> Mapping[str, str]:
        """Return reference -> role of every image that is mirrored; the first role of a reference stands."""
        kubectl = self.spec.deployment.cron_job.kubectl.image
        wanted = [
            *([(kubectl, KUBECTL)] if kubectl is not None else []),
            *((name, OPERATOR) for name in operator_images),
            *((extra.image, EXTRA) for extra in self.spec.images),
        ]
        first: dict[str, str] = {}
        for reference, role in wanted:
            first.setdefault(reference, role)
        return first

    def _refuse_artifact(self, image: GatheredImage) -> None:
        """Refuse what the cluster is to run and cannot, such as a signature that has the name of an image."""
        root = image.root
        if (
            root.media_type in media_types.MANIFESTS
            and manifest.parse(self.store.read(root.digest), root.media_type).is_artifact
        ):
            raise SpecError(f"{image.reference} is an artifact, not an image that runs.", remedy="Name another image.")

    def _base_request(self, platform: Platform) -> DebianRequest | None:
        suite = self.spec.base.debian
        return None if suite is None else DebianRequest.base(suite, platform, self.spec.system_packages)

    def _kubectl_request(self, platform: Platform) -> DebianRequest | None:
        suite = self.spec.deployment.cron_job.kubectl.debian
        return None if suite is None else DebianRequest.kubectl(suite, platform)

    def _debian(self, request: DebianRequest) -> debian.DebianBase:
        return debian.make(request, self.store, progress=self.progress, refresh=self.refresh)

    def _kubectl(self) -> GatheredImage:
        requests = filter(None, map(self._kubectl_request, self.spec.target_platforms))
        made = [self._debian(request) for request in requests]
        tag = _NO_TAG.sub("-", made[0].packages["kubernetes-client"])
        root = stored_root([base.image for base in made], self.store)
        return GatheredImage(f"kubectl:{tag}", KUBECTL, root, root.digest, baked=True)

    def _pulled(self, references: Sequence[str]) -> tuple[GatheredImage, ...]:
        """Return images, each followed by the signatures and attestations that its registry keeps beside it.

        Our own client fetches the blobs of all of them in one queue.
        """
        exact = [self._exact(reference) for reference in references]
        if self.reader == "skopeo" and any(map(in_registry, references)):
            self.progress.say("skopeo reads no signatures beside images, so none are bundled: --reader bundler does.")
        pulled = self._all_at_once(exact) if self.reader != "skopeo" else [self._mirrored(source) for source in exact]
        gathered: list[GatheredImage] = []
        for reference, image in zip(references, pulled, strict=True):
            gathered.append(GatheredImage(reference, "", image.root, image.source_digest))
            gathered += (
                GatheredImage(companion.reference, COMPANION, companion.root, companion.source_digest)
                for companion in image.companions
            )
        return tuple(gathered)

    def _all_at_once(self, sources: Sequence[str]) -> tuple[mirror.MirroredImage, ...]:
        if not all(in_registry(source) for source in sources):
            return tuple(self._mirrored(source) for source in sources)
        asked = mirror.options(self.spec.target_platforms, self.spec.mirrors, self.access, self._wishes())
        return mirror.run(sources, asked, self.store, self.progress) if sources else ()

    def _mirrored(self, source: str) -> mirror.MirroredImage:
        return mirror.pull(
            source,
            self.spec.target_platforms,
            self.store,
            progress=self.progress,
            mirrors=self.spec.mirrors,
            reader=self.reader,
            access=self.access,
            wish=self._wishes().get(source),
        )

    def _wishes(self) -> Mapping[str, ImageWish]:
        """Return what the spec says of single images, by the exact reference."""
        return {self._exact(extra.image): extra.wish for extra in self.spec.images}

    def _exact(self, reference: str) -> str:
        """Return the reference by the digest that the lock has for it; what else moved is then noticed, not built."""
        digest, source = self.pinned.get(reference), skopeo_source.parse(reference).reference
        return str(source.pinned(digest)) if digest and source else reference


def _missing(check: Callable[[], None]) -> ToolMissingError | None:
    try:
        check()
    except ToolMissingError as error:
        return error
    return None


def in_registry(source: str) -> bool:
    """Tell a reference from a source of another transport (``docker-daemon:``, ``oci-archive:``, ...)."""
    return skopeo_source.parse(source).reference is not None


def stored_root(images: Sequence[Image], store: BlobStore) -> Descriptor:
    """Return the one image's descriptor, or that of an index of all of them, which is put into the store."""
    if len(images) == 1:
        return images[0].descriptor
    index = Index(tuple(image.descriptor for image in images))
    store.put(index.to_bytes())
    return index.descriptor

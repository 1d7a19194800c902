"""Bring images from registries into the cache: what is asked for and nothing else, every byte once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace

from bundler.effects.blobs import BlobStore
from bundler.effects.registry import companions, download, mirrors, parallel
from bundler.effects.registry.auth import Scope
from bundler.effects.registry.companions import FoundCompanion, UnknownCompanions
from bundler.effects.registry.endpoint import Connection, Endpoint, TlsSettings
from bundler.effects.registry.faults import RefusedError, RegistryUnreachableError
from bundler.effects.registry.meter import Meter
from bundler.effects.registry.mirrors import PullLocation, Rule
from bundler.effects.registry.remote_image import RemoteImage
from bundler.effects.registry.repository import Repository
from bundler.effects.registry.retry import Cancellation
from bundler.effects.registry.session import Session
from bundler.errors import RegistryError, SpecError
from bundler.model import media_types
from bundler.model.companions import CompanionPolicy, ImageWish
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest, OtherDigestError
from bundler.model.platform import Platform
from bundler.model.progress import Progress, SilentProgress
from bundler.model.reference import ImageRef
from bundler.oci import graph as oci_graph
from bundler.oci import index as oci_index
from bundler.oci import manifest as oci_manifest
from bundler.oci import selection
from bundler.oci.config import ImageConfig
from bundler.oci.graph import Graph
from bundler.oci.selection import Lookup

_OTHER_PLATFORMS = "Change 'platforms' in the spec, or the image."
_PUSH_WITH_SHA256 = "Push the image again with a current tool, which names every part by SHA-256."
_OR_FEWER_PLATFORMS = " Or leave out 'platforms: all': other platforms than the spec's are then not read."
_AS_USUAL = ImageWish()
_NOT_KNOWN = "it is not known whether something is beside it"
_FILTERED = (
    "it belongs to the index of all platforms, which the bundle has only some of, so that no signature of it can hold; "
    "'platforms: all' at the image keeps the index whole"
)


@dataclass(frozen=True)
class PullSettings:
    """How source registries are read; ``rules`` say where else to look."""

    rules: tuple[Rule, ...] = ()
    tls: TlsSettings = field(default_factory=TlsSettings)
    connection: Connection = field(default_factory=Connection)
    companions: bool = True
    plain_http: bool = False


class Puller:
    """Pulls into one store; sessions are kept between images. Use as a context manager through ``pulling``."""

    def __init__(self, store: BlobStore, settings: PullSettings, progress: Progress) -> None:
        self._store = store
        self._settings = settings
        self._progress = progress
        self._cancellation = Cancellation()
        self._sessions: dict[tuple[str, bool], Session] = {}
        self._homes: dict[ImageRef, Repository] = {}

    def close(self) -> None:
        """Give the connections back."""
        for session in self._sessions.values():
            session.close()

    def resolve(self, reference: ImageRef, platforms: Sequence[Platform], wish: ImageWish = _AS_USUAL) -> RemoteImage:
        """Find an image and read its manifests; of an index only the chosen platforms are kept.

        What is pinned by digest and was resolved before is answered from the cache alone.

        Raises:
            SpecError: an image for a platform, or a required signature, is missing.
            RegistryError: no source has it or lets us read it.
        """
        if wish.all_platforms:
            platforms = ()
        if not self._settings.companions:
            wish = replace(wish, companions=CompanionPolicy.UNWANTED)
        image = self._recorded(reference, platforms, wish) or self._resolved(reference, platforms, wish)
        for note in image.notes:
            self._progress.say(f"{reference.tagged}: {note}")
        if wish.companions is CompanionPolicy.REQUIRED and not image.companions:
            raise SpecError(
                f"{reference.tagged} has no signature or other artifact beside it that could be bundled.",
                remedy="Correct the image, or write 'companions: true' instead of 'required'.",
                details=image.notes,
            )
        return image

    def _resolved(self, reference: ImageRef, platforms: Sequence[Platform], wish: ImageWish) -> RemoteImage:
        home, root = self._find(reference)
        self._homes[reference] = home
        image = self._remote_image(reference, home, root, platforms)
        outcomes: tuple[FoundCompanion | UnknownCompanions, ...] = ()
        if wish.companions is not CompanionPolicy.UNWANTED:
            # No signature of an index holds that lost platforms.
            subjects = [entry.digest for entry in image.manifests if not (_is_filtered(image) and entry == image.root)]
            workers = self._settings.connection.parallel
            outcomes = companions.find_all(home, subjects, workers=workers, cancellation=self._cancellation)
            image = self._with_companions(image, home, outcomes)
        if not any(isinstance(outcome, UnknownCompanions) and outcome.passes for outcome in outcomes):  # else ask again
            key = self._key(reference.pinned(image.source_digest), platforms, wish)
            self._store.remember("remote-image", key, image.to_json())
        return image

    def fetch(self, images: Iterable[RemoteImage]) -> None:
        """Fetch every blob that the store lacks, over all images the biggest first, several at once.

        Raises:
            VerificationError: a registry serves damaged bytes.
            RegistryError: a registry refuses, or cannot be reached time and again.
        """
        wanted = {blob.digest: (blob, image.reference) for image in images for blob in image.all_blobs}
        missing = [
            (blob, reference) for blob, reference in wanted.values() if not self._store.has(blob.digest, blob.size)
        ]
        missing.sort(key=lambda item: (-item[0].size, item[0].digest))
        if not missing:
            return
        with self._progress.task("Mirroring", total=sum(blob.size for blob, _ in missing), unit="bytes") as task:
            meter = Meter(task)

            def fetch_blob(item: tuple[Descriptor, ImageRef]) -> None:
                blob, reference = item
                meter.note(f"{blob.digest.short} of {reference.repository}")
                download.fetch(self._home(reference), blob, self._store, meter)

            parallel.each(
                missing, fetch_blob, workers=self._settings.connection.parallel, cancellation=self._cancellation
            )

    def missing(self, image: RemoteImage) -> int:
        """Return how many bytes must still be fetched."""
        return sum(blob.size for blob in image.all_blobs if not self._store.has(blob.digest, blob.size))

    def _home(self, reference: ImageRef) -> Repository:
        if reference not in self._homes:
            self._homes[reference] = self._find(reference)[0]
        return self._homes[reference]

    def _recorded(self, reference: ImageRef, platforms: Sequence[Platform], wish: ImageWish) -> RemoteImage | None:
        if not reference.digest:
            return None
        try:
            image = RemoteImage.from_json(self._store.recall("remote-image", self._key(reference, platforms, wish)))
        except ValueError:
            return None
        descriptors = [descriptor for recorded in (image, *image.companions) for descriptor in recorded.manifests]
        return (
            replace(image, reference=reference)
            if all(self._store.has(descriptor.digest) for descriptor in descriptors)
            else None
        )

    @staticmethod
    def _key(reference: ImageRef, platforms: Sequence[Platform], wish: ImageWish) -> str:
        chosen = ",".join(sorted(map(str, platforms))) or "all"
        companions = "without" if wish.companions is CompanionPolicy.UNWANTED else "with"
        return f"{reference.name}@{reference.digest} {chosen} {companions}"

    def _find(self, reference: ImageRef) -> tuple[Repository, Descriptor]:
        """Return the first source that has the image, and its root, which is then in the store."""
        failures: list[str] = []
        for source in mirrors.sources(reference, self._settings.rules):
            outcome = self._try(source)
            if not isinstance(outcome, RegistryError):
                return outcome
            if source.own and not failures:
                raise outcome
            failures.append(f"{source.reference.name}: {outcome}")
        raise RegistryError(
            f"No source has {reference}.", remedy="Correct the reference or the mirrors.", details=tuple(failures)
        )

    def _try(self, source: PullLocation) -> tuple[Repository, Descriptor] | RegistryError:
        try:
            home = Repository(self._session(source), source.reference.repository)
            return home, self._stored(home, source.reference.digest or source.reference.tag or "latest")
        except (RefusedError, RegistryUnreachableError) as error:
            return error

    def _session(self, source: PullLocation) -> Session:
        key = (source.reference.registry, source.insecure)
        if key not in self._sessions:
            self._sessions[key] = self._open(source)
        return self._sessions[key]

    def _open(self, source: PullLocation) -> Session:
        """Open a session; a mirror must answer at once, or the next one is asked."""
        host, settings = source.reference.registry, self._settings
        brief = settings.connection if source.own else replace(settings.connection, attempts=2)
        endpoint = Endpoint(host, settings.plain_http, settings.tls)
        if source.insecure:
            endpoint = replace(endpoint, tls=replace(settings.tls, verify=False))
            try:
                self._greet(endpoint, replace(brief, attempts=1), source)
            except RegistryUnreachableError:
                endpoint = replace(endpoint, plain_http=True)
        self._greet(endpoint, brief, source)
        return Session(endpoint, settings.connection, self._cancellation, self._progress.say)

    def _greet(self, endpoint: Endpoint, connection: Connection, source: PullLocation) -> None:
        with closing(Session(endpoint, connection, self._cancellation, self._progress.say)) as session:
            session.check(Scope(source.reference.repository))

    def _stored(self, home: Repository, reference: str | Digest) -> Descriptor:
        manifest = home.manifest(reference)
        self._store.put(manifest.content)
        return manifest.descriptor

    def _read(self, home: Repository, descriptor: Descriptor) -> bytes:
        """Return a manifest's bytes, from the store where it has them."""
        if not self._store.has(descriptor.digest, descriptor.size):
            self._stored(home, descriptor.digest)
        return self._store.read(descriptor.digest)

    def _remote_image(
        self, reference: ImageRef, home: Repository, root: Descriptor, platforms: Sequence[Platform]
    ) -> RemoteImage:
        kept, notes = self._chosen(reference, home, root, platforms)
        graph = self._below(home, kept)
        if graph.other_digests:
            raise SpecError(
                f"The image {reference} cannot be used: {'; '.join(graph.problems)}.",
                remedy=_PUSH_WITH_SHA256 + ("" if platforms else _OR_FEWER_PLATFORMS),
            )
        self._check_usable(home, graph)
        self._check_foreign(home, graph)
        return replace(_image(reference, kept, root.digest, graph), notes=notes)

    def _chosen(
        self, reference: ImageRef, home: Repository, root: Descriptor, platforms: Sequence[Platform]
    ) -> tuple[Descriptor, tuple[str, ...]]:
        """Return the root with only the chosen platforms, put into the store; unchanged where that is all it has.

        No platforms are all of them. Notes say what of these platforms is left out.
        """
        if not platforms:
            return root, ()
        content = self._read(home, root)
        try:
            if root.media_type in media_types.INDEXES:
                whole = oci_index.parse_source(content, root.media_type)
                lookup = Lookup(lambda entry: self._read(home, entry), lambda entry: self._platform(home, entry))
                kept = selection.select(whole, platforms, lookup)
                if kept is whole:
                    return root, ()
                self._store.put(kept.to_bytes())
                return kept.descriptor, tuple(f"an attestation is left out: {entry.reason}" for entry in kept.unread)
            own = self._platform(home, root)
            missing = [str(platform) for platform in platforms if own and not oci_index.same_platform(own, platform)]
        except OtherDigestError as error:
            raise SpecError(f"The image {reference} cannot be used: {error}.", remedy=_PUSH_WITH_SHA256) from error
        except ValueError as error:
            raise SpecError(f"The image {reference} does not fit: {error}.", remedy=_OTHER_PLATFORMS) from error
        if missing:
            raise SpecError(
                f"The image {reference} does not fit: it is for {own} alone, not for {', '.join(missing)}.",
                remedy=_OTHER_PLATFORMS,
            )
        return root, ()

    def _platform(self, home: Repository, image: Descriptor) -> Platform | None:
        """Return what an image is for, from its config; None for an artifact: it runs nowhere, so is for all."""
        manifest = oci_manifest.parse(self._read(home, image), image.media_type)
        if manifest.is_artifact:
            return None
        config = manifest.config
        with SilentProgress().task("config") as task:
            download.fetch(home, config, self._store, Meter(task))
        return ImageConfig.parse(self._store.read(config.digest)).platform

    def _check_foreign(self, home: Repository, graph: Graph) -> None:
        """See that layers which need not be at their registry are there all the same, before anything is fetched."""
        for manifest in graph.manifests:
            for text, url in oci_manifest.foreign_layers(manifest.content).items():
                if not self._store.has(Digest.parse(text)) and not home.has_blob(Digest.parse(text)):
                    where = f"lies at {url}" if url else "lies with its maker"
                    raise SpecError(
                        f"{home.full_name} has a foreign layer, {text}, which {where} and not in the registry.",
                        remedy="Mirror an image without such layers (Windows' base images have them), or from a "
                        "registry that holds them.",
                    )

    def _with_companions(
        self, image: RemoteImage, home: Repository, outcomes: Sequence[FoundCompanion | UnknownCompanions]
    ) -> RemoteImage:
        """Add what was found; say what is not known, and what belongs to an index that is not kept whole."""
        companions_found = [outcome for outcome in outcomes if isinstance(outcome, FoundCompanion)]
        notes = list(image.notes)
        if _is_filtered(image):
            lost = tuple(companions.find(home, image.source_digest))
            notes += (
                f"{outcome.tag} is left out: {_FILTERED}" for outcome in lost if isinstance(outcome, FoundCompanion)
            )
            outcomes = (*outcomes, *(outcome for outcome in lost if isinstance(outcome, UnknownCompanions)))
        notes += (f"{_NOT_KNOWN}: {reason}" for reason in companions.reasons(outcomes))
        brought: list[RemoteImage] = []
        for companion in companions_found:
            self._store.put(companion.root.content)
            for child in companion.children:
                self._store.put(child.content)
            try:
                brought.append(self._companion(image, home, companion.tag, companion.root.descriptor))
            except RegistryError as error:
                notes.append(f"{companion.tag} is left out: {'; '.join(error.details) or error.problem}")
        return replace(image, companions=tuple(brought), notes=tuple(notes))

    def _companion(self, image: RemoteImage, home: Repository, tag: str, root: Descriptor) -> RemoteImage:
        reference = replace(image.reference, tag=tag, digest=None)
        graph = self._below(home, root)
        self._check_usable(home, graph)
        return _image(reference, root, root.digest, graph)

    def _below(self, home: Repository, root: Descriptor) -> Graph:
        return oci_graph.below(root, lambda descriptor: self._read(home, descriptor), configs=False)

    @staticmethod
    def _check_usable(home: Repository, graph: Graph) -> None:
        if graph.problems:
            raise RegistryError(
                f"{home.full_name} has a manifest that cannot be used.",
                remedy="Push the image again with a current tool, or use another.",
                details=graph.problems,
            )


def _is_filtered(image: RemoteImage) -> bool:
    return image.source_digest != image.root.digest


def _image(reference: ImageRef, root: Descriptor, source: Digest, graph: Graph) -> RemoteImage:
    manifests = tuple(manifest.descriptor for manifest in graph.manifests)
    return RemoteImage(reference, root, source, manifests, graph.contents)


@contextmanager
def pulling(store: BlobStore, settings: PullSettings, progress: Progress) -> Iterator[Puller]:
    """Pull for as long as the block runs."""
    puller = Puller(store, settings, progress)
    try:
        yield puller
    finally:
        puller.close()

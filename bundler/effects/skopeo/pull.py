"""Read images into the store by skopeo, from any of its transports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bundler.effects.blobs import BlobStore
from bundler.effects.registry.endpoint import Access
from bundler.effects.skopeo import source as skopeo_source
from bundler.effects.skopeo.program import Skopeo
from bundler.effects.skopeo.source import SkopeoSource
from bundler.errors import SpecError, VerificationError
from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest, OtherDigestError
from bundler.model.platform import Platform
from bundler.model.progress import Progress, Task
from bundler.model.spec import Mirror
from bundler.oci import document, index, manifest
from bundler.oci.image import Image

_RECORD: Final = "pulled"
_ALTERED: Final = "Do not use it: find out whether the registry or a proxy before it alters what it serves."


@dataclass(frozen=True)
class PulledImage:
    """An image that is wholly in the store.

    ``root`` is its manifest, or the index of the platforms that were asked for; ``source_digest`` is that of the
    manifest or index as the source has it, which differs where an index was filtered or a manifest was made here.
    """

    reference: str
    root: Descriptor
    source_digest: Digest


def resolve(source: str, *, mirrors: Sequence[Mirror] = (), access: Access | None = None) -> Digest:
    """Return the digest of the manifest or index that a source names now, without its layers; raises as ``pull``."""
    parsed = skopeo_source.parse(source, mirrors)
    return parsed.pinned or Digest.of(Skopeo(access or Access()).raw(parsed))


def pull(
    source: str,
    platforms: Sequence[Platform],
    store: BlobStore,
    *,
    progress: Progress,
    mirrors: Sequence[Mirror] = (),
    access: Access | None = None,
) -> PulledImage:
    """Read an image into the store: a reference, or a source of any of skopeo's transports.

    Of an index only the platforms are read, and the index is rewritten to name only them; a single image stays byte for
    byte. Blobs that the store has are not read again; every blob is hashed. Credentials are those of ``skopeo login``
    and ``docker login`` where ``access`` names no others.

    Raises:
        SpecError: the source is not a reference or transport, its file does not exist, or it lacks a platform.
        ToolMissingError: skopeo is missing or too old.
        RegistryError: the registry refuses, does not have the image, or cannot be reached.
        ToolFailedError: skopeo failed otherwise.
        VerificationError: what came is not what its digest says.
    """
    parsed = skopeo_source.parse(source, mirrors)
    if parsed.pinned and (root := _recalled(store, parsed, parsed.pinned, platforms)):
        return PulledImage(source, root, parsed.pinned)
    skopeo = Skopeo(access or Access())
    with progress.task(f"Pulling {parsed}") as task:
        raw = skopeo.raw(parsed)
        digest = Digest.of(raw)
        if parsed.pinned not in {None, digest}:
            raise VerificationError(
                f"{skopeo_source.host(parsed)} answered with {digest} when asked for {parsed}.", remedy=_ALTERED
            )
        root = _recalled(store, parsed, digest, platforms)
        if root is None:
            root = _pulled(_Pull(skopeo, parsed, store, task), raw, platforms)
    store.remember(_RECORD, _key(parsed, digest, platforms), root.to_json())
    return PulledImage(source, root, digest)


def _key(source: SkopeoSource, digest: Digest, platforms: Sequence[Platform]) -> str:
    return f"{source.transport} {digest} {' '.join(sorted(map(str, platforms)))}"


def _recalled(
    store: BlobStore, source: SkopeoSource, digest: Digest, platforms: Sequence[Platform]
) -> Descriptor | None:
    """Return the root of an earlier pull, if all that belongs to it is still here."""
    record = store.recall(_RECORD, _key(source, digest, platforms))
    if record is None:
        return None
    try:
        root = Descriptor.from_json(record)
        content = store.read(root.digest)
        images = index.parse(content, root.media_type).manifests if root.media_type in media_types.INDEXES else (root,)
        blobs = [blob for entry in images for blob in _blobs(store, entry)]
    except (ValueError, FileNotFoundError, VerificationError):
        return None
    return root if all(store.has(blob.digest, blob.size) for blob in blobs) else None


def _blobs(store: BlobStore, image: Descriptor) -> tuple[Descriptor, ...]:
    """Return config and layers of an image whose manifest is in the store."""
    image_manifest = manifest.parse(store.read(image.digest), image.media_type)
    return (image_manifest.config, *image_manifest.layers)


@dataclass(frozen=True)
class _Pull:
    """A running pull."""

    skopeo: Skopeo
    source: SkopeoSource
    store: BlobStore
    task: Task

    def single(self, raw: bytes, platforms: Sequence[Platform]) -> Descriptor:
        """Copy the image that the source is."""
        root = self.copy(None)
        if self.source.keeps_digests and root.digest != Digest.of(raw):
            raise VerificationError(f"{self.source} changed while it was read.", remedy="Run the same command again.")
        image = Image.from_blobs(root, self.store.read)
        missing = [str(platform) for platform in platforms if not index.same_platform(platform, image.platform)]
        if missing:
            raise SpecError(
                f"{self.source} is an image for {image.platform} alone, not for {', '.join(missing)}.",
                remedy="Correct 'platforms' of the spec, or use an image that has them.",
            )
        return image.descriptor

    def several(self, raw: bytes, media_type: str, platforms: Sequence[Platform]) -> Descriptor:
        """Copy the images of the platforms out of an index, and store the index of them."""
        try:
            full = index.parse_source(raw, media_type)
            wanted = full.only(platforms)
        except OtherDigestError as error:
            raise SpecError(
                f"{self.source}: {error}.", remedy="Push the image again with a tool that names every part by SHA-256."
            ) from error
        except ValueError as error:
            raise SpecError(
                f"{self.source}: {error}.", remedy="Correct 'platforms' of the spec, or use another image."
            ) from error
        for entry in wanted.manifests:
            copied = self.copy(entry)
            if copied.digest != entry.digest:
                raise VerificationError(
                    f"{self.source} gave {copied.digest} for {entry.platform}, its index says {entry.digest}.",
                    remedy=_ALTERED,
                )
        content = raw if wanted is full else wanted.to_bytes()
        return Descriptor(media_type, self.store.put(content), len(content))

    def copy(self, entry: Descriptor | None) -> Descriptor:
        """Copy one image and hash all of it; what the store had already and is damaged is read again, once."""
        damaged: list[Descriptor] = []
        for _ in range(2):
            image = self.skopeo.copy(self.source, entry, self.store, self.task)
            damaged = [blob for blob in (image, *self._parts(image)) if not self._is_whole(blob)]
            if not damaged:
                return image
            for blob in damaged:
                self.store.path(blob.digest).unlink(missing_ok=True)
        raise VerificationError(
            f"{self.source} was read twice, and was damaged both times.",
            remedy="Check the disk of the cache, and the registry.",
            details=tuple(str(blob.digest) for blob in damaged),
        )

    def _parts(self, image: Descriptor) -> tuple[Descriptor, ...]:
        try:
            return _blobs(self.store, image)
        except VerificationError:  # of the manifest, which is looked at by itself
            return ()
        except ValueError as error:
            raise SpecError(f"{self.source} is not a container image: {error}.", remedy="Use another image.") from error

    def _is_whole(self, blob: Descriptor) -> bool:
        self.task.note(f"verifying {blob.digest.short}")
        if not self.store.has(blob.digest, blob.size):
            return False
        with self.store.open(blob.digest) as stream:
            return Digest.of_stream(stream) == blob.digest


def _pulled(begun: _Pull, raw: bytes, platforms: Sequence[Platform]) -> Descriptor:
    media_type = _media_type(raw, begun.source)
    if media_type in media_types.INDEXES:
        return begun.several(raw, media_type, platforms)
    return begun.single(raw, platforms)


def _media_type(raw: bytes, source: SkopeoSource) -> str:
    try:
        value = document.parse(raw, "its manifest")
    except ValueError as error:
        raise VerificationError(f"{source} is not an image: {error}.", remedy="Use another image.") from error
    named = value.get("mediaType")
    if value.get("schemaVersion") == 1:
        raise SpecError(f"{source} is in Docker's format of before 2016.", remedy="Push it again with a newer engine.")
    if isinstance(named, str):
        return named
    return media_types.OCI_INDEX if "manifests" in value else media_types.OCI_MANIFEST

"""The feature servers of a bundle: one image for its own repo and one for each tenant's, and the names they get."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bundler.effects.blobs import BlobStore
from bundler.effects.feature_repo import RepoContents
from bundler.errors import SpecError
from bundler.model.digest import Digest
from bundler.model.lock import BundleLock
from bundler.model.platform import Platform
from bundler.model.reference import ImageRef
from bundler.model.spec import BundleSpec
from bundler.oci import relocation
from bundler.steps.build.bake import BakedServer, ImageIdentity
from bundler.steps.build.builder import BuildJob, ImageBuilder
from bundler.steps.build.documents import FEATURE_SERVER
from bundler.steps.build.pack import ImageToPack
from bundler.steps.lock.project import Project
from bundler.steps.sources import gather
from bundler.steps.sources.gather import GatheredImage
from bundler.steps.sources.unpacked_base import UnpackedBase


def bake(
    project: Project, bases: Mapping[Platform, UnpackedBase], lock: BundleLock, builder: ImageBuilder
) -> tuple[BakedServer, ...]:
    """Bake a feature server for the bundle's repo and for each tenant's own; they differ in their last layer."""
    spec, rows = project.spec, lock.rows
    servers: list[BakedServer] = []
    for tenant, repo in [(None, project.repo), *project.own.items()]:
        repository = _repository(spec, tenant)
        images = {
            platform: builder.bake(
                BuildJob(
                    tenant,
                    platform,
                    base,
                    rows[platform],
                    repo,
                    _identity(spec, repository, repo, base, lock.digest),
                    lock.created,
                )
            )
            for platform, base in bases.items()
        }
        local = ImageRef.parse(f"localhost/{repository}:{spec.version}")
        servers.append(BakedServer(tenant, repo, relocation.relocate(local, spec.registry), images))
    return tuple(servers)


def to_pack(
    project: Project, servers: Sequence[BakedServer], images: Sequence[GatheredImage], store: BlobStore
) -> tuple[ImageToPack, ...]:
    """Return every image of the bundle as the internal registry will name it, the feature servers first."""
    return (*(_server_to_pack(server, store) for server in servers), *_others_to_pack(images, project.spec))


def _repository(spec: BundleSpec, tenant: str | None) -> str:
    """Return the repository of a baked image: beside the bundle's own, named after the tenant."""
    if tenant is None:
        return spec.image_repository
    folder, slash, _ = spec.image_repository.rpartition("/")
    name = f"{folder}{slash}{tenant}-feature-server"
    if name == spec.image_repository:
        raise SpecError(
            f"tenants: {tenant}: its image would have the same name as the bundle's own image, {name}.",
            remedy="Give the bundle's own image another name with 'image', or rename the tenant.",
        )
    return name


def _server_to_pack(server: BakedServer, store: BlobStore) -> ImageToPack:
    """Return the image as the internal registry will name it; an index holds it where it is for several platforms."""
    root = gather.stored_root(tuple(server.images.values()), store)
    return ImageToPack(str(server.internal), FEATURE_SERVER, root, str(server.internal), made_here=True)


def _identity(
    spec: BundleSpec, repository: str, repo: RepoContents, base: UnpackedBase, lock_digest: Digest
) -> ImageIdentity:
    # The name of a base of another transport is a place on this machine: nobody else can look there.
    named = spec.base.image is None or gather.in_registry(spec.base.image)
    return ImageIdentity(
        title=repository,
        version=spec.version,
        source=spec.source,
        revision=repo.fingerprint,
        feast_version=spec.feast.version,
        base_name=(spec.base.image or f"debian:{spec.base.debian}") if named else None,
        base_digest=base.image.descriptor.digest,
        lock_digest=lock_digest,
    )


def _others_to_pack(images: Sequence[GatheredImage], spec: BundleSpec) -> Iterator[ImageToPack]:
    """Name the images as the internal registry will; what was made here has no other name."""
    references = [_reference(image) for image in images]
    internal = relocation.relocations(references, spec.registry)
    for image, reference in zip(images, references, strict=True):
        name = str(internal[reference])
        if image.baked:
            yield ImageToPack(name, image.role, image.root, name, made_here=True)
        else:
            yield ImageToPack(image.reference, image.role, image.root, name, image.source_digest)


def _reference(image: GatheredImage) -> ImageRef:
    return ImageRef.parse(f"localhost/{image.reference}" if image.baked else image.reference)

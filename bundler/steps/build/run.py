"""Build: from a spec to one offline bundle; each part is a step of its own, and this strings them together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.effects import files
from bundler.effects.archive import signing
from bundler.effects.blobs import BlobStore
from bundler.effects.feature_repo import RepoContents
from bundler.effects.packages import wheelhouse
from bundler.effects.registry.endpoint import Access
from bundler.errors import LockError, SpecError
from bundler.model import layout
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.model.lock import BundleLock
from bundler.model.manifest import BundledImage
from bundler.model.platform import Platform
from bundler.model.progress import Progress
from bundler.model.reference import ImageRef
from bundler.model.spec import BundleSpec
from bundler.oci import relocation
from bundler.oci.image import Image
from bundler.oci.layer import Layer
from bundler.steps.build import bake, documents, import_check, pack, wheel_layers
from bundler.steps.build.bake import LAYER_EPOCH, BakedServer, ImageIdentity
from bundler.steps.build.documents import FEATURE_SERVER, BuildFacts, Rehearse
from bundler.steps.build.engine_job import BuildJob
from bundler.steps.build.pack import ImageToPack, Packed, PackPlan, SigningKey
from bundler.steps.bundle import delta
from bundler.steps.lock import lockfile as locking
from bundler.steps.lock import project
from bundler.steps.lock import resolve as lock
from bundler.steps.lock import sdists as lock_sources
from bundler.steps.lock.lockfile import Gathered
from bundler.steps.lock.project import Project
from bundler.steps.lock.sdists import Asking
from bundler.steps.rehearsal.inputs import BuildInput
from bundler.steps.rehearsal.options import RehearseOptions
from bundler.steps.sources import gather
from bundler.steps.sources.gather import GatheredImage
from bundler.steps.sources.mirror import MirrorPlan
from bundler.steps.sources.unpacked_base import UnpackedBase
from bundler.wheels.install import InstallTarget

if TYPE_CHECKING:
    from bundler.steps.build.engine_bake import EngineBuilder


@dataclass(frozen=True)
class BuildRequest:
    """What ``bundler build`` was asked; ``epoch`` in seconds, None means now; ``engine`` reads registries.

    ``baker`` is the container engine that bakes (``none``: without one), None what the spec says; ``environment`` tells
    where it is. ``rehearsal`` says how to play the result before it is packed, None that it is not. ``base`` is a
    bundle whose layers are left out.
    """

    spec_file: Path
    output_dir: Path
    epoch: int | None = None
    locked: bool = False
    sign_key: Path | None = None
    engine: str = "bundler"
    baker: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    rehearsal: RehearseOptions | None = None
    volume_size: int | None = None
    base: Path | None = None
    access: Access = field(default_factory=Access)


@dataclass(frozen=True)
class Built:
    """A finished bundle."""

    packed: Packed
    lock_file: Path

    def to_json(self) -> dict[str, Json]:
        """Return the result for scripts."""
        return {
            "bundle": str(self.packed.path),
            "volumes": [str(path) for path in self.packed.volumes],
            "size": self.packed.size,
            "digest": str(self.packed.digest),
            "lock": str(self.lock_file),
            "base": base.brief() if (base := self.packed.manifest.base) else None,
            "images": [image.to_json() for image in self.packed.manifest.images],
        }

    def summary(self) -> tuple[str, ...]:
        """Return the result for people: the bundle first, then what is in it."""
        images = (
            f"  {image.role:<15} {image.size / 1e6:7.1f} MB  {image.internal}" for image in self.packed.manifest.images
        )
        count, base = len(self.packed.volumes), self.packed.manifest.base
        return (
            f"{self.packed.path}  {self.packed.size / 1e6:.1f} MB  {layout.MANIFEST} {self.packed.digest}",
            *([f"  in {count} volumes, the last is {self.packed.volumes[-1].name}"] if count else []),
            *([f"  a delta: leaves {len(base.blobs)} layers, {base.size / 1e6:.1f} MB, to {base}"] if base else []),
            *images,
            f"  next: bundler inspect {self.packed.path}, and the reviewer's CHECKLIST.html inside",
        )


def run(request: BuildRequest, store: BlobStore, progress: Progress) -> Built:
    """Build the bundle of a spec.

    Raises:
        BundlerError: of the kind that each step documents; nothing has the bundle's name then.
    """
    loaded = project.load(request.spec_file)
    baker = _baker(request, loaded.spec)
    _check_output(request.output_dir)
    if request.sign_key:
        signing.load_key(request.sign_key)  # what is wrong with it need not wait for the bake
    base = delta.base_of(request.base, loaded.spec.name, loaded.spec.version) if request.base else None
    store.sweep()
    existing = project.read_lock(loaded)
    if existing is None and request.locked:
        raise LockError(f"There is no {loaded.lock_file}.", remedy=f"Make it: {loaded.lock_command}")
    found = locking.gathered(loaded, existing, store, progress, engine=request.engine, access=request.access)
    pinned = locking.fitting(loaded, existing, found, store, progress, epoch=request.epoch)
    with ExitStack() as stack:
        oven = stack.enter_context(_oven(baker, request, loaded.spec, store, progress)) if baker else None
        servers = _bake(loaded, found, pinned, store, progress, oven=oven)
    imported = import_check.run(loaded, found.bases, servers, store, progress)
    to_pack = (*(_server_to_pack(server, store) for server in servers), *_to_pack(found.images, loaded))
    described = pack.describe(to_pack, store)
    if base and not (base := delta.left_to(base, described.layers)):
        progress.say(f"{request.base} has no layer of this bundle's images: it is no delta, but whole")
    subject = BuildFacts(
        loaded,
        found,
        pinned,
        described.images,
        servers,
        (*(oven.findings() if oven else ()), *imported),
        signed=request.sign_key is not None,
        kitchen=oven.work if oven else None,
        base=base,
    )
    plan = PackPlan(
        name=loaded.spec.name,
        version=loaded.spec.version,
        created=pinned.created,
        tool=documents.TOOL,
        registry=relocation.prefix(loaded.spec.registry),
        images=to_pack,
        documents=documents.write(subject, _rehearse(request, loaded, described.images, store, progress)),
        base=base,
    )
    key = SigningKey(request.sign_key) if request.sign_key else None
    packed = pack.run(
        plan, request.output_dir, store, progress=progress, signing_key=key, volume_size=request.volume_size
    )
    return Built(packed, loaded.lock_file)


def _rehearse(
    request: BuildRequest,
    loaded: Project,
    images: tuple[BundledImage, ...],
    store: BlobStore,
    progress: Progress,
) -> Rehearse | None:
    """Return what rehearses manifests with images that are in the blob store; None without a rehearsal."""
    options = request.rehearsal
    if options is None:
        return None
    from bundler.steps.rehearsal import run as rehearse  # noqa: PLC0415  (docker's client, which a build does not need)

    version, title = loaded.spec.operator.version, f"{loaded.spec.name} {loaded.spec.version}"
    return lambda texts: rehearse.run_input(BuildInput(title, images, texts, version, store), options, progress)


def plan(spec_file: Path, store: BlobStore, progress: Progress, access: Access | None = None) -> MirrorPlan:
    """Say which images a build would fetch from registries, and how many bytes; fetches manifests only.

    Raises as ``run`` where the spec or a registry is at fault.
    """
    loaded = project.load(spec_file)
    return locking.plan(loaded, project.read_lock(loaded), store, progress, access)


def _check_output(folder: Path) -> None:
    """Find out before the long work whether the bundle can be written."""
    with files.explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".bundler-write-test"
        probe.touch()
        probe.unlink()


def _baker(request: BuildRequest, spec: BundleSpec) -> str | None:
    """Return the container engine that is to bake, None for none; raise ``SpecError`` where one is needed."""
    name = request.baker or spec.engine
    if name != "none":
        return name
    needs = ["sdists: only a container engine builds them"] if spec.sdists else []
    if spec.system_packages and spec.base.debian is None:
        needs.append("system_packages: only a container engine installs them on an image")
    if needs:
        raise SpecError(
            f"{'; '.join(needs)}.",
            remedy="Set 'engine: docker' or 'engine: podman' in the spec, or use --engine docker or --engine podman.",
        )
    return None


def _oven(
    baker: str, request: BuildRequest, spec: BundleSpec, store: BlobStore, progress: Progress
) -> AbstractContextManager[EngineBuilder]:
    from bundler.steps.build import engine_bake  # noqa: PLC0415  (docker's client, which most builds do not need)

    return engine_bake.oven(spec, baker, request.environment, store, progress)


def _bake(
    loaded: Project,
    found: Gathered,
    pinned: BundleLock,
    store: BlobStore,
    progress: Progress,
    *,
    oven: EngineBuilder | None,
) -> tuple[BakedServer, ...]:
    """Bake a feature server for the bundle's repo and for each tenant's own; they differ in their last layer."""
    spec, lock_digest = loaded.spec, Digest.of(pinned.to_text().encode())
    rows = {row.platform: row for row in pinned.platforms}
    asked = lock.asked(loaded)
    layers: dict[Platform, tuple[Layer, ...]] = {}
    for platform, base in found.bases.items():
        row = rows[str(platform)]
        python = lock.image_python(base, platform)
        wheelhouse.fetch(
            row.wheels,
            python,
            store,
            wheels_dir=loaded.folder / spec.wheels,
            progress=progress,
            options=asked.index_options,
        )
        lock_sources.fetch(row, Asking(python, asked.index_options, store, progress), loaded.folder / spec.wheels)
        if oven is None:
            layers[platform] = wheel_layers.build(
                row.wheels, _target(base), store, epoch=LAYER_EPOCH, requested=asked.names, progress=progress
            )

    def baked(tenant: str | None, repo: RepoContents, platform: Platform, identity: ImageIdentity) -> Image:
        base = found.bases[platform]
        if oven is not None:
            return oven.bake(BuildJob(tenant, platform, base, rows[str(platform)], repo, identity, pinned.created))
        last = bake.repo_layer(repo, store, epoch=LAYER_EPOCH)
        return bake.assemble(base.image, (*layers[platform], last), identity, store, epoch=pinned.created)

    servers: list[BakedServer] = []
    for tenant, repo in [(None, loaded.repo), *loaded.own.items()]:
        repository = _repository(spec, tenant)
        images = {
            platform: baked(tenant, repo, platform, _identity(spec, repository, repo, base, lock_digest))
            for platform, base in found.bases.items()
        }
        source = ImageRef.parse(f"localhost/{repository}:{spec.version}")
        servers.append(BakedServer(tenant, repo, relocation.relocate(source, spec.registry), images))
    return tuple(servers)


def _repository(spec: BundleSpec, tenant: str | None) -> str:
    """Return the repository of a baked image: beside the bundle's own, named after the tenant."""
    if tenant is None:
        return spec.image_repository
    folder, slash, _ = spec.image_repository.rpartition("/")
    name = f"{folder}{slash}{tenant}-feature-server"
    if name == spec.image_repository:
        raise SpecError(
            f"tenants: {tenant}: its image would have the name of the bundle's, {name}.",
            remedy="Give the bundle's another with 'image', or the tenant another name.",
        )
    return name


def _server_to_pack(server: BakedServer, store: BlobStore) -> ImageToPack:
    """Return the image as the internal registry will name it; an index holds it where it is for several platforms."""
    root = gather.stored_root(tuple(server.images.values()), store)
    return ImageToPack(str(server.internal), FEATURE_SERVER, root, str(server.internal))


def _target(base: UnpackedBase) -> InstallTarget:
    python = base.contents.python
    if python is None:
        raise AssertionError("the lock was made for a base that has Python")
    return InstallTarget(python.version, python.executable, python.site_packages, python.scripts)


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


def _to_pack(images: Sequence[GatheredImage], loaded: Project) -> Iterator[ImageToPack]:
    """Name the images as the internal registry will; what was baked here has no other name."""
    sources = [_source(image) for image in images]
    internal = relocation.relocations(sources, loaded.spec.registry)
    for image, source in zip(images, sources, strict=True):
        name = str(internal[source])
        if image.baked:
            yield ImageToPack(name, image.role, image.root, name)
        else:
            yield ImageToPack(image.reference, image.role, image.root, name, image.source_digest)


def _source(image: GatheredImage) -> ImageRef:
    return ImageRef.parse(f"localhost/{image.reference}" if image.baked else image.reference)

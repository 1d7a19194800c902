"""Bills of materials: of each image that a build makes, on each platform, and of the bundle as a whole."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bundler import __version__
from bundler.effects import base_image
from bundler.effects.blobs import BlobStore
from bundler.model import layout
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.lock import BundleLock, LockedSource, LockedWheel
from bundler.model.platform import Platform
from bundler.model.progress import SilentProgress
from bundler.model.reference import ImageRef
from bundler.oci.image import Image
from bundler.oci.rootfs import BaseContents
from bundler.render import sbom
from bundler.steps.build.bake import BakedServer
from bundler.steps.build.builder import EngineWork
from bundler.steps.build.pack import ImageToPack
from bundler.steps.lock.lockfile import Gathered
from bundler.steps.lock.project import Project
from bundler.steps.sources.gather import COMPANION
from bundler.wheels import licences as wheel_licences

_TOOL: Final = "bundler"


@dataclass(frozen=True)
class BuildInputs:
    """What images were made of: their blobs, and those of the wheels, are in the store."""

    project: Project
    gathered: Gathered
    lock: BundleLock
    servers: tuple[BakedServer, ...]
    engine_work: EngineWork | None
    store: BlobStore

    @property
    def created(self) -> str:
        """When the bundle was made (RFC 3339, UTC)."""
        return dt.datetime.fromtimestamp(self.lock.created, dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class ImageBill:
    """The bill of one image for one platform: its file's name below ``sbom/``, and what it is of."""

    name: str
    subject: Descriptor
    image: ImageToPack
    platform: Platform
    text: bytes
    debian: tuple[sbom.DebianPackage, ...]
    server: BakedServer | None


def of_images(inputs: BuildInputs, images: Sequence[ImageToPack]) -> tuple[ImageBill, ...]:
    """Return the bill of every image that was made here, on each of its platforms."""
    servers = {str(server.internal): server for server in inputs.servers}
    made = (image for image in images if image.made_here and image.role != COMPANION)
    return tuple(bill for image in made for bill in _of_image(inputs, image, servers.get(image.internal)))


def _of_image(inputs: BuildInputs, image: ImageToPack, server: BakedServer | None) -> Iterator[ImageBill]:
    platforms = inputs.project.spec.target_platforms
    by_platform = (
        server.images if server else base_image.of_platforms(image.root, image.internal, platforms, inputs.store)
    )
    name = ImageRef.parse(image.internal).repository.rpartition("/")[2]
    for platform, made in by_platform.items():
        held = (
            inputs.gathered.bases[platform].contents
            if server
            else base_image.contents(made, inputs.store, progress=SilentProgress())
        )
        debian = tuple(_debian(inputs, platform, held, server))
        text = _bill(inputs, image, (platform, made), held, debian, server=server)
        file_name = f"{name}-{platform.os}-{platform.architecture}.cdx.json"
        yield ImageBill(file_name, made.descriptor, image, platform, text.encode(), debian, server)


def _bill(
    inputs: BuildInputs,
    image: ImageToPack,
    made: tuple[Platform, Image],
    held: BaseContents,
    debian: Sequence[sbom.DebianPackage],
    *,
    server: BakedServer | None,
) -> str:
    baked = sbom.BakedImage(
        reference=ImageRef.parse(image.internal),
        digest=made[1].descriptor.digest,
        platform=made[0],
        created=inputs.created,
        tool=_TOOL,
        tool_version=__version__,
        # What others put into a base beside its packages, or packages of another kind (UBI's), is not known.
        complete=server is None or inputs.project.spec.base.debian is not None,
    )
    python = [
        sbom.PythonPackage(name, version, licences=_lines(held.python_licences, name))
        for name, version in held.distributions.items()
    ]
    if server is None:
        return sbom.cyclonedx(baked, python=python, debian=debian)
    python += [_installed(package, inputs.store) for package in inputs.lock.rows[made[0]].installed]
    files = tuple(sbom.ComponentFile(file.path, file.digest) for file in server.repo.files)
    described = sbom.RepoComponent(server.repo.config.project, server.repo.fingerprint, files)
    return sbom.cyclonedx(baked, python=python, debian=debian, repo=described)


def _debian(
    inputs: BuildInputs, platform: Platform, held: BaseContents, server: BakedServer | None
) -> Iterator[sbom.DebianPackage]:
    packages = inputs.engine_work.held(platform, held) if inputs.engine_work and server else held.debian_packages
    kubectl = inputs.project.spec.deployment.cron_job.kubectl.debian
    suite = held.os_release.get("VERSION_CODENAME", "" if server else kubectl or "")
    distribution = held.os_release.get("ID", "debian")
    for name, version in packages.items():
        declared = _lines(held.debian_licences, name)
        source = held.debian_sources.get(name, "")
        yield sbom.DebianPackage(name, version, platform.debian_architecture, suite, distribution, declared, source)


def _installed(package: LockedWheel | LockedSource, store: BlobStore) -> sbom.PythonPackage:
    declared: tuple[str, ...] = ()
    if isinstance(package, LockedWheel) and store.has(Digest(package.sha256), package.size):
        with store.open(Digest(package.sha256)) as stream:
            declared = wheel_licences.declared(stream)
    return sbom.PythonPackage(package.name, package.version, package.filename, package.sha256, declared)


def _lines(licences: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(licences.get(name, "").split("\n")) if licences.get(name) else ()


def of_bundle(inputs: BuildInputs, images: Sequence[ImageToPack], bills: Sequence[ImageBill]) -> str:
    """Return the bill of the bundle: every image by its name at the site, with the bills that there are of it."""
    components = [
        sbom.BundledComponent(
            ImageRef.parse(image.internal),
            image.root.digest,
            tuple((layout.sbom(bill.name), Digest.of(bill.text)) for bill in bills if bill.image == image),
        )
        for image in images
        if image.role != COMPANION
    ]
    spec = inputs.project.spec
    about = sbom.BundleIdentity(spec.name, spec.version, inputs.lock.digest, inputs.created, _TOOL, __version__)
    return sbom.of_bundle(about, components)

"""What a container engine bakes from: the inputs of the Dockerfile, and the files of the build context."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from bundler.effects.blobs import BlobStore
from bundler.effects.engine.build import ContextFile
from bundler.effects.packages import pip_source
from bundler.errors import SpecError
from bundler.feast.deployment import wiring
from bundler.model.digest import Digest
from bundler.model.lock import LockedSource, LockedWheel
from bundler.model.spec import BundleSpec
from bundler.render import dockerfile
from bundler.render.dockerfile import DockerfileInputs, SystemPackages
from bundler.steps.build import bake, wheel_layers
from bundler.steps.build.builder import BuildJob
from bundler.steps.sources.unpacked_base import UnpackedBase
from bundler.wheels.archive import WheelArchive

_APT: Final = frozenset({"debian", "ubuntu"})
_RPM: Final = frozenset({"rhel", "fedora", "centos"})


def inputs(job: BuildJob, spec: BundleSpec, store: BlobStore) -> DockerfileInputs:
    """Return what the Dockerfile of an image is written from.

    Raises:
        SpecError: the base's package manager is not known, and there are system packages to install.
    """
    python = job.base.contents.python
    if python is None:
        raise AssertionError("the lock was made for a base that has Python")
    base = job.base.image
    return DockerfileInputs(
        title=f"{job.identity.title} {job.identity.version}",
        base=f"localhost/bundler/base:{str(base.descriptor.digest).replace(':', '-')}",
        base_name=f"{job.identity.base_name or 'an archive'}, {base.descriptor.digest}",
        user=base.config.user,
        python=python.executable,
        site_packages=python.site_packages,
        home=str(Path(wiring.REPO_FOLDER).parent),
        repo_folder=wiring.REPO_FOLDER,
        epoch=bake.LAYER_EPOCH,
        labels=job.identity.labels(),
        packages=bool(job.row.installed),
        sources=tuple(source.name for source in job.row.sources),
        writable=_written_at_start(job, store),
        system=_system(spec, job.base),
    )


def _written_at_start(job: BuildJob, store: BlobStore) -> str:
    """Return the file of Feast's that its server writes, empty where this release has none."""
    feast = next((wheel for wheel in job.row.wheels if wheel.name == "feast"), None)
    if feast is None:
        return ""
    with store.open(Digest(feast.sha256)) as stream:
        wanted = wheel_layers.WRITTEN_AT_START
        return wanted if wanted in WheelArchive(stream, feast.filename).entries else ""


def _system(spec: BundleSpec, base: UnpackedBase) -> SystemPackages | None:
    """Return what the base's package manager installs; a base made here of Debian's packages has them already."""
    if not spec.system_packages or spec.base.debian is not None:
        return None
    release = base.contents.os_release
    family = {release.get("ID", ""), *release.get("ID_LIKE", "").split()}
    if family & _APT:
        return SystemPackages("apt", spec.system_packages)
    if family & _RPM:
        return SystemPackages("rpm", spec.system_packages)
    title = release.get("PRETTY_NAME", "of an unknown system")
    raise SpecError(
        f"system_packages: the base is {title}, whose package manager is not supported.",
        remedy="Use a base of Debian's, Ubuntu's or Red Hat's family, or one that has the packages.",
    )


def texts(inputs: DockerfileInputs, job: BuildJob) -> Iterator[tuple[str, str]]:
    """Yield path and text of what is written for the build; it is kept in the bundle."""
    yield from dockerfile.render(inputs).items()
    if inputs.packages:
        yield "requirements.txt", dockerfile.requirements(job.row.wheels)
    if inputs.sources:
        yield "sources.txt", dockerfile.requirements(job.row.sources)


def files(texts: Mapping[str, str], job: BuildJob, store: BlobStore) -> Iterator[ContextFile]:
    """Yield every file of the context: texts, pip, what the lock names, the feature repo; nothing else."""
    for name, text in texts.items():
        yield _in_memory(name, text.encode())
    for path, content in pip_source.files():
        yield _in_memory(f"pip/{path}", content)
    folders: Mapping[str, Sequence[LockedWheel | LockedSource]] = {
        "wheels": job.row.wheels,
        "sources": job.row.sources,
        "tools": job.row.tools,
    }
    for folder, locked in folders.items():
        for package in locked:
            digest = Digest(package.sha256)
            yield ContextFile(f"{folder}/{package.filename}", package.size, partial(store.open, digest), digest)
    for file in job.repo.files:
        yield ContextFile(
            f"feature_repo/{file.path}",
            file.size,
            file.opened,
            file.digest,
            executable=file.executable,
        )


def _in_memory(path: str, content: bytes) -> ContextFile:
    return ContextFile(path, len(content), lambda: io.BytesIO(content), Digest.of(content))

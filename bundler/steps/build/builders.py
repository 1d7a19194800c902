"""The two builders, and the choice between them: layers written here, or a container engine."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from bundler.effects.blobs import BlobStore
from bundler.model.findings import Finding
from bundler.model.platform import Platform
from bundler.model.progress import Progress
from bundler.oci.image import Image
from bundler.oci.layer import Layer
from bundler.steps.build import bake, compilers, wheel_layers
from bundler.steps.build.bake import LAYER_EPOCH
from bundler.steps.build.builder import BuildJob, ImageBuilder
from bundler.steps.lock.project import Project
from bundler.steps.sources.unpacked_base import UnpackedBase
from bundler.wheels.install import InstallTarget


def chosen(
    engine: str | None,
    project: Project,
    bases: Mapping[Platform, UnpackedBase],
    environment: Mapping[str, str],
    *,
    store: BlobStore,
    progress: Progress,
) -> AbstractContextManager[ImageBuilder]:
    """Return the builder for a container engine's name (None: without an engine); the block ends its connection."""
    if engine is None:
        return nullcontext(LayerBuilder(project.requirements.names, bases, store, progress))
    from bundler.steps.build import engine_bake  # noqa: PLC0415  (docker's client, which most builds do not need)

    return engine_bake.builder(project.spec, engine, environment, store, progress)


@dataclass(frozen=True)
class LayerBuilder:
    """Builds images without a container engine: wheel layers, which a platform's images share, and a repo layer.

    ``requested`` are the names of the distributions that are asked for by name, ``bases`` those of all platforms.
    """

    requested: frozenset[str]
    bases: Mapping[Platform, UnpackedBase]
    store: BlobStore
    progress: Progress
    work: None = None
    _layers: dict[Platform, tuple[Layer, ...]] = field(default_factory=dict)
    _findings: list[Finding] = field(default_factory=list)

    def bake(self, job: BuildJob) -> Image:
        """Build an image and put it into the store."""
        if job.platform not in self._layers:
            self._layers[job.platform] = self._wheel_layers(job)
        last = bake.repo_layer(job.repo, self.store, epoch=LAYER_EPOCH)
        layers = (*self._layers[job.platform], last)
        return bake.assemble(job.base.image, layers, job.identity, self.store, epoch=job.created)

    def _wheel_layers(self, job: BuildJob) -> tuple[Layer, ...]:
        with compilers.chosen(job.platform, self.bases, self.store) as choice:
            if choice.finding and job.row.wheels:
                self._findings.append(choice.finding)
                for line in choice.finding.evidence:
                    self.progress.say(line)
            return wheel_layers.build(
                job.row.wheels,
                _target(job.base),
                self.store,
                epoch=LAYER_EPOCH,
                requested=self.requested,
                compiler=choice.compiler,
                progress=self.progress,
            )

    def findings(self) -> tuple[Finding, ...]:
        """Return what differs from a bundle built elsewhere; the layers hold what the lock says."""
        return tuple(self._findings)


def _target(base: UnpackedBase) -> InstallTarget:
    python = base.contents.python
    if python is None:
        raise AssertionError("the lock was made for a base that has Python")
    return InstallTarget(python.version, python.executable, python.site_packages, python.scripts)

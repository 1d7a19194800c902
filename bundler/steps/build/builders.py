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
from bundler.steps.build import bake, wheel_layers
from bundler.steps.build.bake import LAYER_EPOCH
from bundler.steps.build.builder import BuildJob, ImageBuilder
from bundler.steps.lock.project import Project
from bundler.steps.sources.unpacked_base import UnpackedBase
from bundler.wheels.install import InstallTarget


def chosen(
    engine: str | None, project: Project, environment: Mapping[str, str], store: BlobStore, progress: Progress
) -> AbstractContextManager[ImageBuilder]:
    """Return the builder for a container engine's name (None: without an engine); the block ends its connection."""
    if engine is None:
        return nullcontext(LayerBuilder(project.requirements.names, store, progress))
    from bundler.steps.build import engine_bake  # noqa: PLC0415  (docker's client, which most builds do not need)

    return engine_bake.builder(project.spec, engine, environment, store, progress)


@dataclass(frozen=True)
class LayerBuilder:
    """Builds images without a container engine: wheel layers, which a platform's images share, and a repo layer.

    ``requested`` are the names of the distributions that are asked for by name.
    """

    requested: frozenset[str]
    store: BlobStore
    progress: Progress
    work: None = None
    _layers: dict[Platform, tuple[Layer, ...]] = field(default_factory=dict)

    def bake(self, job: BuildJob) -> Image:
        """Build an image and put it into the store."""
        if job.platform not in self._layers:
            self._layers[job.platform] = wheel_layers.build(
                job.row.wheels,
                _target(job.base),
                self.store,
                epoch=LAYER_EPOCH,
                requested=self.requested,
                progress=self.progress,
            )
        last = bake.repo_layer(job.repo, self.store, epoch=LAYER_EPOCH)
        layers = (*self._layers[job.platform], last)
        return bake.assemble(job.base.image, layers, job.identity, self.store, epoch=job.created)

    def findings(self) -> tuple[Finding, ...]:
        """Return nothing: the layers hold what the lock says, which the checklist says already."""
        return ()


def _target(base: UnpackedBase) -> InstallTarget:
    python = base.contents.python
    if python is None:
        raise AssertionError("the lock was made for a base that has Python")
    return InstallTarget(python.version, python.executable, python.site_packages, python.scripts)

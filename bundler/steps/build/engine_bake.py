"""Engine bake: a container engine makes the feature server by a Dockerfile, which then is an image like any other."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bundler.effects import base_image
from bundler.effects.blobs import BlobStore
from bundler.effects.engine import build as engine_build
from bundler.effects.engine import connection as engine_connection
from bundler.effects.engine import runs as engine_runs
from bundler.effects.engine.api import Engine
from bundler.effects.engine.build import Build, ContextFile
from bundler.effects.engine.connection import EngineChoice
from bundler.errors import SpecError, VerificationError
from bundler.model import layout
from bundler.model.digest import Digest
from bundler.model.findings import Finding, Status
from bundler.model.progress import Progress, Task
from bundler.model.spec import BundleSpec
from bundler.oci import docker_archive, saved_image
from bundler.oci.config import ImageConfig
from bundler.oci.image import Image
from bundler.oci.layer import COMPRESSOR, Layer
from bundler.oci.normalize import Settling
from bundler.oci.saved_image import SavedImage
from bundler.render import dockerfile
from bundler.render.dockerfile import DockerfileInputs
from bundler.steps.build import bake, engine_context
from bundler.steps.build.builder import BuildJob, EngineWork

# Raise where the same Dockerfile and context would become other layers than before.
_VERSION: Final = 1
_RECORD: Final = "engine-layers"
_SHELL: Final = re.compile(r"^(\|\d+ .*?)?/bin/sh -c (#\(nop\)\s*)?")
_CONTENT: Final = re.compile(r"\b(dir|file|multi):[0-9a-f]{64} ")


@contextmanager
def builder(
    spec: BundleSpec, engine: str, environment: Mapping[str, str], store: BlobStore, progress: Progress
) -> Iterator[EngineBuilder]:
    """Yield the builder for an engine; what it leaves in the engine is removed when the block ends."""
    with ExitStack() as stack:
        yield EngineBuilder(spec, EngineChoice(engine, environment), store, progress, stack)


@dataclass
class EngineBuilder:
    """Bakes images in one engine, which is looked for when the first is not in the store already."""

    spec: BundleSpec
    choice: EngineChoice
    store: BlobStore
    progress: Progress
    stack: ExitStack
    """Closes the connection."""
    work: EngineWork = field(default_factory=EngineWork)
    _baked: dict[str, DockerfileInputs] = field(default_factory=dict)
    _engine: Engine | None = None

    def bake(self, job: BuildJob) -> Image:
        """Bake an image and put it into the store.

        Raises:
            SpecError: the base or the platform cannot be built on by an engine.
            ToolMissingError: there is no engine.
            ToolFailedError: the engine does not answer or a step failed.
            VerificationError: what the engine made is not what was asked for.
        """
        inputs = engine_context.inputs(job, self.spec, self.store)
        files = dict(engine_context.texts(inputs, job))
        context = tuple(engine_context.files(files, job, self.store))
        unlabelled = dockerfile.render(replace(inputs, labels={}))[dockerfile.MAIN]  # labels are not part of a layer
        key = _key(self.choice, unlabelled, context, job.base.image)
        record = self.store.recall(_RECORD, key)
        layers, title = _recalled(record, self.store) or self._built(inputs, context, job)
        self.store.remember(_RECORD, key, {"engine": title, "layers": [layer.to_json() for layer in layers]})
        image = bake.assemble(job.base.image, layers, job.identity, self.store, epoch=job.created)
        self._check_packages(image, job)
        folder = f"{job.tenant}/" if job.tenant else ""
        self.work.files.update({folder + name: text for name, text in files.items()})
        self._baked[title] = inputs
        return image

    def findings(self) -> tuple[Finding, ...]:
        """Return what the checklist says of the images."""
        return tuple(_finding(title, inputs) for title, inputs in self._baked.items())

    def _connected(self) -> Engine:
        if self._engine is None:
            run = f"bundler-{secrets.token_hex(4)}"
            self._engine = self.stack.enter_context(engine_connection.connected(self.choice, run))
            self.stack.enter_context(engine_runs.noted(engine_runs.folder(self.store.root), self._engine))
        return self._engine

    def _built(
        self, inputs: DockerfileInputs, context: tuple[ContextFile, ...], job: BuildJob
    ) -> tuple[tuple[Layer, ...], str]:
        engine = self._connected()
        if (engine.platform.os, engine.platform.architecture) != (job.platform.os, job.platform.architecture):
            raise SpecError(
                f"{engine.title} here builds for {engine.platform}, not for {job.platform}.",
                remedy="Leave the platform out of 'platforms', or bake without an engine, which supports all.",
            )
        with self.progress.task(f"Baking in {engine.title}") as task:
            base, name = f"localhost/{engine.run}/base:latest", f"localhost/{engine.run}/server:latest"
            task.note("loading the base")
            own = _of_run(job.base.image, engine.run)
            engine.load(base, docker_archive.stream(own, [base], self.store.open), keep=False)
            if inputs.system:
                bare, base = base, f"localhost/{engine.run}/base-system:latest"
                engine_build.run(engine, Build(context, base, "host", dockerfile.SYSTEM, {"BASE": bare}), task)
            engine_build.run(engine, Build(context, name, "none", dockerfile.MAIN, {"BASE": base}), task)
            with self.store.temporary_folder() as folder:
                task.note("taking the image out")
                engine_build.save(engine, name, folder / "saved.tar")
                layers = self._taken(folder / "saved.tar", job, task)
        return layers, engine.title

    def _taken(self, saved: Path, job: BuildJob, task: Task) -> tuple[Layer, ...]:
        try:
            with saved_image.opened(saved) as image:
                layers = tuple(self._settled(image, job, task))
                made = image.config
        except ValueError as error:
            raise VerificationError(
                f"The engine's image cannot be used: {error}.", remedy="Run the build again."
            ) from error
        expected = bake.assemble(job.base.image, layers, job.identity, self.store, epoch=job.created)
        _check_config(made, expected.config)
        return layers

    def _settled(self, image: SavedImage, job: BuildJob, task: Task) -> Iterator[Layer]:
        base = job.base.image
        below = len(base.layers)
        if image.config.diff_ids[:below] != tuple(layer.diff_id for layer in base.layers):
            raise ValueError("it is not built on the base")
        history = [entry for entry in image.config.history if not entry.get("empty_layer")]
        if len(history) != len(image.layers):
            raise ValueError(f"its history has {len(history)} entries for {len(image.layers)} layers")
        settling = Settling(base, self.store.open, bake.LAYER_EPOCH)
        for name, diff_id, entry in list(zip(image.layers, image.config.diff_ids, history, strict=True))[below:]:
            made_by = str(entry.get("created_by", ""))
            instruction = _CONTENT.sub("", _SHELL.sub("", made_by)).strip()
            task.note(f"taking the image out: {instruction[:60]}")
            copied = instruction.startswith("COPY")
            with self.store.writing() as sink, image.open(name) as stream:
                layer = settling.layer(stream, diff_id, sink, created_by=instruction, copied=copied)
            if layer is not None:
                yield layer

    def _check_packages(self, image: Image, job: BuildJob) -> None:
        """Compare what the image's Python finds with the lock."""
        contents = base_image.contents(image, self.store, progress=self.progress)
        self.work.contents[job.platform] = contents
        installed = contents.distributions
        expected = {
            **job.base.contents.distributions,
            **{package.name: package.version for package in job.row.installed},
        }
        wrong = [f"- {name} {version}" for name, version in expected.items() if installed.get(name) != version]
        wrong += [f"+ {name} {version}" for name, version in installed.items() if expected.get(name) != version]
        if wrong:
            raise VerificationError(
                "The engine's image has other Python packages than the lock (- locked, + found).",
                remedy="The base image or a system package installs Python packages: choose another one.",
                details=tuple(sorted(wrong)),
            )


def _finding(engine: str, inputs: DockerfileInputs) -> Finding:
    network = inputs.system.packages if inputs.system else ()
    lines = [f"baked by {engine} from {layout.build(dockerfile.MAIN)}"]
    lines += [f"WITH A NETWORK, by {layout.build(dockerfile.SYSTEM)}, not locked: {name}" for name in network]
    lines += ["without a network: every Python package, by its hash from the lock"]
    lines += [f"built from source, without a network, by tools of the lock: {name}" for name in inputs.sources]
    lines += [
        "times of files, folders of the base and what running left are set by bundler, the rest is as the steps make it"
        + (
            ": the image changes when the package sources get newer system packages"
            if network
            else ": the same steps, the same image"
        )
    ]
    return Finding("engine-build", "The image was baked by a container engine", Status.PASS, tuple(lines))


def _of_run(base: Image, run: str) -> Image:
    """Return a base as an image of this run's own: no other build shares what is made from it, or removes it."""
    return replace(base, config=replace(base.config, document={**base.config.document, "author": run}))


def _key(choice: EngineChoice, text: str, context: tuple[ContextFile, ...], base: Image) -> str:
    rows = [f"{file.path} {file.executable} {file.digest}" for file in context if file.path != dockerfile.MAIN]
    content = Digest.of("\n".join((text, *rows)).encode())
    return f"{_VERSION} {COMPRESSOR} {choice.name} {base.descriptor.digest} {content}"


def _recalled(record: object, store: BlobStore) -> tuple[tuple[Layer, ...], str] | None:
    match record:
        case {"engine": str(title), "layers": [*rows]}:
            layers = tuple(Layer.from_json(row) for row in rows)
            if all(store.has(layer.descriptor.digest, layer.descriptor.size) for layer in layers):
                return layers, title
    return None


def _check_config(made: ImageConfig, expected: ImageConfig) -> None:
    """Compare what the engine's image says of how it runs with what it must say."""
    pairs = [
        ("user", made.user, expected.user),
        ("working directory", made.working_dir, expected.working_dir),
        ("environment", dict(made.env), dict(expected.env)),
        ("entry point", made.entrypoint, expected.entrypoint),
        ("command", made.cmd, expected.cmd),
        ("labels", _own_labels(made), dict(expected.labels)),
    ]
    wrong = tuple(
        line
        for field, actual, wanted in pairs
        if actual != wanted
        for line in (f"- {field} {wanted}", f"+ {field} {actual}")
    )
    if wrong:
        raise VerificationError(
            "The engine's image has other settings than the build wants (- wanted, + found).",
            remedy="Please report this, with the engine's version.",
            details=wrong,
        )


def _own_labels(config: ImageConfig) -> dict[str, str]:
    return {name: text for name, text in config.labels.items() if name != "io.buildah.version"}

"""Engine bake: a container engine makes the feature server by a Dockerfile, which then is an image like any other."""

from __future__ import annotations

import io
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from bundler.effects import base_image, engine_build, engine_connection, pip_source
from bundler.effects.blobs import BlobStore
from bundler.effects.engine import LABEL, Engine
from bundler.effects.engine_build import Build, ContextFile
from bundler.effects.engine_connection import EngineChoice
from bundler.errors import SpecError, VerificationError
from bundler.model import layout
from bundler.model.digest import Digest
from bundler.model.findings import Finding, Status
from bundler.model.lock import LockedSource, LockedWheel
from bundler.model.progress import Progress, Task
from bundler.model.spec import BundleSpec
from bundler.oci import docker_archive, saved_image
from bundler.oci.config import ImageConfig
from bundler.oci.image import Image
from bundler.oci.layer import COMPRESSOR, Layer
from bundler.oci.saved_image import SavedImage
from bundler.oci.settle import Settling
from bundler.render import dockerfile
from bundler.render.dockerfile import Recipe, SystemPackages
from bundler.steps import bake, wheel_layers
from bundler.steps.engine_order import EngineWork, Order
from bundler.steps.lock import Base
from bundler.wheels.archive import WheelArchive

# Raise where the same Dockerfile and context would become other layers than before.
_VERSION: Final = 1
_RECORD: Final = "engine-layers"
_APT: Final = frozenset({"debian", "ubuntu"})
_RPM: Final = frozenset({"rhel", "fedora", "centos"})
_SHELL: Final = re.compile(r"^(\|\d+ .*?)?/bin/sh -c (#\(nop\)\s*)?")
_CONTENT: Final = re.compile(r"\b(dir|file|multi):[0-9a-f]{64} ")


@contextmanager
def oven(
    spec: BundleSpec, engine: str, environment: Mapping[str, str], store: BlobStore, progress: Progress
) -> Iterator[Oven]:
    """Yield what bakes in an engine; what it leaves there goes with the block."""
    with ExitStack() as stack:
        yield Oven(spec, EngineChoice(engine, environment), store, progress, stack)


@dataclass
class Oven:
    """Bakes images in one engine, which is looked for when the first is not in the store already."""

    spec: BundleSpec
    choice: EngineChoice
    store: BlobStore
    progress: Progress
    stack: ExitStack
    """Closes the connection."""
    work: EngineWork = field(default_factory=EngineWork)
    _baked: dict[str, Recipe] = field(default_factory=dict)
    _engine: Engine | None = None

    def bake(self, order: Order) -> Image:
        """Bake an image and put it into the store.

        Raises:
            SpecError: the base or the platform cannot be built on by an engine.
            ToolMissingError: there is no engine.
            ToolFailedError: the engine does not answer or a step failed.
            VerificationError: what the engine made is not what was asked for.
        """
        recipe = self._recipe(order)
        files = dict(_texts(recipe, order))
        context = tuple(_context(files, order, self.store))
        unlabelled = dockerfile.render(replace(recipe, labels={}))  # labels are no part of any layer
        key = _key(self.choice, unlabelled, context, order.base.image)
        record = self.store.recall(_RECORD, key)
        layers, title = _recalled(record, self.store) or self._built(recipe, context, order)
        self.store.remember(_RECORD, key, {"engine": title, "layers": [layer.to_json() for layer in layers]})
        image = bake.assemble(order.base.image, layers, order.identity, self.store, epoch=order.created)
        self._check_packages(image, order)
        folder = f"{order.tenant}/" if order.tenant else ""
        self.work.files.update({folder + name: text for name, text in files.items()})
        self._baked[title] = recipe
        return image

    def findings(self) -> tuple[Finding, ...]:
        """Return what the checklist says of the images."""
        return tuple(_finding(title, recipe) for title, recipe in self._baked.items())

    def _connected(self) -> Engine:
        if self._engine is None:
            run = f"bundler-{secrets.token_hex(4)}"
            self._engine = self.stack.enter_context(engine_connection.connected(self.choice, run))
        return self._engine

    def _built(self, recipe: Recipe, context: tuple[ContextFile, ...], order: Order) -> tuple[tuple[Layer, ...], str]:
        engine = self._connected()
        if (engine.platform.os, engine.platform.architecture) != (order.platform.os, order.platform.architecture):
            raise SpecError(
                f"{engine.title} here builds for {engine.platform}, not for {order.platform}.",
                remedy="Leave the platform out of 'platforms', or bake without an engine, which can do all of them.",
            )
        with self.progress.task(f"Baking in {engine.title}") as task:
            base, name = f"localhost/{engine.run}/base:latest", f"localhost/{engine.run}/server:latest"
            task.note("loading the base")
            engine.load(base, docker_archive.stream(order.base.image, [base], self.store.open), keep=False)
            arguments = {"BASE": base}
            if recipe.system:
                # The stages that need none are built without a network, on what is then there already.
                first = f"localhost/{engine.run}/system:latest"
                stage = dockerfile.SYSTEM_STAGE
                engine_build.run(engine, Build(context, first, "host", stage, arguments), task)
            engine_build.run(engine, Build(context, name, "none", None, arguments), task)
            with self.store.temporary_folder() as folder:
                task.note("taking the image out")
                engine_build.save(engine, name, folder / "saved.tar")
                layers = self._taken(folder / "saved.tar", order, task)
        return layers, engine.title

    def _taken(self, saved: Path, order: Order, task: Task) -> tuple[Layer, ...]:
        try:
            with saved_image.opened(saved) as image:
                layers = tuple(self._settled(image, order, task))
                made = image.config
        except ValueError as error:
            raise VerificationError(
                f"The engine's image cannot be used: {error}.", remedy="Repeat the build."
            ) from error
        expected = bake.assemble(order.base.image, layers, order.identity, self.store, epoch=order.created)
        _check_config(made, expected.config)
        return layers

    def _settled(self, image: SavedImage, order: Order, task: Task) -> Iterator[Layer]:
        base = order.base.image
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

    def _recipe(self, order: Order) -> Recipe:
        python = order.base.contents.python
        if python is None:
            raise AssertionError("the lock was made for a base that has Python")
        base = order.base.image
        return Recipe(
            title=f"{order.identity.title} {order.identity.version}",
            base=f"localhost/bundler/base:{str(base.descriptor.digest).replace(':', '-')}",
            base_name=f"{order.identity.base_name or 'an archive'}, {base.descriptor.digest}",
            user=base.config.user,
            python=python.executable,
            site_packages=python.site_packages,
            home=str(Path(bake.REPO_FOLDER).parent),
            repo_folder=bake.REPO_FOLDER,
            epoch=bake.LAYER_EPOCH,
            labels=order.identity.labels(),
            packages=bool(order.row.installed),
            sources=tuple(source.name for source in order.row.sources),
            writable=self._written_at_start(order),
            system=_system(self.spec, order.base),
        )

    def _written_at_start(self, order: Order) -> str:
        """Return the file of Feast's that its server writes, empty where this release has none."""
        feast = next((wheel for wheel in order.row.wheels if wheel.name == "feast"), None)
        if feast is None:
            return ""
        with self.store.open(Digest(feast.sha256)) as stream:
            wanted = wheel_layers.WRITTEN_AT_START
            return wanted if wanted in WheelArchive(stream, feast.filename).entries else ""

    def _check_packages(self, image: Image, order: Order) -> None:
        """Compare what the image's Python finds with the lock."""
        contents = base_image.contents(image, self.store, progress=self.progress)
        self.work.contents[order.platform] = contents
        found = contents.distributions
        expected = {**order.base.contents.distributions, **{one.name: one.version for one in order.row.installed}}
        wrong = [f"- {name} {version}" for name, version in expected.items() if found.get(name) != version]
        wrong += [f"+ {name} {version}" for name, version in found.items() if expected.get(name) != version]
        if wrong:
            raise VerificationError(
                "The engine's image has other Python packages than the lock (- locked, + found).",
                remedy="A step of the base or a system package brings Python packages: choose others.",
                details=tuple(sorted(wrong)),
            )


def _finding(engine: str, recipe: Recipe) -> Finding:
    network = recipe.system.packages if recipe.system else ()
    lines = [f"baked by {engine} from {layout.build(engine_build.DOCKERFILE)}"]
    lines += [f"WITH A NETWORK, and not locked: system package {name}" for name in network]
    lines += ["without a network: every Python package, by its hash from the lock"]
    lines += [f"built from source, without a network, by tools of the lock: {name}" for name in recipe.sources]
    lines += [
        "times of files, folders of the base and what running left are set by bundler, the rest is as the steps make it"
        + (": another day's system packages make another image" if network else ": the same steps, the same image")
    ]
    return Finding("engine-build", "The image was baked by a container engine", Status.PASS, tuple(lines))


def _system(spec: BundleSpec, base: Base) -> SystemPackages | None:
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
        f"system_packages: the base is {title}, whose package manager is not known here.",
        remedy="Use a base of Debian's, Ubuntu's or Red Hat's family, or one that has the packages.",
    )


def _texts(recipe: Recipe, order: Order) -> Iterator[tuple[str, str]]:
    yield engine_build.DOCKERFILE, dockerfile.render(recipe)
    if recipe.packages:
        yield "requirements.txt", dockerfile.requirements(order.row.wheels)
    if recipe.sources:
        yield "sources.txt", dockerfile.requirements(order.row.sources)


def _context(texts: Mapping[str, str], order: Order, store: BlobStore) -> Iterator[ContextFile]:
    for name, text in texts.items():
        yield _in_memory(name, text.encode())
    for path, place in pip_source.files():
        yield _in_memory(f"pip/{path}", place.read_bytes())
    folders: Mapping[str, Sequence[LockedWheel | LockedSource]] = {
        "wheels": order.row.wheels,
        "sources": order.row.sources,
        "tools": order.row.tools,
    }
    for folder, files in folders.items():
        for one in files:
            digest = Digest(one.sha256)
            yield ContextFile(f"{folder}/{one.filename}", one.size, partial(store.open, digest), digest)
    for file in order.repo.files:
        yield ContextFile(
            f"feature_repo/{file.path}",
            file.size,
            partial(_opened, file.source),
            file.digest,
            executable=file.executable,
        )


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")


def _in_memory(path: str, content: bytes) -> ContextFile:
    return ContextFile(path, len(content), lambda: io.BytesIO(content), Digest.of(content))


def _key(choice: EngineChoice, text: str, context: tuple[ContextFile, ...], base: Image) -> str:
    rows = [f"{file.path} {file.executable} {file.digest}" for file in context if file.path != engine_build.DOCKERFILE]
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
        line for what, one, other in pairs if one != other for line in (f"- {what} {other}", f"+ {what} {one}")
    )
    if wrong:
        raise VerificationError(
            "The engine's image runs otherwise than it must (- wanted, + made).",
            remedy="Please report this, with the engine's version.",
            details=wrong,
        )


def _own_labels(config: ImageConfig) -> dict[str, str]:
    return {name: text for name, text in config.labels.items() if name not in (LABEL, "io.buildah.version")}

"""Locked wheels become image layers, one a group, made only where the cache does not have them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from bundler.effects import bytecode
from bundler.effects.blobs import BlobStore
from bundler.model.digest import Digest
from bundler.model.lock import LockedWheel
from bundler.model.progress import Progress, Task
from bundler.oci import tar
from bundler.oci.layer import COMPRESSOR, Layer, LayerWriter, writing
from bundler.wheels.groups import WheelGroup, group
from bundler.wheels.install import InstalledFile, InstallTarget, OpenWheel

# Part of the cache key: raise it when the same wheels become other bytes.
_RECIPE: Final = 2
# Feast's UI server before 0.66 writes this file of its own package when it starts; servers run in group 0.
_WRITTEN_AT_START: Final = "/feast/ui/build/projects-list.json"
_THREADS: Final = 2


@dataclass(frozen=True)
class _Job:
    group: WheelGroup
    target: InstallTarget
    epoch: int
    requested: frozenset[str]
    program: str | None  # the interpreter that compiles, None where the host has none of the image's version

    @property
    def key(self) -> str:
        wheels = " ".join(f"{wheel.sha256}{'!' if wheel.name in self.requested else ''}" for wheel in self.group.wheels)
        compiled = bytecode.identity(self.program) if self.program else "no byte code"
        target = f"{self.target.interpreter} {self.target.site_packages} {self.target.scripts}"
        return f"{_RECIPE} {COMPRESSOR} {self.epoch} {target} {compiled} {wheels}"


def build(
    wheels: Sequence[LockedWheel],
    target: InstallTarget,
    store: BlobStore,
    *,
    epoch: int,
    requested: frozenset[str],
    progress: Progress,
) -> tuple[Layer, ...]:
    """Return the layers of wheels that are in the store, from rarely to often changing.

    ``requested`` names the distributions that somebody asked for (the others came as dependencies).
    """
    program = bytecode.interpreter(target.version)
    jobs = [_Job(part, target, epoch, requested, program) for part in group(wheels, requested)]
    with (
        progress.task("Baking Python packages into layers", total=sum(len(job.group.wheels) for job in jobs)) as task,
        ThreadPoolExecutor(_THREADS) as threads,
    ):
        running = [threads.submit(_layer, job, store, task) for job in jobs]
        try:
            return tuple(one.result() for one in running)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _layer(job: _Job, store: BlobStore, task: Task) -> Layer:
    record = store.recall("wheel-layer", job.key)
    if record is not None:
        layer = Layer.from_json(record)
        if store.has(layer.descriptor.digest, layer.descriptor.size):
            task.advance(len(job.group.wheels))
            return layer
    with store.writing() as sink:
        with writing(sink, created_by=f"bundler: {job.group.title}") as layer_writer:
            _write(job, store, layer_writer, task)
        layer = layer_writer.layer
    store.remember("wheel-layer", job.key, layer.to_json())
    return layer


def _write(job: _Job, store: BlobStore, writer: LayerWriter, task: Task) -> None:
    with ExitStack() as opened:
        installed = {}
        for wheel in job.group.wheels:
            stream = opened.enter_context(store.open(Digest(wheel.sha256)))
            files = OpenWheel(stream, wheel.filename).files(job.target, requested=wheel.name in job.requested)
            installed[wheel.filename] = files
        owner = {file.path: name for name, files in installed.items() for file in files}
        folders = _of_the_base(job.target)
        for name, files in installed.items():
            # Two wheels may hold the same path (a stray tests/__init__.py); as with pip, the later one stays.
            _write_wheel([file for file in files if owner[file.path] == name], job, writer, folders)
            task.advance(1)


def _write_wheel(files: Sequence[InstalledFile], job: _Job, writer: LayerWriter, folders: set[str]) -> None:
    for file in files:
        _write_folders(file.path, job.epoch, writer, folders)
        mode = 0o755 if file.executable else 0o644
        if file.path.endswith(_WRITTEN_AT_START):
            mode |= 0o020
        with file.open() as content:
            writer.add(tar.Member(file.path, tar.Kind.FILE, mode, 0, 0, file.size, job.epoch), content)
    if job.program is None:
        return
    site = job.target.site_packages.lstrip("/") + "/"
    sources = [file for file in files if file.path.endswith(".py") and file.path.startswith(site)]
    for path, compiled in _compiled(sources, job):
        _write_folders(path, job.epoch, writer, folders)
        member = tar.Member(path, tar.Kind.FILE, 0o644, 0, 0, len(compiled), job.epoch)
        writer.add(member, io.BytesIO(compiled))


def _compiled(sources: Sequence[InstalledFile], job: _Job) -> Iterator[tuple[str, bytes]]:
    if not sources or job.program is None:
        return
    with bytecode.compiler(job.program) as compiler:
        for source in sources:
            with source.open() as stream:
                answer = compiler.compile("/" + source.path, stream.read())
            if answer is not None:
                path = PurePosixPath(source.path)
                yield str(path.parent / "__pycache__" / f"{path.stem}.{job.target.cache_tag}.pyc"), answer


def _of_the_base(target: InstallTarget) -> set[str]:
    """Return the folders that the base has: a layer that names one would set its owner and mode anew."""
    deepest = [PurePosixPath(path.lstrip("/")) for path in (target.site_packages, target.scripts)]
    return {str(folder) for path in deepest for folder in (path, *path.parents)}


def _write_folders(path: str, epoch: int, writer: LayerWriter, written: set[str]) -> None:
    for parent in reversed(PurePosixPath(path).parents[:-1]):
        if (name := str(parent)) not in written:
            written.add(name)
            writer.add(tar.Member(name, tar.Kind.DIRECTORY, 0o755, 0, 0, 0, epoch))

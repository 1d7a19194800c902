"""Locked wheels become image layers, one a group, made only where the cache does not have them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePosixPath
from threading import Event
from typing import Final

from bundler.effects.blobs import BlobStore
from bundler.effects.packages.bytecode import Compiler, CompilerSession, SourceFile
from bundler.errors import VerificationError
from bundler.model.digest import Digest
from bundler.model.lock import LockedWheel
from bundler.model.progress import Progress, Task
from bundler.oci import tar
from bundler.oci.layer import COMPRESSOR, Layer, LayerWriter, writing
from bundler.steps.build import cached_layer
from bundler.wheels.groups import WheelGroup, group
from bundler.wheels.install import InstalledFile, InstallTarget, OpenWheel

# Part of the cache key: raise it when the same wheels become other bytes.
_RECIPE: Final = 5
_RECORD: Final = "wheel-layer"
# Feast's UI server before 0.66 writes this file of its own package when it starts; servers run in group 0.
WRITTEN_AT_START: Final = "feast/ui/build/projects-list.json"
# A third of all Python code in these wheels; nobody imports it in a server, and without byte code it would still run.
_TESTS: Final = frozenset({"tests", "test"})
_THREADS: Final = 2


class _StoppedError(Exception):
    """Another layer failed or somebody interrupted: this one is not finished."""


@dataclass(frozen=True)
class _Job:
    group: WheelGroup
    target: InstallTarget
    epoch: int
    requested: frozenset[str]
    compiler: Compiler | None  # None where nothing can compile for the image's version
    stop: Event

    @property
    def key(self) -> str:
        wheels = " ".join(f"{wheel.sha256}{'!' if wheel.name in self.requested else ''}" for wheel in self.group.wheels)
        compiled = self.compiler.identity if self.compiler else "no byte code"
        target = f"{self.target.interpreter} {self.target.site_packages} {self.target.scripts}"
        return f"{_RECIPE} {COMPRESSOR} {self.epoch} {target} {compiled} {wheels}"

    @property
    def size(self) -> int:
        """Bytes of the group's wheels."""
        return sum(wheel.size for wheel in self.group.wheels)


def build(
    wheels: Sequence[LockedWheel],
    target: InstallTarget,
    store: BlobStore,
    *,
    epoch: int,
    requested: frozenset[str],
    compiler: Compiler | None,
    progress: Progress,
) -> tuple[Layer, ...]:
    """Return the layers of wheels that are in the store, from rarely to often changing.

    ``requested`` names the distributions that somebody asked for (the others came as dependencies). ``compiler`` makes
    their byte code; without one they have none.

    Raises:
        VerificationError: a wheel is damaged, or holds what a wheel must not.
    """
    stop = Event()
    jobs = [_Job(wheel_group, target, epoch, requested, compiler, stop) for wheel_group in group(wheels, requested)]
    with (
        progress.task("Baking Python packages into layers", total=sum(len(job.group.wheels) for job in jobs)) as task,
        ThreadPoolExecutor(_THREADS) as threads,
    ):
        # The longest first: no thread should begin it when the others are done.
        running = {job: threads.submit(_layer, job, store, task) for job in sorted(jobs, key=lambda job: -job.size)}
        try:
            for done in as_completed(running.values()):
                done.result()
        except BaseException:
            stop.set()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
        return tuple(running[job].result() for job in jobs)


def _layer(job: _Job, store: BlobStore, task: Task) -> Layer:
    if cached := cached_layer.recall(store, _RECORD, job.key):
        task.advance(len(job.group.wheels))
        return cached
    with store.writing() as sink:
        with writing(sink, created_by=f"bundler: {job.group.title}") as layer_writer:
            _write(job, store, layer_writer, task)
        layer = layer_writer.layer
    cached_layer.remember(store, _RECORD, job.key, layer)
    return layer


def _write(job: _Job, store: BlobStore, writer: LayerWriter, task: Task) -> None:
    with ExitStack() as opened:
        installed: dict[str, tuple[InstalledFile, ...]] = {}
        for wheel in job.group.wheels:
            stream = opened.enter_context(store.open(Digest(wheel.sha256)))
            files = OpenWheel(stream, wheel.filename).files(job.target, requested=wheel.name in job.requested)
            installed[wheel.filename] = files
        owner = {file.path: name for name, files in installed.items() for file in files}
        _check_folders(owner)
        folders = _of_the_base(job.target)
        session = opened.enter_context(job.compiler.session()) if job.compiler else None
        for name, files in installed.items():
            task.note(name)
            # Two wheels may hold the same path (a stray tests/__init__.py); as with pip, the later one stays.
            own = [file for file in files if owner[file.path] == name]
            _write_wheel(own, job, writer, folders)
            if session is not None:
                _write_byte_code(session, own, job, writer, folders)
            task.advance(1)


def _check_folders(owner: Mapping[str, str]) -> None:
    for path, name in owner.items():
        for parent in PurePosixPath(path).parents:
            if other := owner.get(str(parent)):
                raise VerificationError(
                    f"{name} has a folder {str(parent)!r}, which is a file in {other}.",
                    remedy="These two cannot be installed together: leave one of them out of the requirements.",
                )


def _write_wheel(files: Sequence[InstalledFile], job: _Job, writer: LayerWriter, folders: set[str]) -> None:
    for file in files:
        if job.stop.is_set():
            raise _StoppedError
        _write_folders(file.path, job.epoch, writer, folders)
        mode = 0o755 if file.executable else 0o644
        if file.path.endswith("/" + WRITTEN_AT_START):
            mode |= 0o020
        with file.open() as content:
            writer.add(tar.TarEntry(file.path, tar.EntryKind.FILE, mode, 0, 0, file.size, job.epoch), content)


def _write_byte_code(
    session: CompilerSession, files: Sequence[InstalledFile], job: _Job, writer: LayerWriter, folders: set[str]
) -> None:
    sources = (_source(file) for file in files if _is_compiled(file.path, job.target))
    for name, code in session.compiled(sources):
        if job.stop.is_set():
            raise _StoppedError
        path = _cached(name, job.target)
        _write_folders(path, job.epoch, writer, folders)
        member = tar.TarEntry(path, tar.EntryKind.FILE, 0o644, 0, 0, len(code), job.epoch)
        writer.add(member, io.BytesIO(code))


def _is_compiled(path: str, target: InstallTarget) -> bool:
    site = target.site_packages.lstrip("/") + "/"
    return path.endswith(".py") and path.startswith(site) and _TESTS.isdisjoint(path.split("/"))


def _source(file: InstalledFile) -> SourceFile:
    with file.open() as stream:
        return SourceFile("/" + file.path, stream.read())


def _cached(source: str, target: InstallTarget) -> str:
    """Return where the byte code of a source lies (PEP 3147)."""
    path = PurePosixPath(source.lstrip("/"))
    return str(path.parent / "__pycache__" / f"{path.stem}.{target.cache_tag}.pyc")


def _of_the_base(target: InstallTarget) -> set[str]:
    """Return the folders that the base has: a layer that names one would set its owner and mode again."""
    deepest = [PurePosixPath(path.lstrip("/")) for path in (target.site_packages, target.scripts)]
    return {str(folder) for path in deepest for folder in (path, *path.parents)}


def _write_folders(path: str, epoch: int, writer: LayerWriter, written: set[str]) -> None:
    for parent in reversed(PurePosixPath(path).parents[:-1]):
        if (name := str(parent)) not in written:
            written.add(name)
            writer.add(tar.TarEntry(name, tar.EntryKind.DIRECTORY, 0o755, 0, 0, 0, epoch))

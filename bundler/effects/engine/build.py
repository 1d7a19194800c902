"""Build an image in a container engine: stream the context to it, report its steps, stream the image back."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from bundler.effects.engine import faults, podman_leftovers
from bundler.effects.engine.api import Engine
from bundler.effects.engine.container import plain_lines
from bundler.errors import ToolFailedError
from bundler.model.digest import Digest
from bundler.model.progress import Task
from bundler.oci import tar
from bundler.oci.tar import EntryKind, TarEntry

_STEP: Final = re.compile(r"step (\d+)/(\d+)\s*: (.+)", re.IGNORECASE)
_IMAGE: Final = re.compile(r"-{2,3}>\s+(?:Using cache\s+)?([0-9a-f]{11,64})$")
_TAIL: Final = 20
_CHUNK: Final = 1 << 20
# Pattern in the last lines of a step -> what to do; the first match counts.
_REMEDIES: Final = (
    (re.compile(r"no space left on device", re.IGNORECASE), faults.FREE_SPACE),
    (
        re.compile(
            r"could not resolve|temporary failure|unable to connect|connection (refused|timed out)|unreachable"
            r"|cannot (find a valid baseurl|download|prepare internal mirrorlist)",
            re.IGNORECASE,
        ),
        "This step needs the package sources of the base image: check them, and the network and proxy of the engine.",
    ),
    (
        re.compile(r"unable to locate package|has no installation candidate|no match for argument", re.IGNORECASE),
        "Correct the name in 'system_packages': the package sources of the base image do not have it.",
    ),
    (
        re.compile(r"no matching distribution found for|has requirement|which is not installed", re.IGNORECASE),
        "A source distribution does not declare all that it needs: add that to 'packages', or build a wheel of it.",
    ),
    (
        re.compile(r"error: command '?[^ ]*(gcc|cc|g\+\+|cargo|rustc)", re.IGNORECASE),
        "A source distribution needs a compiler: add it and headers to 'system_packages' (gcc, python3-dev).",
    ),
    (
        re.compile(r"not found|no such file", re.IGNORECASE),
        "The base image lacks a program that this step needs: use another base image.",
    ),
)


@dataclass(frozen=True)
class ContextFile:
    """A file of a build context: ``path`` below it, ``size`` in bytes, ``digest`` of its content."""

    path: str
    size: int
    open: Callable[[], BinaryIO]
    digest: Digest
    executable: bool = False


@dataclass(frozen=True)
class Build:
    """What to build: the files of a context, ``dockerfile`` among them, and the name that the image gets.

    ``network`` is the engine's, for every step: ``none`` or ``host``.
    """

    files: tuple[ContextFile, ...]
    name: str
    network: str
    dockerfile: str = "Dockerfile"
    arguments: Mapping[str, str] = field(default_factory=dict)


def run(engine: Engine, build: Build, task: Task) -> None:
    """Build an image; it and its stages are removed when the engine's connection is closed.

    Raises:
        ToolFailedError: a step failed, with the instruction and its last lines; or the engine did.
    """
    report = _BuildOutput(engine, task)
    try:
        with (
            faults.explained(f"building {build.name}"),
            podman_leftovers.removed(engine) if engine.podman else nullcontext(),
            _isolating(engine, build) as network,
            _closing(_output_of(engine, build, network)) as output,
        ):
            for row in output:
                report.take(row)
    finally:
        engine.adopt_image(build.name)  # after its stages, because the newest is removed first
    report.check()


def save(engine: Engine, name: str, target: Path) -> None:
    """Write an image as the engine saves it (``docker save``) into a file."""
    with faults.explained(f"saving {name}"), target.open("wb") as stream:
        for piece in engine.api.get_image(name, chunk_size=_CHUNK):
            stream.write(piece)


@contextmanager
def _isolating(engine: Engine, build: Build) -> Iterator[str]:
    """Yield the network mode as the engine takes it.

    Podman's API up to 5 does not know ``none`` and gives steps the network of the host. To prevent this, the client
    sends parameters of Podman's own API while the block runs.
    """
    if not engine.podman or build.network != "none":
        yield build.network
        return
    engine.api.params = {"nsoptions": json.dumps([{"Name": "network", "Host": False}])}
    try:
        yield "NetworkDisabled"
    finally:
        engine.api.params = {}


def _output_of(engine: Engine, build: Build, network: str) -> Iterator[dict[str, object]]:
    rows: Iterator[dict[str, object]] = engine.api.build(
        fileobj=_context(build.files),  # type: ignore[arg-type]  # any iterable of bytes is sent
        custom_context=True,
        dockerfile=build.dockerfile,
        tag=build.name,
        network_mode=network,
        buildargs=dict(build.arguments),
        rm=True,
        forcerm=True,
        decode=True,
    )
    return rows


@contextmanager
def _closing(rows: Iterator[dict[str, object]]) -> Iterator[Iterator[dict[str, object]]]:
    """Close the connection in any case: engines stop a build when its client disconnects."""
    try:
        yield rows
    finally:
        close = getattr(rows, "close", None)
        if close:
            close()


def _context(files: tuple[ContextFile, ...]) -> Iterator[bytes]:
    """Yield the tar of a context; its members belong to root and have no time."""
    folders: set[str] = set()
    for file in files:
        names = file.path.split("/")[:-1]
        for depth in range(1, len(names) + 1):
            if (folder := "/".join(names[:depth])) not in folders:
                folders.add(folder)
                yield tar.header(TarEntry(folder, EntryKind.DIRECTORY, 0o755))
        yield tar.header(TarEntry(file.path, EntryKind.FILE, 0o755 if file.executable else 0o644, size=file.size))
        left = file.size
        with file.open() as stream:
            while left and (chunk := stream.read(min(left, _CHUNK))):
                left -= len(chunk)
                yield chunk
        if left:
            raise OSError(f"{file.path} became shorter while it was read")
        yield tar.padding(file.size)
    yield tar.END


class _BuildOutput:
    """The engine's output during a build, reported as steps of a task."""

    def __init__(self, engine: Engine, task: Task) -> None:
        self._engine = engine
        self._task = task
        self._instruction = "reading the Dockerfile"
        self._tail: deque[str] = deque(maxlen=_TAIL)
        self._error = ""

    def take(self, row: Mapping[str, object]) -> None:
        if "error" in row:
            self._error = "\n".join(plain_lines(str(row["error"])))
        for line in plain_lines(str(row.get("stream", ""))):
            self._line(line.strip())

    def _line(self, line: str) -> None:
        if match := _STEP.search(line):
            self._instruction = " ".join(match[3].split())
            self._tail.clear()
            self._task.note(f"{match[1]}/{match[2]} {self._instruction[:100]}")
        elif match := _IMAGE.search(line):
            self._engine.adopt_image(match[1])
        else:
            self._tail.append(line)

    def check(self) -> None:
        if not self._error:
            return
        text = "\n".join((*self._tail, self._error))
        remedy = next(
            (remedy for pattern, remedy in _REMEDIES if pattern.search(text)), "The details show its last output."
        )
        raise ToolFailedError(
            f"{self._engine.title} failed at this step of the Dockerfile: {self._instruction[:300]}",
            remedy=remedy,
            details=(*self._tail, self._error),
        )

"""Leftovers of killed runs in an engine: each run writes a note while it lasts, by which the next one finds them."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import docker

from bundler.effects.engine import podman_leftovers
from bundler.effects.engine.api import LABEL, Engine
from bundler.errors import UsageError

_NO_NAME: Final = frozenset({"<none>:<none>"})


def folder(cache: Path) -> Path:
    """Return the folder of the notes in a user's cache."""
    return cache / "engine-runs"


@contextmanager
def noted(notes: Path, engine: Engine) -> Iterator[None]:
    """Note this run in the folder ``notes`` while the block runs; before, remove what noted runs left in the engine.

    A note is locked by its run, so that one without a lock is of a run that was killed. What cannot be removed now
    stays for the next time.

    Raises:
        UsageError: nothing can be written there.
    """
    note = notes / engine.run
    try:
        _tidy(notes, engine)
        notes.mkdir(parents=True, exist_ok=True)
        stream = note.open("wb", buffering=0)
    except OSError as error:
        raise UsageError(
            f"Cannot note this run in {notes}: {error.strerror}.", remedy="Name another folder with --cache-dir."
        ) from error
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.write(engine.place.encode())
        try:
            yield
        finally:
            note.unlink(missing_ok=True)


def _tidy(notes: Path, engine: Engine) -> None:
    for note in sorted(notes.iterdir()) if notes.is_dir() else ():
        with suppress(OSError, docker.errors.DockerException), note.open("r+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if stream.read().decode(errors="replace") == engine.place:
                _remove(engine, note.name)
                note.unlink()


def _remove(engine: Engine, run: str) -> None:
    """Remove containers, volumes and images of a run: by their label, by its names, and what was made from those."""
    images = _images(engine, run)
    rows = engine.api.containers(all=True)
    _remove_containers(
        engine, [row["Id"] for row in rows if (row["Labels"] or {}).get(LABEL) == run or row["ImageID"] in images]
    )
    if engine.podman:
        podman_leftovers.remove(engine, run, tuple(images))
    for volume in engine.api.volumes(filters={"label": f"{LABEL}={run}"})["Volumes"] or ():
        engine.api.remove_volume(volume["Name"], force=True)
    for names in reversed(list(images.values())):
        for name in names:
            with suppress(docker.errors.APIError):  # the last name of an image takes those below it along
                engine.api.remove_image(name, force=True)


def _remove_containers(engine: Engine, containers: Sequence[str]) -> None:
    """Remove containers in two rounds: Podman keeps one while another is in its network, and lists them at random.

    Raises:
        docker.errors.APIError: one of them cannot be removed in the second round either.
    """
    removed = set()
    for container in containers:
        with suppress(docker.errors.APIError):
            engine.api.remove_container(container, force=True, v=True)
            removed.add(container)
    for container in containers:
        if container not in removed:
            engine.api.remove_container(container, force=True, v=True)


def _images(engine: Engine, run: str) -> Mapping[str, tuple[str, ...]]:
    """Return id -> what to remove it by, children last: images named by a run, and nameless ones made from them."""
    rows: list[dict[str, Any]] = engine.api.images(all=True)
    own = {row["Id"]: _names(row, run) for row in rows if _names(row, run)}
    grown = True
    while grown:
        nameless = [row for row in rows if row["Id"] not in own and not {*(row.get("RepoTags") or ())} - _NO_NAME]
        children = {row["Id"]: (row["Id"],) for row in nameless if row.get("ParentId") in own}
        own |= children
        grown = bool(children)
    return own


def _names(row: Mapping[str, Any], run: str) -> tuple[str, ...]:
    return tuple(name for name in row.get("RepoTags") or () if name.startswith(f"localhost/{run}/"))

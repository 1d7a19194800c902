"""What killed builds left in an engine: each build leaves a note while it runs, by which the next one removes it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import docker

from bundler.effects import podman_leftovers
from bundler.effects.engine import LABEL, Engine

_NO_NAME: Final = frozenset({"<none>:<none>"})


@contextmanager
def noted(folder: Path, engine: Engine) -> Iterator[None]:
    """Note this run in ``folder`` while the block runs; before, remove from the engine what noted runs left there.

    A note is locked by its run, so that one without a lock is of a run that was killed. What cannot be removed now
    stays for the next time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for note in sorted(folder.iterdir()):
        with suppress(OSError, docker.errors.DockerException), note.open("r+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if stream.read().decode(errors="replace") == engine.place:
                _remove(engine, note.name)
                note.unlink()
    note = folder / engine.run
    with note.open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.write(engine.place.encode())
        stream.flush()
        try:
            yield
        finally:
            note.unlink(missing_ok=True)


def _remove(engine: Engine, run: str) -> None:
    """Remove containers, volumes and images of a run: by their label, by its names, and what was made from those."""
    images = _images(engine, run)
    for container in engine.api.containers(all=True):
        if (container["Labels"] or {}).get(LABEL) == run or container["ImageID"] in images:
            engine.api.remove_container(container["Id"], force=True, v=True)
    if engine.podman:
        podman_leftovers.remove(engine, run, tuple(images))
    for volume in engine.api.volumes(filters={"label": f"{LABEL}={run}"})["Volumes"] or ():
        engine.api.remove_volume(volume["Name"], force=True)
    for names in reversed(list(images.values())):
        for name in names:
            with suppress(docker.errors.APIError):  # the last name of an image takes those below it along
                engine.api.remove_image(name, force=True)


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

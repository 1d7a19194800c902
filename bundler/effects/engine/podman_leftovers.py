"""The containers in which Podman runs the steps of a build: it leaves them behind when a build is interrupted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import docker

from bundler.effects.engine.api import Engine

_API: Final = "/v4.0.0/libpod/containers"
_END_TIMEOUT: Final = 5.0  # seconds
_PAUSE: Final = 0.25


@contextmanager
def removed(engine: Engine) -> Iterator[None]:
    """Remove the containers of the engine's builds where the block fails; also when interrupted.

    They do not count as containers, so only Podman's own API shows them. Podman removes them itself when the step
    under way has ended, for which it gets some seconds.
    """
    try:
        yield
    except BaseException:
        with suppress(docker.errors.DockerException, OSError):
            end = time.monotonic() + _END_TIMEOUT
            while _working(engine, engine.run, engine.image_ids) and time.monotonic() < end:
                time.sleep(_PAUSE)
            remove(engine, engine.run, engine.image_ids)
        raise


def remove(engine: Engine, run: str, images: Sequence[str]) -> None:
    """Remove the working containers of builds on images of a run: its named images, and ``images`` by their ids."""
    for container in _working(engine, run, images):
        engine.api.delete(f"{engine.api.base_url}{_API}/{container}", params={"force": "true"})


def _working(engine: Engine, run: str, images: Sequence[str]) -> list[str]:
    answer = engine.api.get(f"{engine.api.base_url}{_API}/json", params={"all": "true", "external": "true"})
    rows = answer.json() if answer.ok else []
    short = [image.removeprefix("sha256:") for image in images]
    return [str(row["Id"]) for row in rows or [] if row.get("Command") == ["buildah"] and _is_of(row, run, short)]


def _is_of(row: Mapping[str, object], run: str, images: Sequence[str]) -> bool:
    identity = str(row.get("ImageID", ""))
    return f"/{run}/" in str(row.get("Image", "")) or any(map(identity.startswith, images))

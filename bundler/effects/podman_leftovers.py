"""The containers in which Podman runs the steps of a build: it leaves them where a build is broken off."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

import docker

from bundler.effects.engine import Engine

_API: Final = "/v4.0.0/libpod/containers"
_PATIENCE: Final = 5.0
_PAUSE: Final = 0.25


@contextmanager
def removed(engine: Engine) -> Iterator[None]:
    """Remove the containers of the engine's builds where the block fails; also when interrupted.

    They are no containers of Podman's own, so only its own API shows them. Podman removes them itself when the step
    under way has ended, for which it gets some seconds.
    """
    try:
        yield
    except BaseException:
        with suppress(docker.errors.DockerException, OSError):
            end = time.monotonic() + _PATIENCE
            while (left := _working(engine)) and time.monotonic() < end:
                time.sleep(_PAUSE)
            for container in left:
                engine.api.delete(f"{engine.api.base_url}{_API}/{container}", params={"force": "true"})
        raise


def _working(engine: Engine) -> list[str]:
    """Return the working containers of builds on images that were made through this connection."""
    answer = engine.api.get(f"{engine.api.base_url}{_API}/json", params={"all": "true", "external": "true"})
    rows = answer.json() if answer.ok else []
    return [str(row["Id"]) for row in rows or [] if row.get("Command") == ["buildah"] and _is_ours(row, engine)]


def _is_ours(row: Mapping[str, object], engine: Engine) -> bool:
    identity = str(row.get("ImageID", ""))
    return f"/{engine.run}/" in str(row.get("Image", "")) or any(map(identity.startswith, engine.image_ids))

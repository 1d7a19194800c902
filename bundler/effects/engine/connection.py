"""Find a container engine: by DOCKER_HOST, docker context or socket; else Podman's API, started and ended here."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import docker
from docker.utils import kwargs_from_env

from bundler.effects import process
from bundler.effects.engine import docker_context
from bundler.effects.engine.api import Engine
from bundler.errors import ToolFailedError, ToolMissingError, UsageError

_ENGINES: Final = ("docker", "podman")
_SOCKET: Final = Path("/var/run/docker.sock")
_INSTALL: Final = "Install Docker or Podman, or set DOCKER_HOST."
_START: Final = "Start the engine, or set DOCKER_HOST to its address."
_START_TIMEOUT: Final = 30.0  # seconds
# Seconds without a request after which Podman's API ends by itself: where this program was killed, nobody else ends it.
_IDLE: Final = 1800
# Seconds for one call; long enough for a command that prints nothing for a while.
_TIMEOUT: Final = 600
_SETTINGS: Final = frozenset({"base_url", "tls"})


@dataclass(frozen=True)
class EngineChoice:
    """The engine to use: ``docker``, ``podman`` or (None) the first that is found, and where to look for it."""

    name: str | None
    environment: Mapping[str, str]

    def __post_init__(self) -> None:
        if self.name not in (None, *_ENGINES):
            raise UsageError(f"{self.name!r} is not a container engine.", remedy=f"Name one of {', '.join(_ENGINES)}.")


@contextmanager
def connected(choice: EngineChoice, run: str) -> Iterator[Engine]:
    """Connect to an engine; all that it makes has names and labels with ``run``, and is removed when the block ends.

    Raises:
        ToolMissingError: no engine was found.
        ToolFailedError: it does not answer, this user may not use it, or it is too old.
    """
    with ExitStack() as stack:
        settings = _docker(choice.environment) if choice.name != "podman" else None
        if settings is None and choice.name == "docker":
            raise ToolMissingError(
                f"Docker was not found: DOCKER_HOST is not set, and {_SOCKET} does not exist.", remedy=_INSTALL
            )
        if settings is None:
            settings = {"base_url": _podman(choice.environment) or stack.enter_context(_podman_service())}
        yield stack.enter_context(closing(Engine(_client(settings), run)))


def _docker(environment: Mapping[str, str]) -> dict[str, Any] | None:
    """Return how to reach Docker; None where it was not found."""
    if environment.get("DOCKER_HOST"):
        return {key: value for key, value in kwargs_from_env(environment=dict(environment)).items() if key in _SETTINGS}
    if context := docker_context.chosen(environment):
        return context
    return {"base_url": f"unix://{_SOCKET}"} if not _is_absent(_SOCKET) else None


def _podman(environment: Mapping[str, str]) -> str | None:
    """Return the address of a running Podman API that this user may use."""
    if environment.get("CONTAINER_HOST", "").startswith("unix://"):
        return environment["CONTAINER_HOST"]
    folder = Path(environment.get("XDG_RUNTIME_DIR", "/run")) if os.geteuid() else Path("/run")
    socket = folder / "podman" / "podman.sock"
    return f"unix://{socket}" if os.access(socket, os.W_OK) else None


@contextmanager
def _podman_service() -> Iterator[str]:
    """Run Podman's API for as long as the block; yield its address."""
    program = process.find("podman", remedy=_INSTALL)
    with tempfile.TemporaryDirectory(prefix="podman-") as name:  # short: the path of a socket has at most 107 letters
        socket = Path(name) / "api.sock"
        command: list[str | Path] = [program, "system", "service", f"--time={_IDLE}", f"unix://{socket}"]
        with process.serving(command, purpose="serving Podman's API") as service:
            end = time.monotonic() + _START_TIMEOUT
            while not socket.exists():
                service.check()
                if time.monotonic() > end:
                    raise ToolFailedError(
                        "Podman's API did not start.", remedy="Run `podman info` to see what is wrong."
                    )
                time.sleep(0.05)
            yield f"unix://{socket}"


def _client(settings: dict[str, Any]) -> docker.APIClient:
    address = settings["base_url"] or f"unix://{_SOCKET}"
    if str(address).startswith("unix://") and _is_absent(Path(str(address).removeprefix("unix://"))):
        raise ToolFailedError(f"The engine at {address} cannot be used: the socket does not exist.", remedy=_START)
    try:
        return docker.APIClient(version="auto", timeout=_TIMEOUT, **settings)
    except docker.errors.DockerException as error:
        raise ToolFailedError(f"The engine at {address} cannot be used: {error}.", remedy=_remedy(error)) from error


def _is_absent(socket: Path) -> bool:
    try:
        socket.stat()
    except PermissionError:  # connecting reports it, with the remedy
        return False
    except OSError:
        return True
    return False


def _remedy(error: Exception) -> str:
    message = str(error)
    if "Permission denied" in message:
        return "Let this user use it (the group docker, or rootless Podman), or be root."
    if "no longer supported" in message:
        return "Upgrade the engine: Docker 20.10 and Podman 4 are the oldest releases that are tested."
    return _START

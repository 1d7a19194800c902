"""One container of an engine: its settings, commands in it, and its output."""

from __future__ import annotations

import io
import re
import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import docker
from docker.types import Ulimit

from bundler.effects.engine import faults

_WAIT: Final = 0.1
# Podman asks for more than a process without CAP_SYS_RESOURCE may give; these are below every usual hard limit.
_PODMAN_LIMITS: Final = {"nofile": 1024, "nproc": 4096}
_STEERING: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")  # ECMA-48, control sequences


def plain_lines(text: str) -> tuple[str, ...]:
    """Return the lines that are not empty, without colours and the like."""
    return tuple(line.rstrip() for line in _STEERING.sub("", text).splitlines() if line.strip())


@dataclass(frozen=True)
class Ran:
    """The result of a command in a container; ``output`` has both streams, in the order in which they were written."""

    status: int
    output: str
    seconds: float

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The last lines of the output, for reports."""
        return plain_lines(self.output)[-12:]


@dataclass(frozen=True)
class ContainerState:
    """Whether a container runs; ``exit_code`` is of its last run, None before the first has ended."""

    running: bool
    exit_code: int | None


@dataclass(frozen=True)
class ContainerPlan:
    """A container to be made.

    ``network`` is the container whose network it shares; without one it has a network of its own that leads nowhere.
    ``hosts`` is name -> address, ``mounts`` path -> volume, ``temporary`` the paths of file systems in memory.
    ``user`` is UID[:GID] or a name, empty for the image's own.
    """

    name: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    working_folder: str = ""
    user: str = ""
    groups: tuple[int, ...] = ()
    network: EngineContainer | None = None
    hosts: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, str] = field(default_factory=dict)
    read_only_mounts: frozenset[str] = frozenset()
    read_only_root: bool = False
    temporary: tuple[str, ...] = ()
    privileged_user: bool = False
    """Keep the engine's default capabilities; other containers have none, and cannot gain any."""


class EngineContainer:
    """A container of an engine."""

    def __init__(self, api: docker.APIClient, plan: ContainerPlan, identity: str) -> None:
        self._api = api
        self.plan = plan
        self.identity = identity

    def start(self) -> None:
        """Start it, also again after it ended."""
        with faults.explained(f"starting {self.plan.name}"):
            self._api.start(self.identity)

    def restart(self) -> None:
        """End it at once and start it again."""
        with faults.explained(f"restarting {self.plan.name}"):
            self._api.restart(self.identity, timeout=0)

    def put(self, folder: str, files: Mapping[str, bytes], *, mode: int = 0o644) -> None:
        """Write files (path below ``folder`` -> content) into it, its volumes included; owned by root."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for path, content in files.items():
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(content), mode
                archive.addfile(entry, io.BytesIO(content))
        with faults.explained(f"writing into {self.plan.name}"):
            self._api.put_archive(self.identity, folder, stream.getvalue())

    def run(self, command: tuple[str, ...], *, user: str = "", environment: Mapping[str, str] | None = None) -> Ran:
        """Run a command in it as it runs itself, or as another user; a failure is the result's, not an error."""
        started = time.monotonic()
        with faults.explained(f"running {command[0]} in {self.plan.name}"):
            made = self._api.exec_create(self.identity, list(command), user=user, environment=dict(environment or {}))
            output = self._output_of(made["Id"])
            while (status := self._api.exec_inspect(made["Id"])["ExitCode"]) is None:
                time.sleep(_WAIT)
        return Ran(int(status), output.decode(errors="replace"), time.monotonic() - started)

    def _output_of(self, execution: str) -> bytes:
        """Start an execution and return all that it prints.

        ``exec_start`` of docker-py asks for a raw socket and reads below the buffer of the HTTP response: what comes in
        one packet with the headers is lost. Without an upgrade the answer is a response like any other.
        """
        api = self._api
        url = api._url("/exec/{0}/start", execution)  # type: ignore[attr-defined]  # noqa: SLF001  (no public way)
        response = api._post_json(url, data={"Tty": False, "Detach": False}, stream=True)  # type: ignore[attr-defined]  # noqa: SLF001
        return b"".join(api._multiplexed_buffer_helper(response))  # type: ignore[attr-defined]  # noqa: SLF001

    def state(self) -> ContainerState:
        """Return whether it runs."""
        with faults.explained(f"looking at {self.plan.name}"):
            state = self._api.inspect_container(self.identity)["State"]
        running = bool(state["Running"])
        return ContainerState(running, None if running or state["Status"] == "created" else int(state["ExitCode"]))

    def wait(self, seconds: float) -> ContainerState:
        """Return its state once it has ended, or as it is after some time."""
        end = time.monotonic() + seconds
        while (state := self.state()).running and time.monotonic() < end:
            time.sleep(_WAIT)
        return state

    def logs(self, lines: int = 40) -> tuple[str, ...]:
        """Return the last lines of its output."""
        with faults.explained(f"reading the output of {self.plan.name}"):
            output: bytes = self._api.logs(self.identity, tail=lines)
        return plain_lines(output.decode(errors="replace"))

    def remove(self) -> None:
        """End and remove it."""
        with faults.explained(f"removing {self.plan.name}"):
            self._api.remove_container(self.identity, force=True, v=True)


def host_options(plan: ContainerPlan, *, podman: bool, hosts_file: Callable[[], Path]) -> dict[str, Any]:
    """Return the arguments of a container's host configuration.

    ``hosts_file`` makes a file of the plan's names, where the engine needs one.
    """
    # nocopy: an empty volume would else take over content and mode of what the image has at the path.
    binds = [
        f"{volume}:{path}:nocopy,{'ro' if path in plan.read_only_mounts else 'rw'}"
        for path, volume in plan.mounts.items()
    ]
    options: dict[str, Any] = {
        "network_mode": f"container:{plan.network.identity}" if plan.network else "none",
        "binds": binds,
        "read_only": plan.read_only_root,
        "tmpfs": dict.fromkeys(plan.temporary, "mode=1777"),
        "group_add": [str(group) for group in plan.groups],
    }
    if not plan.network:
        options["extra_hosts"] = dict(plan.hosts)
    elif podman and plan.hosts:
        # Docker's containers share this file with the network; Podman's have one of their own, of the host's names.
        binds.append(f"{hosts_file()}:/etc/hosts:ro,z")
    if not plan.privileged_user:
        options |= {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]}
    if podman:
        options["ulimits"] = [Ulimit(name=name, soft=most, hard=most) for name, most in _PODMAN_LIMITS.items()]
    return options

"""A container engine through its API: containers, their volumes and images, nothing of which outlives its use."""

from __future__ import annotations

import io
import logging
import re
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import docker
import urllib3
from docker.types import Ulimit

from bundler.errors import ToolFailedError
from bundler.model.platform import Platform

LABEL: Final = "io.feast-airgap-bundler.run"
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_WAIT: Final = 0.1
_LOG = logging.getLogger(__name__)
# Podman asks for more than a process without CAP_SYS_RESOURCE may give; these are below every usual hard limit.
_PODMAN_LIMITS: Final = {"nofile": 1024, "nproc": 4096}
_STEERING: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")  # ECMA-48, control sequences
_IDENTITY: Final = re.compile(r"[0-9a-f]{11,64}")
_NO_SPACE: Final = "no space left on device"
FREE_SPACE: Final = "Free some space where the engine keeps its data."


def plain_lines(text: str) -> tuple[str, ...]:
    """Return the lines that are not empty, without colours and the like."""
    return tuple(line.rstrip() for line in _STEERING.sub("", text).splitlines() if line.strip())


@dataclass(frozen=True)
class Ran:
    """What a command in a container did; ``output`` is of both streams, in the order in which it came."""

    status: int
    output: str
    seconds: float

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The end of the output, as much as a report shows."""
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
    """Keep the capabilities of the engine's default; all others lose every one, and can never gain any."""


class Engine:
    """A connection to an engine; what is made through it goes with :meth:`close`, also when interrupted."""

    def __init__(self, api: docker.APIClient, run: str) -> None:
        self.api = api
        """For the modules beside this one."""
        self.run = run
        self._containers: list[EngineContainer] = []
        self._volumes: list[str] = []
        self._images: list[str] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        with self.explained("saying what it is"):
            version = api.version()
            components = [component.get("Name", "") for component in version.get("Components") or []]
            self.podman = any("podman" in component.lower() for component in components)
            self.version = str(version.get("Version", ""))
            info = api.info()
            machine = str(info.get("Architecture", ""))
        self.place = f"{api.base_url} {info.get('DockerRootDir', '')}"
        """What tells this engine from others: its address, and where it keeps its data."""
        self.platform = Platform("linux", _ARCHITECTURES.get(machine, machine))

    @property
    def title(self) -> str:
        """The engine's name and version, for people."""
        return f"{'Podman' if self.podman else 'Docker'} {self.version}"

    def close(self) -> None:
        """Remove every container, volume and image that was made here, the last one first."""
        for container in reversed(self._containers):
            with suppress(docker.errors.APIError, OSError):
                self.api.remove_container(container.identity, force=True, v=True)
        for volume in self._volumes:
            with suppress(docker.errors.APIError, OSError):
                self.api.remove_volume(volume, force=True)
        for image in reversed(self._images):
            with suppress(docker.errors.APIError, OSError):
                if not _IDENTITY.fullmatch(image) or not self._tags(image):
                    self.api.remove_image(image, force=True)
        if self._folder:
            self._folder.cleanup()
        self.api.close()

    def _tags(self, image: str) -> list[str]:
        inspected = self.api.inspect_image(image)  # type: ignore[no-untyped-call]  # not in its stubs
        return inspected.get("RepoTags") or []

    @contextmanager
    def explained(self, purpose: str) -> Iterator[None]:
        """Turn the engine's errors into those for people; ``purpose`` finishes "failed while ..."."""
        try:
            yield
        except docker.errors.APIError as error:
            message = str(error.explanation or error)
            remedy = FREE_SPACE if _NO_SPACE in message.lower() else ""
            raise ToolFailedError(f"The engine failed while {purpose}: {message.strip()}", remedy=remedy) from error
        # OSError is what requests raises; what it leaves to be read as a stream, urllib3 reads.
        except (docker.errors.DockerException, OSError, urllib3.exceptions.HTTPError) as error:
            raise ToolFailedError(
                f"The engine does not answer while {purpose}: {error}.", remedy="Is it still running?"
            ) from error

    # --- images -------------------------------------------------------------------------------------------------------

    def layers(self, name: str) -> tuple[str, ...] | None:
        """Return the diff ids of an image, None where there is none of the name."""
        with self.explained(f"looking for the image {name}"):
            try:
                inspected = self.api.inspect_image(name)  # type: ignore[no-untyped-call]  # not in its stubs
            except docker.errors.ImageNotFound:
                return None
        return tuple(inspected["RootFS"].get("Layers") or ())

    def adopt_image(self, name: str) -> None:
        """Remember an image that was made, by name or id: it goes with :meth:`close`.

        One that is known by its id alone stays where somebody gave it a name since, or had before.
        """
        if name not in self._images:
            self._images.append(name)

    @property
    def image_ids(self) -> tuple[str, ...]:
        """The images that were made here and are known by their ids, which may be shortened."""
        return tuple(image for image in self._images if _IDENTITY.fullmatch(image))

    def load(self, name: str, archive: Iterable[bytes], *, keep: bool) -> None:
        """Load an archive that holds the image ``name``; with ``keep`` it stays in the engine."""
        if not keep:
            self.adopt_image(name)
        with self.explained(f"loading {name}"):
            output = self.api.load_image(archive, quiet=True)  # type: ignore[no-untyped-call]  # not in its stubs
            for line in output or ():
                _LOG.debug("  %s", line)

    # --- volumes and containers ---------------------------------------------------------------------------------------

    def volume(self, name: str) -> str:
        """Make an empty volume and return its full name."""
        full = f"{self.run}-{name}"
        with self.explained(f"making the volume {name}"):
            self.api.create_volume(full, labels={LABEL: self.run})
        self._volumes.append(full)
        return full

    def create(self, plan: ContainerPlan) -> EngineContainer:
        """Make a container, not started yet."""
        with self.explained(f"making the container {plan.name}"):
            made = self.api.create_container(
                plan.image,
                # Where a container has an entry point, it is the whole of its command.
                entrypoint=list(plan.command[:1]),
                command=list(plan.command[1:]),
                environment=dict(plan.environment),
                working_dir=plan.working_folder or None,
                user=plan.user or None,
                name=f"{self.run}-{plan.name}",
                labels={LABEL: self.run},
                host_config=self._host_config(plan),
            )
        container = EngineContainer(self.api, self, plan, str(made["Id"]))
        self._containers.append(container)
        return container

    def _host_config(self, plan: ContainerPlan) -> dict[str, Any]:
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
        elif self.podman and plan.hosts:
            # Docker's containers share this file with the network; Podman's have one of their own, of the host's names.
            binds.append(f"{self._hosts_file(plan)}:/etc/hosts:ro,z")
        if not plan.privileged_user:
            options |= {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]}
        if self.podman:
            options["ulimits"] = [Ulimit(name=name, soft=most, hard=most) for name, most in _PODMAN_LIMITS.items()]
        return self.api.create_host_config(**options)

    def _hosts_file(self, plan: ContainerPlan) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="bundler-hosts-")
            Path(self._folder.name).chmod(0o755)
        path = Path(self._folder.name) / plan.name
        lines = [("localhost", "127.0.0.1"), *plan.hosts.items()]
        path.write_text("".join(f"{address}\t{name}\n" for name, address in lines), encoding="ascii")
        path.chmod(0o644)
        return path


class EngineContainer:
    """A container of an engine."""

    def __init__(self, api: docker.APIClient, engine: Engine, plan: ContainerPlan, identity: str) -> None:
        self._api = api
        self._engine = engine
        self.plan = plan
        self.identity = identity

    def start(self) -> None:
        """Start it, also once more after it ended."""
        with self._engine.explained(f"starting {self.plan.name}"):
            self._api.start(self.identity)

    def restart(self) -> None:
        """End it at once and start it again."""
        with self._engine.explained(f"restarting {self.plan.name}"):
            self._api.restart(self.identity, timeout=0)

    def put(self, folder: str, files: Mapping[str, bytes], *, mode: int = 0o644) -> None:
        """Write files (path below ``folder`` -> content) into it, its volumes included; owned by root."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for path, content in files.items():
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(content), mode
                archive.addfile(entry, io.BytesIO(content))
        with self._engine.explained(f"writing into {self.plan.name}"):
            self._api.put_archive(self.identity, folder, stream.getvalue())

    def run(self, command: tuple[str, ...], *, user: str = "", environment: Mapping[str, str] | None = None) -> Ran:
        """Run a command in it as it runs itself, or as another user; a failure is the result's, not an error."""
        started = time.monotonic()
        with self._engine.explained(f"running {command[0]} in {self.plan.name}"):
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
        with self._engine.explained(f"looking at {self.plan.name}"):
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
        with self._engine.explained(f"reading what {self.plan.name} said"):
            output: bytes = self._api.logs(self.identity, tail=lines)
        return plain_lines(output.decode(errors="replace"))

    def remove(self) -> None:
        """End and remove it."""
        with self._engine.explained(f"removing {self.plan.name}"):
            self._api.remove_container(self.identity, force=True, v=True)

"""A container engine through its API: containers, volumes and images, which are removed after use."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import docker

from bundler.effects.engine import faults
from bundler.effects.engine.container import ContainerPlan, EngineContainer, host_options
from bundler.model.platform import Platform

LABEL: Final = "io.feast-airgap-bundler.run"
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_LOG = logging.getLogger(__name__)
_IDENTITY: Final = re.compile(r"[0-9a-f]{11,64}")


class Engine:
    """A connection to an engine; :meth:`close` removes everything that was made through it, also when interrupted."""

    def __init__(self, api: docker.APIClient, run: str) -> None:
        self.api = api
        """For the other modules of this package."""
        self.run = run
        self._containers: list[EngineContainer] = []
        self._volumes: list[str] = []
        self._images: list[str] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        with faults.explained("saying what it is"):
            version = api.version()
            components = [component.get("Name", "") for component in version.get("Components") or []]
            self.podman = any("podman" in component.lower() for component in components)
            self.version = str(version.get("Version", ""))
            info = api.info()
            machine = str(info.get("Architecture", ""))
        self.place = f"{api.base_url} {info.get('DockerRootDir', '')}"
        """The identity of this engine: its address, and the folder of its data."""
        self.platform = Platform("linux", _ARCHITECTURES.get(machine, machine))

    @property
    def title(self) -> str:
        """The engine's name and version, for people."""
        return f"{'Podman' if self.podman else 'Docker'} {self.version}"

    def close(self) -> None:
        """Remove every container, volume and image that was made through this connection, the newest first."""
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

    # --- images -------------------------------------------------------------------------------------------------------

    def layers(self, name: str) -> tuple[str, ...] | None:
        """Return the diff ids of an image, None where there is none of the name."""
        with faults.explained(f"looking for the image {name}"):
            try:
                inspected = self.api.inspect_image(name)  # type: ignore[no-untyped-call]  # not in its stubs
            except docker.errors.ImageNotFound:
                return None
        return tuple(inspected["RootFS"].get("Layers") or ())

    def adopt_image(self, name: str) -> None:
        """Remember an image that was made, by name or id: :meth:`close` removes it.

        An image that is known by its id alone stays if it has a name by then.
        """
        if name not in self._images:
            self._images.append(name)

    @property
    def image_ids(self) -> tuple[str, ...]:
        """The images that were made here and are known by their ids, which may be shortened."""
        return tuple(image for image in self._images if _IDENTITY.fullmatch(image))

    def load(self, name: str, archive: Iterable[bytes], *, keep: bool) -> None:
        """Load an archive that holds the image ``name``; with ``keep``, :meth:`close` does not remove it."""
        if not keep:
            self.adopt_image(name)
        with faults.explained(f"loading {name}"):
            output = self.api.load_image(archive, quiet=True)  # type: ignore[no-untyped-call]  # not in its stubs
            for line in output or ():
                _LOG.debug("  %s", line)

    # --- volumes and containers ---------------------------------------------------------------------------------------

    def volume(self, name: str) -> str:
        """Make an empty volume and return its full name."""
        full = f"{self.run}-{name}"
        with faults.explained(f"making the volume {name}"):
            self.api.create_volume(full, labels={LABEL: self.run})
        self._volumes.append(full)
        return full

    def create(self, plan: ContainerPlan) -> EngineContainer:
        """Make a container, not started yet."""
        with faults.explained(f"making the container {plan.name}"):
            options = host_options(plan, podman=self.podman, hosts_file=lambda: self._hosts_file(plan))
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
                host_config=self.api.create_host_config(**options),
            )
        container = EngineContainer(self.api, plan, str(made["Id"]))
        self._containers.append(container)
        return container

    def _hosts_file(self, plan: ContainerPlan) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="bundler-hosts-")
            Path(self._folder.name).chmod(0o755)
        path = Path(self._folder.name) / plan.name
        lines = [("localhost", "127.0.0.1"), *plan.hosts.items()]
        path.write_text("".join(f"{address}\t{name}\n" for name, address in lines), encoding="ascii")
        path.chmod(0o644)
        return path

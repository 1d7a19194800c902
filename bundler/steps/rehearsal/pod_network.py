"""The network of a rehearsal: containers that reach nothing but the Services of the other emulated pods."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Final

from bundler import resources
from bundler.effects.engine.api import Engine
from bundler.effects.engine.container import ContainerPlan, EngineContainer
from bundler.errors import ToolFailedError
from bundler.feast.emulation.container import Probe
from bundler.steps.rehearsal.routes import SOCKETS, Route

VOLUMES: Final = "/volumes"
"""Where a relay has the volumes of its pod."""
_SCRIPTS: Final = "/rehearsal"
_PYTHON: Final = ("python3", "-I")
_RELAY_SECONDS: Final = 30.0
_AGAIN: Final = 0.2


class PodNetwork:
    """The network of emulated pods: a relay container for each pod, joined by Unix sockets in one engine volume.

    ``tools_image`` has the Python that relays and probes run in.
    """

    def __init__(self, engine: Engine, tools_image: str, routes: tuple[Route, ...]) -> None:
        self._engine = engine
        self._image = tools_image
        self._routes = routes
        self._sockets = engine.volume("sockets")

    def hosts(self, namespace: str) -> dict[str, str]:
        """Return what the cluster's DNS would answer in a namespace: name -> address."""
        local = {route.short: route.address for route in self._routes if route.namespace == namespace and route.short}
        return {**local, **{host: route.address for route in self._routes for host in route.hosts}}

    def start_relay(
        self, pod: str, namespace: str, volumes: Mapping[str, str] | None = None, *, reaches: bool = True
    ) -> EngineContainer:
        """Start the container that owns a pod's network and carries its connections; ``volumes`` is name -> volume."""
        listen = [[route.address, route.port, route.socket] for route in self._routes] if reaches else []
        offer = [[route.socket, route.target] for route in self._routes if route.pod == pod]
        plan = json.dumps({"listen": listen, "offer": offer})
        mounts = {SOCKETS: self._sockets, **{f"{VOLUMES}/{name}": volume for name, volume in (volumes or {}).items()}}
        container = self._engine.create(
            ContainerPlan(
                name=f"{pod}-relay",
                image=self._image,
                command=(*_PYTHON, f"{_SCRIPTS}/relay.py", plan),
                user="0:0",
                hosts=self.hosts(namespace),
                mounts=mounts,
                privileged_user=True,
            )
        )
        scripts = ("relay.py", "probe.py", "ask.py")
        container.put("/", {f"{_SCRIPTS[1:]}/{name}": resources.read(f"rehearsal/{name}") for name in scripts})
        container.start()
        problem = "A relay of the rehearsal did not start."
        wait_until(lambda: "ready" in container.logs(), container, _RELAY_SECONDS, problem=problem)
        return container

    @staticmethod
    def passes(probe: Probe, relay: EngineContainer) -> bool:
        """Probe a server of the relay's pod once, as the kubelet does."""
        arguments = [str(probe.port)]
        if probe.path:  # without one, the kubelet only opens the port, with TLS or not
            arguments += [probe.path, *(["tls"] if probe.tls else [])]
        return relay.run((*_PYTHON, f"{_SCRIPTS}/probe.py", *arguments)).status == 0

    def ask(self, client: EngineContainer, url: str, body: str, authority: str | None) -> tuple[int, str]:
        """Send JSON to a URL from a pod; return status and body, status 0 where there was no answer."""
        if authority:
            client.put("/", {f"{_SCRIPTS[1:]}/authority.pem": authority.encode()})
        more = [f"{_SCRIPTS}/authority.pem"] if authority else []
        ran = client.run((*_PYTHON, f"{_SCRIPTS}/ask.py", url, body, *more))
        if ran.status != 0:
            return 0, ran.output
        return answer_of(ran.output)


def answer_of(output: str) -> tuple[int, str]:
    """Return status and body as ``ask.py`` prints them; status 0 and all of the output where the image printed more."""
    try:
        answer = json.loads(output.splitlines()[-1])
        return int(answer["status"]), str(answer["body"])
    except (IndexError, KeyError, TypeError, ValueError, RecursionError):
        return 0, output


def wait_until(
    ready: Callable[[], bool], container: EngineContainer, seconds: float, *, problem: str, remedy: str = ""
) -> None:
    """Return when it is ready; raise ``ToolFailedError`` with what the container said where it ended or took longer."""
    end = time.monotonic() + seconds
    while not ready():
        if not container.state().running or time.monotonic() > end:
            raise ToolFailedError(problem, remedy=remedy, details=container.logs())
        time.sleep(_AGAIN)

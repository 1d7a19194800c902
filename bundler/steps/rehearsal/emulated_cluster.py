"""The emulated cluster of a rehearsal: pods run as containers of an engine, as the kubelet would run them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bundler.effects.engine.api import Engine
from bundler.effects.engine.container import ContainerPlan, EngineContainer, Ran
from bundler.feast.emulation import kubelet
from bundler.feast.emulation.container import Container, Probe
from bundler.feast.emulation.kubelet import ClusterObjects
from bundler.feast.emulation.pods import Pod
from bundler.feast.emulation.store_servers import StoreServer
from bundler.steps.rehearsal import store_containers
from bundler.steps.rehearsal.pod_network import VOLUMES, PodNetwork, wait_until
from bundler.steps.rehearsal.routes import key, store_pod

_RESTARTS: Final = 3
_INIT_SECONDS: Final = 300.0
_STORE_SECONDS: Final = 60.0
_PROBE_AGAIN: Final = 1.0  # seconds; each probe is a process of its own, and servers that start want the processor


@dataclass(frozen=True)
class StartedServer:
    """A server that was started; ``seconds`` until its probe passed, None where it never did."""

    name: str
    container: EngineContainer
    seconds: float | None
    restarts: int
    last_lines: tuple[str, ...]


@dataclass(frozen=True)
class RunningPod:
    """A pod of the emulated cluster; ``init`` is what each init container did, with its name."""

    pod: Pod
    relay: EngineContainer
    init: tuple[tuple[str, Ran], ...]
    servers: tuple[StartedServer, ...]

    @property
    def serves(self) -> bool:
        """Whether every init container ended well and every probe passed."""
        return all(ran.status == 0 for _, ran in self.init) and all(
            server.seconds is not None for server in self.servers
        )

    def container(self, name: str) -> EngineContainer:
        """Return the container of a server."""
        return next(server.container for server in self.servers if server.name == name)


@dataclass(frozen=True)
class ContainerSecurity:
    """The user that servers run as (UID:GID), and whether their root file system is read-only."""

    user: str
    read_only_root: bool


class EmulatedCluster:
    """Runs pods on an engine, joined by a network of their own."""

    def __init__(self, engine: Engine, network: PodNetwork, security: ContainerSecurity) -> None:
        self.network = network
        self._engine = engine
        self._security = security

    def run_pod(self, pod: Pod, objects: ClusterObjects, images: Mapping[str, str]) -> RunningPod:
        """Run a pod as the kubelet does; ``images`` is reference -> name in the engine.

        Raises:
            SpecError: a Secret or ConfigMap is missing, so that the pod would never start.
        """
        files = {name: kubelet.volume_files(source, objects) for name, source in pod.volumes.items()}
        volumes = {name: self._engine.volume(f"{key(pod)}-{name}") for name in files}
        relay = self.network.start_relay(key(pod), pod.namespace, volumes)
        for name, content in files.items():
            if content:
                relay.put(f"{VOLUMES}/{name}", {path: text.encode() for path, text in content.items()})
            elif content is not None:
                relay.run(("chmod", "0777", f"{VOLUMES}/{name}"), user="0")
        made = {
            container.name: self._plan(pod, container, objects, images, relay=relay, volumes=volumes)
            for container in (*pod.init_containers, *pod.containers)
        }
        done: list[tuple[str, Ran]] = []
        for container in pod.init_containers:
            ran = self._finish(self._engine.create(made[container.name]))
            done.append((container.name, ran))
            if ran.status != 0:
                return RunningPod(pod, relay, tuple(done), ())
        started = [(container, self._engine.create(made[container.name])) for container in pod.containers]
        return RunningPod(pod, relay, tuple(done), self._await(started, relay))

    def _plan(
        self,
        pod: Pod,
        container: Container,
        objects: ClusterObjects,
        images: Mapping[str, str],
        *,
        relay: EngineContainer,
        volumes: Mapping[str, str],
    ) -> ContainerPlan:
        values = kubelet.environment(container.sources, container.variables, objects, pod.fields)
        words = (*container.command, *container.arguments)
        security = pod.security_context
        user = (
            f"{security['runAsUser']}:{security.get('runAsGroup', 0)}"
            if "runAsUser" in security
            else self._security.user
        )
        return ContainerPlan(
            name=f"{key(pod)}-{container.name}",
            image=images.get(container.image, container.image),
            command=tuple(kubelet.expand(word, values) for word in words),
            environment=values,
            working_folder=container.working_folder,
            user=user,
            network=relay,
            hosts=self.network.hosts(pod.namespace),
            mounts={mount.path.rstrip("/"): volumes[mount.volume] for mount in container.mounts},
            read_only_mounts=frozenset(mount.path.rstrip("/") for mount in container.mounts if mount.read_only),
            read_only_root=self._security.read_only_root,
            temporary=("/tmp",) if self._security.read_only_root else (),  # noqa: S108  (inside a container)
        )

    @staticmethod
    def _finish(container: EngineContainer) -> Ran:
        started = time.monotonic()
        container.start()
        state = container.wait(_INIT_SECONDS)
        status = 124 if state.exit_code is None else state.exit_code
        return Ran(status, "\n".join(container.logs()), time.monotonic() - started)

    def _await(
        self, started: Sequence[tuple[Container, EngineContainer]], relay: EngineContainer
    ) -> tuple[StartedServer, ...]:
        """Start servers and ask each as its startup probe does, until it answers, gives up, or its time is over.

        One that ends is started again, as Kubernetes does, but only a few times.
        """
        begun = time.monotonic()
        for _, container in started:
            container.start()
        finished: dict[str, StartedServer] = {}
        restarts = dict.fromkeys((server.name for server, _ in started), 0)
        limits = {server.name: server.probe.time_limit if server.probe else 0 for server, _ in started}
        due = {name: begun + seconds for name, seconds in limits.items()}
        while len(finished) < len(started):
            for server, container in started:
                if server.name in finished:
                    continue
                now, running = time.monotonic(), container.state().running
                passed = running and (server.probe is None or self.network.passes(server.probe, relay))
                late = running and not passed and now > due[server.name]
                over = (late or not running) and restarts[server.name] == _RESTARTS
                if passed or over:
                    seconds = now - begun if passed else None
                    finished[server.name] = StartedServer(
                        server.name, container, seconds, restarts[server.name], container.logs()
                    )
                elif late or not running:
                    container.restart()  # as the kubelet: also one that runs and does not answer in its time
                    restarts[server.name] += 1
                    due[server.name] = now + limits[server.name]
            if len(finished) < len(started):
                time.sleep(_PROBE_AGAIN)
        return tuple(finished[server.name] for server, _ in started)

    def run_store(self, store: StoreServer, image: str, certificate: tuple[str, str]) -> None:
        """Run the server of a store, with a certificate and its key, and wait until its port is open."""
        pod = store_pod(store)
        relay = self.network.start_relay(pod, "", reaches=False)
        container = self._engine.create(store_containers.container(store, f"{pod}-server", image, relay, certificate))
        container.start()
        probe = Probe(store.port, None, tls=False)
        wait_until(
            lambda: self.network.passes(probe, relay),
            container,
            _STORE_SECONDS,
            problem=f"The image {image} does not run as a {store.kind} server.",
            remedy=f"Choose another image with --{store.kind}, or leave the option out to use stores in files.",
        )

"""The stage of a rehearsal: pods as containers without a network, whose only way to each other are their Services."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bundler import resources
from bundler.effects.engine.api import ContainerPlan, Engine, EngineContainer, Ran
from bundler.errors import ToolFailedError
from bundler.feast.emulation import kubelet
from bundler.feast.emulation.container import Container
from bundler.feast.emulation.kubelet import ClusterObjects
from bundler.feast.emulation.pods import EmulatedService, Pod
from bundler.feast.emulation.stand_ins import StoreServer
from bundler.steps.rehearsal import stores

_SOCKETS: Final = "/relay"
_SCRIPTS: Final = "/rehearsal"
_VOLUMES: Final = "/volumes"
_PYTHON: Final = ("python3", "-I")
_RESTARTS: Final = 3
_INIT_SECONDS: Final = 300.0
_RELAY_SECONDS: Final = 30.0
_STORE_SECONDS: Final = 60.0
_AGAIN: Final = 0.2
_PROBE_AGAIN: Final = 1.0  # seconds; each probe is a process of its own, and servers that start want the processor
_A_NET: Final = 250
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Route:
    """A way into a pod: ``hosts`` are its names in every pod, ``short`` is the one that its own namespace has as well.

    All are at ``address``; ``target`` is the pod's port, ``socket`` where both ends of the way meet.
    """

    pod: str
    namespace: str
    hosts: tuple[str, ...]
    short: str
    address: str
    port: int
    target: int
    socket: str


def routes(services: Mapping[str, Sequence[EmulatedService]], servers: Sequence[StoreServer]) -> tuple[Route, ...]:
    """Return a route to every Service (by the key of its pod) and store, each at a loopback address of its own."""
    ways = [(pod, one) for pod, found in services.items() for one in found]
    found = [
        Route(
            pod=pod,
            namespace=one.namespace,
            hosts=(one.host, f"{one.name}.{one.namespace}.svc", f"{one.name}.{one.namespace}"),
            short=one.name,
            address=_address(number),
            port=one.port,
            target=one.target,
            socket=f"{_SOCKETS}/{number}",
        )
        for number, (pod, one) in enumerate(ways)
    ]
    for number, store in enumerate(servers, len(found)):
        address, socket = _address(number), f"{_SOCKETS}/{number}"
        found.append(Route(_store_pod(store), "", (store.host,), "", address, store.port, store.port, socket))
    return tuple(found)


def key(pod: Pod) -> str:
    """Return what tells a pod from those of other namespaces."""
    return f"{pod.namespace}.{pod.name}"


def _address(number: int) -> str:
    return f"127.0.{1 + number // _A_NET}.{1 + number % _A_NET}"


def _store_pod(store: StoreServer) -> str:
    return _NO_NAME.sub("-", f"{store.kind}-{store.host}-{store.port}")


@dataclass(frozen=True)
class StartedServer:
    """A server that was started: how it went. ``seconds`` until its probe passed, None where it never did."""

    name: str
    container: EngineContainer
    seconds: float | None
    restarts: int
    last_lines: tuple[str, ...]


@dataclass(frozen=True)
class RunningPod:
    """A pod on the stage; ``init`` is what its init containers did, by name."""

    pod: Pod
    relay: EngineContainer
    init: tuple[tuple[str, Ran], ...]
    servers: tuple[StartedServer, ...]

    @property
    def serves(self) -> bool:
        """Whether every init container ended well and every probe passed."""
        return all(ran.status == 0 for _, ran in self.init) and all(one.seconds is not None for one in self.servers)

    def container(self, name: str) -> EngineContainer:
        """Return the container of a server."""
        return next(one.container for one in self.servers if one.name == name)


@dataclass(frozen=True)
class Rules:
    """As whom servers run, and what they may write; ``user`` is UID:GID."""

    user: str
    read_only_root: bool


class Stage:
    """Pods on an engine. ``tools_image`` has the Python that relays and probes run in."""

    def __init__(self, engine: Engine, tools_image: str, ways: tuple[Route, ...], rules: Rules) -> None:
        self._engine = engine
        self._image = tools_image
        self._ways = ways
        self._rules = rules
        self._sockets = engine.volume("sockets")

    def _hosts(self, namespace: str) -> dict[str, str]:
        """Return what the cluster's DNS would answer in a namespace, name -> address."""
        near = {way.short: way.address for way in self._ways if way.namespace == namespace and way.short}
        return {**near, **{host: way.address for way in self._ways for host in way.hosts}}

    def _relay(
        self, pod: str, namespace: str, volumes: Mapping[str, str] | None = None, *, reaches: bool = True
    ) -> EngineContainer:
        """Start the container that owns a pod's network and carries its connections; ``volumes`` is name -> volume."""
        listen = [[way.address, way.port, way.socket] for way in self._ways] if reaches else []
        offer = [[way.socket, way.target] for way in self._ways if way.pod == pod]
        plan = json.dumps({"listen": listen, "offer": offer})
        mounts = {_SOCKETS: self._sockets, **{f"{_VOLUMES}/{name}": one for name, one in (volumes or {}).items()}}
        container = self._engine.create(
            ContainerPlan(
                name=f"{pod}-relay",
                image=self._image,
                command=(*_PYTHON, f"{_SCRIPTS}/relay.py", plan),
                user="0:0",
                hosts=self._hosts(namespace),
                mounts=mounts,
                privileged_user=True,
            )
        )
        scripts = ("relay.py", "probe.py", "ask.py")
        container.put("/", {f"{_SCRIPTS[1:]}/{name}": resources.read(f"rehearsal/{name}") for name in scripts})
        container.start()
        problem = "A relay of the rehearsal did not start."
        _wait(lambda: "ready" in container.logs(), container, _RELAY_SECONDS, problem=problem)
        return container

    def raise_pod(self, pod: Pod, objects: ClusterObjects, images: Mapping[str, str]) -> RunningPod:
        """Run a pod as the kubelet does; ``images`` is reference -> name in the engine.

        Raises:
            SpecError: a Secret or ConfigMap is missing, so that the pod would never start.
        """
        files = {name: kubelet.volume_files(source, objects) for name, source in pod.volumes.items()}
        volumes = {name: self._engine.volume(f"{key(pod)}-{name}") for name in files}
        relay = self._relay(key(pod), pod.namespace, volumes)
        for name, content in files.items():
            if content:
                relay.put(f"{_VOLUMES}/{name}", {path: text.encode() for path, text in content.items()})
            elif content is not None:
                relay.run(("chmod", "0777", f"{_VOLUMES}/{name}"), user="0")
        made = {
            one.name: self._plan(pod, one, objects, images, relay=relay, volumes=volumes)
            for one in (*pod.init_containers, *pod.containers)
        }
        done: list[tuple[str, Ran]] = []
        for one in pod.init_containers:
            ran = self._finish(self._engine.create(made[one.name]))
            done.append((one.name, ran))
            if ran.status != 0:
                return RunningPod(pod, relay, tuple(done), ())
        started = [(one, self._engine.create(made[one.name])) for one in pod.containers]
        return RunningPod(pod, relay, tuple(done), self._await(started, relay))

    def _plan(
        self,
        pod: Pod,
        one: Container,
        objects: ClusterObjects,
        images: Mapping[str, str],
        *,
        relay: EngineContainer,
        volumes: Mapping[str, str],
    ) -> ContainerPlan:
        values = kubelet.environment(one.sources, one.variables, objects, pod.fields)
        words = (*one.command, *one.arguments)
        security = pod.security_context
        user = (
            f"{security['runAsUser']}:{security.get('runAsGroup', 0)}" if "runAsUser" in security else self._rules.user
        )
        return ContainerPlan(
            name=f"{key(pod)}-{one.name}",
            image=images.get(one.image, one.image),
            command=tuple(kubelet.expand(word, values) for word in words),
            environment=values,
            working_folder=one.working_folder,
            user=user,
            network=relay,
            hosts=self._hosts(pod.namespace),
            mounts={mount.path.rstrip("/"): volumes[mount.volume] for mount in one.mounts},
            read_only_mounts=frozenset(mount.path.rstrip("/") for mount in one.mounts if mount.read_only),
            read_only_root=self._rules.read_only_root,
            temporary=("/tmp",) if self._rules.read_only_root else (),  # noqa: S108  (inside a container)
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
        found: dict[str, StartedServer] = {}
        restarts = dict.fromkeys((one.name for one, _ in started), 0)
        patience = {one.name: one.probe.patience if one.probe else 0 for one, _ in started}
        due = {name: begun + seconds for name, seconds in patience.items()}
        while len(found) < len(started):
            for one, container in started:
                if one.name in found:
                    continue
                now, running = time.monotonic(), container.state().running
                passed = running and self._passes(one, relay)
                late = running and not passed and now > due[one.name]
                over = (late or not running) and restarts[one.name] == _RESTARTS
                if passed or over:
                    seconds = now - begun if passed else None
                    found[one.name] = StartedServer(one.name, container, seconds, restarts[one.name], container.logs())
                elif late or not running:
                    container.restart()  # as the kubelet: also one that runs and does not answer in its time
                    restarts[one.name] += 1
                    due[one.name] = now + patience[one.name]
            if len(found) < len(started):
                time.sleep(_PROBE_AGAIN)
        return tuple(found[one.name] for one, _ in started)

    @staticmethod
    def _passes(one: Container, relay: EngineContainer) -> bool:
        if one.probe is None:
            return True
        words = [str(one.probe.port)]
        if one.probe.path:  # without one, the kubelet only opens the port, with TLS or not
            words += [one.probe.path, *(["tls"] if one.probe.tls else [])]
        return _probed(relay, *words)

    def ask(self, client: EngineContainer, url: str, body: str, authority: str | None) -> tuple[int, str]:
        """Send JSON to a URL from a pod; return status and body, status 0 where there was no answer."""
        if authority:
            client.put("/", {f"{_SCRIPTS[1:]}/authority.pem": authority.encode()})
        more = [f"{_SCRIPTS}/authority.pem"] if authority else []
        ran = client.run((*_PYTHON, f"{_SCRIPTS}/ask.py", url, body, *more))
        if ran.status != 0:
            return 0, ran.output
        answer = json.loads(ran.output.splitlines()[-1])
        return int(answer["status"]), str(answer["body"])

    def raise_store(self, store: StoreServer, image: str) -> None:
        """Run a store and wait until its port is open."""
        pod = _store_pod(store)
        relay = self._relay(pod, "", reaches=False)
        container = self._engine.create(stores.container(store, f"{pod}-server", image, relay))
        container.start()
        _wait(
            lambda: _probed(relay, str(store.port)),
            container,
            _STORE_SECONDS,
            problem=f"The image {image} does not run as a {store.kind} server.",
            remedy=f"Give another one for {store.kind}, or none: stores in files take its place.",
        )


def _wait(
    ready: Callable[[], bool], container: EngineContainer, seconds: float, *, problem: str, remedy: str = ""
) -> None:
    """Return when it is ready; raise ``ToolFailedError`` with what the container said where it ended or took longer."""
    end = time.monotonic() + seconds
    while not ready():
        if not container.state().running or time.monotonic() > end:
            raise ToolFailedError(problem, remedy=remedy, details=container.logs())
        time.sleep(_AGAIN)


def _probed(relay: EngineContainer, *words: str) -> bool:
    """Ask a server of a pod as the kubelet does; ``words`` are those of probe.py."""
    return relay.run((*_PYTHON, f"{_SCRIPTS}/probe.py", *words)).status == 0

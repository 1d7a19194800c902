"""Take one emulated pod through a rehearsal: start it, run the CronJob's commands in it, read features back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bundler.effects.engine.container import EngineContainer, Ran
from bundler.errors import SpecError
from bundler.feast.emulation import kubelet
from bundler.model.findings import Finding, Status
from bundler.model.progress import Progress
from bundler.steps.rehearsal import preparation
from bundler.steps.rehearsal.emulated_cluster import EmulatedCluster, RunningPod, StartedServer
from bundler.steps.rehearsal.engine_images import EngineImages
from bundler.steps.rehearsal.feature_stores import EmulatedFeatureStore
from bundler.steps.rehearsal.preparation import Preparation
from bundler.steps.rehearsal.read_back import ReadBack

_NO_CONFIGURATION: Final = "Can't find feature repo configuration file"
_LINES: Final = 12


@dataclass(frozen=True)
class PodRunner:
    """Runs emulated pods; ``authority`` (PEM) signed the servers' certificates."""

    cluster: EmulatedCluster
    images: EngineImages
    authority: str
    progress: Progress

    def run(self, feature_store: EmulatedFeatureStore) -> Iterator[Finding]:
        """Run the pod of a FeatureStore and yield a finding for each check, up to the first that stops it."""
        pod = feature_store.pod
        self.progress.say(f"{pod.name}: starting {', '.join(container.name for container in pod.containers)}")
        try:
            running = self.cluster.run_pod(pod, feature_store.objects, self.images.names)
        except SpecError as error:
            yield Finding("pod", "The pod cannot start", Status.FAIL, (error.problem,), error.remedy)
            return
        yield from _init(running)
        yield from (_server(server, running) for server in running.servers)
        if not running.serves:
            return
        yield _isolation(running)
        container = running.container(pod.exec_target.name)
        prepared = self._prepared(feature_store, container) if _needs_preparation(feature_store) else None
        if prepared:
            yield from prepared.findings()
            if not prepared.can_go_on:
                return
        for command in feature_store.cron.commands:
            self.progress.say(f"{pod.name}: {command}")
            argv = ("bash", "-c", kubelet.expand(command, feature_store.cron_environment))
            ran = container.run(argv)
            if ran.status != 0 and prepared is None:  # it may be the sources, which only the site has
                prepared = self._prepared(feature_store, container)
                if prepared.unplayed:
                    yield from prepared.findings()
                    return
            yield _command(command, running, ran)
            if ran.status != 0:
                return
        yield from ReadBack(self.cluster.network, running, feature_store, self.authority).features()

    def _prepared(self, feature_store: EmulatedFeatureStore, container: EngineContainer) -> Preparation:
        replaced = feature_store.replaced
        return Preparation.read(container.run(preparation.command(replaced)), replaced=replaced is not None)


def _needs_preparation(feature_store: EmulatedFeatureStore) -> bool:
    """Tell whether something must be seen or made before the CronJob's commands: it costs a start of Python."""
    offline = feature_store.config.get("offline_store")
    kind = offline.get("type") if isinstance(offline, dict) else offline
    return feature_store.replaced is not None or kind not in (None, "dask", "file", "duckdb")


def _init(running: RunningPod) -> Iterator[Finding]:
    for name, ran in running.init:
        status = Status.FAIL if ran.status else Status.PASS
        evidence = (f"exit status {ran.status} after {ran.seconds:.1f} s", *ran.last_lines)
        yield Finding("init", f"Init container {name}", status, evidence)


def _server(server: StartedServer, running: RunningPod) -> Finding:
    plan = server.container.plan
    declared = next(container for container in running.pod.containers if container.name == server.name)
    facts: tuple[str, ...] = (
        f"image {declared.image}",
        f"command {' '.join(plan.command)}",
        f"working folder {plan.working_folder}, user {plan.user}, no capabilities"
        + (", read-only root file system" if plan.read_only_root else ""),
    )
    if server.seconds is not None:
        evidence = (*facts, f"probe passed after {server.seconds:.1f} s, {server.restarts} restarts")
        return Finding("server", f"Server {server.name}", Status.PASS, evidence)
    remedy = "Read the last lines of the server's log above."
    if _NO_CONFIGURATION in "\n".join(server.last_lines):
        remedy = (
            "The working folder is an empty volume. Without init containers, set feastProjectDir.packaged in the"
            " FeatureStore, or FEATURE_REPO_DIR_ENV_VAR on every server. `bundler lint` explains it."
        )
    evidence = (*facts, f"the probe never passed, {server.restarts} restarts", *server.last_lines[-_LINES:])
    return Finding("server", f"Server {server.name}", Status.FAIL, evidence, remedy)


def _isolation(running: RunningPod) -> Finding:
    ran = running.relay.run(("cat", "/proc/net/route"))
    routes = [line for line in ran.output.splitlines()[1:] if line.strip()]
    status = Status.FAIL if routes or ran.status else Status.PASS
    return Finding(
        "network",
        "The pod has no route out of its network",
        status,
        (f"{len(routes)} routes in /proc/net/route", *routes),
    )


def _command(command: str, running: RunningPod, ran: Ran) -> Finding:
    where = f"in {running.pod.exec_target.name}, exit status {ran.status}, {ran.seconds:.1f} s"
    status = Status.FAIL if ran.status else Status.PASS
    return Finding("cron", f"CronJob: {command}", status, (where, *ran.last_lines))

"""One act of a rehearsal: raise a pod, run the CronJob's commands as `kubectl exec` would, read features back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bundler.effects.engine.api import Ran
from bundler.errors import SpecError
from bundler.feast.emulation import kubelet
from bundler.model.findings import Finding, Status
from bundler.model.progress import Progress
from bundler.steps.rehearsal.cast import Cast
from bundler.steps.rehearsal.read_back import ReadBack
from bundler.steps.rehearsal.roles import EmulatedFeatureStore
from bundler.steps.rehearsal.stage import RunningPod, Stage, StartedServer

_NO_CONFIGURATION: Final = "Can't find feature repo configuration file"
_LINES: Final = 12


@dataclass(frozen=True)
class Act:
    """What every act has in common; ``authority`` (PEM) is who signed the servers' certificates."""

    stage: Stage
    cast: Cast
    authority: str
    progress: Progress

    def play(self, role: EmulatedFeatureStore) -> Iterator[Finding]:
        """Play a role to its end, or to where it fails."""
        pod = role.pod
        self.progress.say(f"{pod.name}: starting {', '.join(one.name for one in pod.containers)}")
        try:
            running = self.stage.raise_pod(pod, role.objects, self.cast.names)
        except SpecError as error:
            yield Finding("pod", "The pod would never start", Status.FAIL, (error.problem,), error.remedy)
            return
        yield from _init(running)
        yield from (_server(one, running) for one in running.servers)
        if not running.serves:
            return
        yield _isolation(running)
        for command in role.cron.commands:
            self.progress.say(f"{pod.name}: {command}")
            words = ("bash", "-c", kubelet.expand(command, role.cron_environment))
            ran = running.container(pod.exec_target.name).run(words)
            yield _command(command, running, ran)
            if ran.status != 0:
                return
        yield from ReadBack(self.stage, running, role, self.authority).features()


def _init(running: RunningPod) -> Iterator[Finding]:
    for name, ran in running.init:
        status = Status.FAIL if ran.status else Status.PASS
        evidence = (f"exit status {ran.status} after {ran.seconds:.1f} s", *ran.last_lines)
        yield Finding("init", f"Init container {name}", status, evidence)


def _server(server: StartedServer, running: RunningPod) -> Finding:
    plan = server.container.plan
    declared = next(one for one in running.pod.containers if one.name == server.name)
    facts: tuple[str, ...] = (
        f"image {declared.image}",
        f"command {' '.join(plan.command)}",
        f"in {plan.working_folder} as {plan.user}, without any capability"
        + (", with a read-only root" if plan.read_only_root else ""),
    )
    if server.seconds is not None:
        evidence = (*facts, f"probe passed after {server.seconds:.1f} s, {server.restarts} restarts")
        return Finding("server", f"Server {server.name}", Status.PASS, evidence)
    remedy = "See the last lines; they are the server's own."
    if _NO_CONFIGURATION in "\n".join(server.last_lines):
        remedy = (
            "The working folder is an empty volume that nothing fills: without init containers a FeatureStore needs"
            " feastProjectDir.packaged, or the variable FEATURE_REPO_DIR_ENV_VAR on every server. See: bundler lint."
        )
    evidence = (*facts, f"never answered, {server.restarts} restarts", *server.last_lines[-_LINES:])
    return Finding("server", f"Server {server.name}", Status.FAIL, evidence, remedy)


def _isolation(running: RunningPod) -> Finding:
    ran = running.relay.run(("cat", "/proc/net/route"))
    routes = [line for line in ran.output.splitlines()[1:] if line.strip()]
    status = Status.FAIL if routes or ran.status else Status.PASS
    return Finding("network", "The pod has no way out", status, (f"{len(routes)} routes in /proc/net/route", *routes))


def _command(command: str, running: RunningPod, ran: Ran) -> Finding:
    where = f"in {running.pod.exec_target.name}, exit status {ran.status}, {ran.seconds:.1f} s"
    status = Status.FAIL if ran.status else Status.PASS
    return Finding("cron", f"CronJob: {command}", status, (where, *ran.last_lines))

"""Install: apply a bundle's manifests in the order that works, wait until they do, and run the CronJob once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bundler.effects.kubectl import Kubectl
from bundler.errors import ClusterError, UsageError
from bundler.kube.objects import Identity, KubeObject
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.model.progress import Progress
from bundler.steps.install import (
    install_record,
    online_check,
    openshift_pull_secrets,
    readiness,
    required_secrets,
    secret_values,
)
from bundler.steps.install.install_record import InstallRecord
from bundler.steps.install.online_check import FeatureQuery
from bundler.steps.install.plan import Group, InstallPlan, RequiredSecret, Stage, parts
from bundler.steps.install.release import Release, first_run


@dataclass(frozen=True)
class InstallOptions:
    """What ``bundler install`` was asked.

    ``part`` is "admin" (what needs rights over the cluster: CRDs, operator, namespaces), "tenant" (all else) or "all".
    ``secrets`` are ``[NAMESPACE/]NAME=FILE``; ``timeout`` in seconds, for each wait. ``pause`` is the time in seconds
    between two looks at the cluster. ``query`` is what the online server is asked at the end.
    """

    secrets: tuple[str, ...] = ()
    part: str = "all"
    dry_run: bool = False
    force_conflicts: bool = False
    first_run: bool = True
    query: FeatureQuery | None = None
    timeout: float = 600.0
    pause: float = 2.0


@dataclass(frozen=True)
class Applied:
    """An object, and whether it was ``created``, ``changed`` or ``unchanged``."""

    identity: Identity
    outcome: str

    def to_json(self) -> dict[str, Json]:
        """Return the row for scripts."""
        kind, namespace, name = self.identity[1:]
        return {"kind": kind, "namespace": namespace, "name": name, "outcome": self.outcome}

    def __str__(self) -> str:
        return f"{self.outcome:<9} {self.identity.kind} {self.identity.place}"


@dataclass(frozen=True)
class Installed:
    """What an install did; ``runs`` are the first runs of CronJobs that were started, as NAMESPACE/JOB.

    ``removed`` are objects that only the earlier bundle had; ``answers`` say how each online server answered.
    """

    bundle: str
    digest: Digest
    registry: str
    part: str
    dry_run: bool
    objects: tuple[Applied, ...]
    runs: tuple[str, ...]
    removed: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()

    @property
    def unchanged(self) -> bool:
        """Whether the cluster had all of it already."""
        return not self.runs and not self.removed and all(row.outcome == "unchanged" for row in self.objects)

    def summary(self) -> str:
        """Return the outcome in a line."""
        if self.unchanged:
            return f"{self.bundle}: nothing {'would change' if self.dry_run else 'changed'}"
        if self.dry_run:
            return f"{self.bundle}: not installed, this was a dry run"
        return f"{self.bundle}: {'the admin part is installed' if self.part == 'admin' else 'installed, and it serves'}"

    def to_json(self) -> dict[str, Json]:
        """Return the receipt."""
        return {
            "bundle": self.bundle,
            "digest": str(self.digest),
            "registry": self.registry,
            "part": self.part,
            "dryRun": self.dry_run,
            "unchanged": self.unchanged,
            "objects": [row.to_json() for row in self.objects],
            "firstRuns": list(self.runs),
            "removed": list(self.removed),
            "answers": list(self.answers),
        }


def run(release: Release, options: InstallOptions, kubectl: Kubectl, progress: Progress) -> Installed:
    """Install a release; what is there already stays as it is, so that an interrupted install is simply run again.

    Raises:
        UsageError: a ``--secret`` does not fit, or features are asked of several feature stores.
        ClusterError: the cluster refused, a Secret is missing, or something did not become ready in time.
    """
    plan = release.plan
    filled = secret_values.read(plan.secrets_of(options.part), options.secrets)
    if options.query and len(plan.stores) > 1:
        raise UsageError(
            "The bundle has several feature stores; --feature asks one.",
            remedy="Install without --feature, then ask each: docs/install.md has the commands.",
        )
    work = _Install(release, options, kubectl, progress)
    work.check_kinds()
    work.check_secrets([secret for secret in plan.secrets_of(options.part) if secret not in filled])
    last = install_record.find(kubectl, release) if parts(options.part)[1] else None
    for group in plan.groups(options.part, filled):
        if group.stage is Stage.RECORD:  # written only once everything serves
            work.serve(again=last is not None and last.digest != str(release.digest))
            work.remove(last, plan)
        work.apply(group)
    return Installed(
        release.title,
        release.digest,
        release.registry,
        options.part,
        options.dry_run,
        tuple(work.applied),
        tuple(work.runs),
        tuple(work.removed),
        tuple(work.answers),
    )


@dataclass(frozen=True)
class _Install:
    """An install under way; the lists grow."""

    release: Release
    options: InstallOptions
    kubectl: Kubectl
    progress: Progress
    applied: list[Applied] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    def apply(self, group: Group) -> None:
        """Apply a group by server-side apply, note the outcome of each object, and wait for what later groups need."""
        if not group.objects:
            return
        objects = openshift_pull_secrets.kept(self.kubectl, group.objects)
        before = {resource.identity: resource for resource in self.kubectl.existing(objects)}
        after = self.kubectl.apply(objects, dry_run=self.options.dry_run, force=self.options.force_conflicts)
        rows = [Applied(applied.identity, _outcome(before.get(applied.identity), applied)) for applied in after]
        self.applied.extend(rows)
        changed = sum(row.outcome != "unchanged" for row in rows)
        self.progress.say(f"{group.stage.value}: {changed} of {len(rows)} objects changed")
        if not self.options.dry_run:
            self._await_operator(group)

    def _await_operator(self, group: Group) -> None:
        for resource in group.objects:
            namespace, name = resource.namespace, resource.name
            if group.stage is Stage.DEFINITIONS and resource.kind == "CustomResourceDefinition":
                self._wait(f"{name} established", readiness.established(self.kubectl, name))
            if group.stage is Stage.OPERATOR and resource.kind == "Deployment":
                self._wait(f"deployment {name} available", readiness.rolled_out(self.kubectl, namespace, name))

    def check_kinds(self) -> None:
        """Check, before anything changes, that the cluster serves FeatureStores, or that this install defines them."""
        admin, tenant = parts(self.options.part)
        plan = self.release.plan
        defined = admin and any(definition.kind == "CustomResourceDefinition" for definition in plan.definitions)
        if not tenant or defined or not plan.stores:
            return
        version = plan.stores[0].api_version
        if "FeatureStore" not in self.kubectl.resources(version):
            raise ClusterError(
                f"The cluster has no Feast operator that serves FeatureStores of {version}. Nothing was changed.",
                remedy="Ask an administrator to install the operator; "
                "where the bundle contains it: bundler install --part admin.",
            )

    def check_secrets(self, required: Sequence[RequiredSecret]) -> None:
        """Check, before anything changes, that the Secrets that a site made itself are there with every key."""
        missing = [line for secret in required for line in required_secrets.lacking(self.kubectl, secret)]
        if missing:
            raise ClusterError(
                "Secrets are not there, or lack keys; nothing was changed.",
                remedy="Give their values with --secret NAME=FILE, or fill in a copy of each template and apply it.",
                details=tuple(missing),
            )

    def serve(self, *, again: bool) -> None:
        """Wait for each feature store, run its CronJob once for this bundle, then ask each online server.

        ``again``: another bundle was installed since the last run for this one, which therefore does not count.
        """
        if self.options.dry_run:
            return
        for store in self.release.plan.stores:
            self._wait(f"feature store {store.name} ready", readiness.serving(self.kubectl, store))
            if self.options.first_run:
                self._run_once(store, again=again)
        for store in self.release.plan.stores:
            self._ask(store)

    def _ask(self, store: KubeObject) -> None:
        """Ask an online server for its health, and for the features until it has them; note what it answered."""
        place = store.identity.place
        # A server that is not healthy does not fail the install: the kubelet asks the same for the readiness of pods.
        self.answers.append(f"{place}: health: {online_check.is_healthy(self.kubectl, store)().seen}")
        if query := self.options.query:
            look = online_check.serves_features(self.kubectl, store, query)
            seen = self._wait(f"features of {store.name} served", look)
            self.answers.append(f"{place}: {', '.join(query.features)}: {seen}")

    def remove(self, last: InstallRecord | None, plan: InstallPlan) -> None:
        """Delete what only the earlier bundle had, but no feature store: its volumes would be deleted with it."""
        gone = last.without(plan) if last else ()
        for store in (kube_object for kube_object in gone if kube_object.kind == "FeatureStore"):
            place = store.identity.place
            self.progress.say(f"feature store {place} is not in this bundle; it stays until you delete it")
        objects = [kube_object for kube_object in gone if kube_object.kind != "FeatureStore"]
        if not objects:
            return
        if self.options.dry_run:
            self.removed.extend(str(kube_object.identity) for kube_object in self.kubectl.existing(objects))
        else:
            self.removed.extend(self.kubectl.delete(objects, timeout=self.options.timeout))

    def _run_once(self, store: KubeObject, *, again: bool) -> None:
        namespace, job_name = store.namespace, first_run(store.name, self.release.digest)
        look = readiness.completed(self.kubectl, namespace, job_name)
        job = self.kubectl.get("jobs.batch", job_name, namespace)
        if job is not None and (again or look().failed):
            self.kubectl.delete([job], timeout=self.options.timeout)
            job = None
        if job is None:
            cron_job = self.kubectl.get("cronjobs.batch", f"feast-{store.name}", namespace)
            if cron_job is None:
                self.progress.say(f"feature store {store.name} has no CronJob: nothing was applied or materialized")
                return
            self.kubectl.apply([readiness.job_of(cron_job, job_name)])
            self.runs.append(f"{namespace}/{job_name}")
        self._wait(f"first run {job_name} complete", look)

    def _wait(self, what: str, look: Callable[[], readiness.Readiness]) -> str:
        """Look until it is reached, and return what was seen.

        Raises:
            ClusterError: it failed or timed out; the details are what the cluster says.
        """
        end = time.monotonic() + self.options.timeout
        with self.progress.task(f"Waiting: {what}") as task:
            while not (state := look()).reached:
                if state.failed or time.monotonic() >= end:
                    problem = state.failed or f"Timed out after {self.options.timeout:g} s"
                    raise ClusterError(
                        f"{problem}: {what} ({state.seen}).",
                        remedy="Applied objects stay. Correct what the details say, then run the same command again.",
                        details=tuple(state.explain()),
                    )
                task.note(state.seen)
                time.sleep(self.options.pause)
            return state.seen


def _outcome(before: KubeObject | None, after: KubeObject) -> str:
    if before is None:
        return "created"
    return "unchanged" if _desired(before) == _desired(after) else "changed"


def _desired(resource: KubeObject) -> KubeObject:
    """Return an object without its status and without what the server counts."""
    metadata = resource.inner("metadata").without("managedFields", "resourceVersion", "generation")
    return resource.without("status").replaced(metadata=metadata.to_json())

"""Install: apply a bundle's manifests in the order in which they work, wait, and run the CronJob once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundler.effects.kubectl import Kubectl
from bundler.errors import ClusterError, UsageError
from bundler.kube.kustomize import Object
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.model.progress import Progress
from bundler.steps.install import install_record as previous
from bundler.steps.install import online_check as answers
from bundler.steps.install import openshift_pull_secrets as own_logins
from bundler.steps.install import plan as install_plan
from bundler.steps.install import readiness
from bundler.steps.install import secrets as site_secrets
from bundler.steps.install.install_record import Previous
from bundler.steps.install.online_check import FeatureQuery
from bundler.steps.install.plan import InstallPlan, SecretWanted
from bundler.steps.install.release import Release, first_run, identity, record


@dataclass(frozen=True)
class InstallOptions:
    """What ``bundler install`` was asked.

    ``part`` is "admin" (what needs rights over the cluster: CRDs, operator, namespaces), "tenant" (all else) or "all".
    ``secrets`` are ``[NAMESPACE/]NAME=FILE``; ``timeout`` in seconds, for each wait. ``pause`` is the time in seconds
    between two looks at the cluster. ``read`` is what is asked of the online server at the end.
    """

    registry: str
    secrets: tuple[str, ...] = ()
    part: str = "all"
    dry_run: bool = False
    force_conflicts: bool = False
    first_run: bool = True
    read: FeatureQuery | None = None
    timeout: float = 600.0
    pause: float = 2.0


@dataclass(frozen=True)
class Applied:
    """An object, and whether it was ``created``, ``changed`` or ``unchanged``."""

    kind: str
    namespace: str
    name: str
    outcome: str

    def to_json(self) -> dict[str, Json]:
        """Return the row for scripts."""
        return {"kind": self.kind, "namespace": self.namespace, "name": self.name, "outcome": self.outcome}

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.outcome:<9} {self.kind} {place}"


@dataclass(frozen=True)
class Installed:
    """What an install did; ``runs`` are the first runs of CronJobs that were started, as NAMESPACE/JOB.

    ``removed`` are objects that only the bundle before had; ``answers`` say how each online server answered.
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
        return not self.runs and not self.removed and all(one.outcome == "unchanged" for one in self.objects)

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
            "objects": [one.to_json() for one in self.objects],
            "firstRuns": list(self.runs),
            "removed": list(self.removed),
            "answers": list(self.answers),
        }


def run(bundle: Path, options: InstallOptions, kubectl: Kubectl, progress: Progress) -> Installed:
    """Install a bundle; what is there already stays as it is, so a broken-off install is simply run again.

    Raises:
        VerificationError: the bundle is damaged.
        UsageError: a Secret that was given does not fit, or features are asked of several feature stores.
        ClusterError: the cluster refused, a Secret is missing, or something did not become ready in time.
    """
    subject = Release.of(bundle, options.registry)
    plan, digest = install_plan.plan(subject.manifests), subject.digest
    admin, tenant = install_plan.parts(options.part)
    wanted = plan.secrets_of(admin=admin, tenant=tenant)
    filled = install_plan.given(wanted, options.secrets)
    if options.read and len(plan.stores) > 1:
        raise UsageError(
            "The bundle has several feature stores; --feature asks one.",
            remedy="Install without it, and ask each: docs/install.md says how.",
        )
    last = previous.find(kubectl, subject, plan) if tenant else None
    work = _Install(kubectl, options, progress, [])
    if tenant:
        work.check_kinds(plan.stores, plan.definitions if admin else ())
    work.check_secrets([one for one in wanted if one not in filled])
    if admin:
        work.operator(plan, [found for one, found in filled.items() if one.of_operator])
        work.apply("Namespaces", plan.namespaces)
    runs: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    answered: tuple[str, ...] = ()
    if tenant:
        work.apply("Secrets", [found for one, found in filled.items() if not one.of_operator])
        work.apply("What the feature stores refer to", plan.before)
        work.apply("Feature stores", plan.stores)
        work.apply("What leads to them", plan.after)
        if not options.dry_run:
            again = last is not None and last.digest != str(digest)
            runs = tuple(work.serve(plan.stores, digest, again=again))
            answered = tuple(work.ask(plan.stores))
        removed = work.remove(last, plan)
        work.apply("Record", [record(subject, plan)] if plan.stores else [])
    return Installed(
        subject.title,
        digest,
        subject.registry,
        options.part,
        options.dry_run,
        tuple(work.done),
        runs,
        removed,
        answered,
    )


@dataclass(frozen=True)
class _Install:
    """An install under way; ``done`` grows."""

    kubectl: Kubectl
    options: InstallOptions
    progress: Progress
    done: list[Applied]

    def apply(self, title: str, objects: Sequence[Object]) -> None:
        """Apply objects by server-side apply and note what became of each."""
        if not objects:
            return
        objects = own_logins.kept(self.kubectl, objects)
        before = {identity(one): one for one in self.kubectl.existing(objects)}
        after = self.kubectl.apply(objects, dry_run=self.options.dry_run, force=self.options.force_conflicts)
        rows = [Applied(*identity(one), _outcome(before.get(identity(one)), one)) for one in after]
        self.done.extend(rows)
        changed = sum(row.outcome != "unchanged" for row in rows)
        self.progress.say(f"{title}: {changed} of {len(rows)} objects changed")

    def operator(self, plan: InstallPlan, secrets: Sequence[Object]) -> None:
        """Apply the operator, its definitions first, and wait until it works."""
        self.apply("Definitions", plan.definitions)
        if not self.options.dry_run:
            for one in plan.definitions:
                if one["kind"] == "CustomResourceDefinition":
                    self._wait(f"{identity(one)[2]} established", readiness.established(self.kubectl, identity(one)[2]))
        self.apply("Secrets of the operator", secrets)
        self.apply("Operator", plan.operator)
        if not self.options.dry_run:
            for one in plan.operator:
                if one["kind"] == "Deployment":
                    _, namespace, name = identity(one)
                    self._wait(f"deployment {name} available", readiness.rolled_out(self.kubectl, namespace, name))

    def check_kinds(self, stores: Sequence[Object], definitions: Sequence[Object]) -> None:
        """See, before anything changes, that the cluster knows feature stores where no definition is applied first."""
        defined = any(one["kind"] == "CustomResourceDefinition" for one in definitions)
        version = str(stores[0].get("apiVersion")) if stores else ""
        if stores and not defined and "FeatureStore" not in self.kubectl.resources(version):
            raise ClusterError(
                f"The cluster has no Feast operator that serves FeatureStores of {version}. Nothing was changed.",
                remedy="Let an admin install the operator; where the bundle has it: bundler install --part admin.",
            )

    def check_secrets(self, wanted: Sequence[SecretWanted]) -> None:
        """See, before anything changes, that the Secrets that a site made itself are there with every key."""
        missing = [line for one in wanted for line in site_secrets.lacking(self.kubectl, one)]
        if missing:
            raise ClusterError(
                "Secrets are not there, or lack keys; nothing was changed.",
                remedy="Give their values with --secret NAME=FILE, or fill in a copy of each template and apply it.",
                details=tuple(missing),
            )

    def serve(self, stores: Sequence[Object], digest: Digest, *, again: bool) -> Iterator[str]:
        """Wait for each feature store, and run its CronJob once for this bundle; yield the runs that were started.

        ``again``: another bundle was installed since, so that a run of before counts for nothing.
        """
        for store in stores:
            _, namespace, name = identity(store)
            self._wait(f"feature store {name} ready", readiness.serving(self.kubectl, store))
            if self.options.first_run:
                yield from self._run_once(namespace, name, digest, again=again)

    def ask(self, stores: Sequence[Object]) -> Iterator[str]:
        """Ask each online server for its health, and for the features until it has them; yield what it said."""
        for store in stores:
            _, namespace, name = identity(store)
            # No answer is no failure: the kubelet, who asks the same, says that its pods are ready.
            yield f"{namespace}/{name}: health: {answers.healthy(self.kubectl, store)().seen}"
            if self.options.read:
                look = answers.answered(self.kubectl, store, self.options.read)
                seen = self._wait(f"features of {name} served", look)
                yield f"{namespace}/{name}: {', '.join(self.options.read.features)}: {seen}"

    def remove(self, last: Previous | None, plan: InstallPlan) -> tuple[str, ...]:
        """Delete what only the bundle before had; yet no feature store, because volumes of it would go with it."""
        if last is None:
            return ()
        gone = last.without(plan)
        for store in (one for one in gone if one["kind"] == "FeatureStore"):
            _, namespace, name = identity(store)
            self.progress.say(f"feature store {namespace}/{name} is not in this bundle; it stays until you delete it")
        objects = [one for one in gone if one["kind"] != "FeatureStore"]
        if not objects:
            return ()
        if self.options.dry_run:
            return tuple("/".join(filter(None, identity(one))) for one in self.kubectl.existing(objects))
        return self.kubectl.delete(objects, timeout=self.options.timeout)

    def _run_once(self, namespace: str, name: str, digest: Digest, *, again: bool) -> Iterator[str]:
        job_name = first_run(name, digest)
        look = readiness.completed(self.kubectl, namespace, job_name)
        job = self.kubectl.get("jobs.batch", job_name, namespace)
        if job is not None and (again or look().failed):
            self.kubectl.delete([job], timeout=self.options.timeout)
            job = None
        if job is None:
            cron_job = self.kubectl.get("cronjobs.batch", f"feast-{name}", namespace)
            if cron_job is None:
                self.progress.say(f"feature store {name} has no CronJob: nothing was applied or materialized")
                return
            self.kubectl.apply([readiness.job_of(cron_job, job_name)])
            yield f"{namespace}/{job_name}"
        self._wait(f"first run {job_name} complete", look)

    def _wait(self, what: str, look: Callable[[], readiness.Readiness]) -> str:
        """Look until it is so, and return what was seen.

        Raises:
            ClusterError: it is not so in time; its details are what the cluster says.
        """
        end = time.monotonic() + self.options.timeout
        with self.progress.task(f"Waiting: {what}") as task:
            while not (state := look()).reached:
                if state.failed or time.monotonic() >= end:
                    problem = state.failed or f"Not in {self.options.timeout:g} s"
                    raise ClusterError(
                        f"{problem}: {what} ({state.seen}).",
                        remedy="What was applied stays. Mend what the details say, and run the same command again.",
                        details=tuple(state.explain()),
                    )
                task.note(state.seen)
                time.sleep(self.options.pause)
            return state.seen


def _outcome(before: Object | None, after: Object) -> str:
    if before is None:
        return "created"
    return "unchanged" if _wanted(before) == _wanted(after) else "changed"


def _wanted(found: Object) -> Object:
    """Return what somebody wants of an object: not its status, nor what the server counts."""
    metadata = found.get("metadata")
    counted = ("managedFields", "resourceVersion", "generation")
    held: dict[str, Json] = {
        key: value for key, value in (metadata if isinstance(metadata, dict) else {}).items() if key not in counted
    }
    return {**{key: value for key, value in found.items() if key != "status"}, "metadata": held}

"""Status: whether a bundle is what is installed, whether its feature stores serve, and when CronJobs succeeded."""

from __future__ import annotations

from collections.abc import Iterator

from bundler.effects.kubectl import Kubectl
from bundler.kube.objects import KubeObject
from bundler.model.findings import Finding, Report, Section, Status
from bundler.steps.install import readiness
from bundler.steps.install.release import Release, first_run


def run(release: Release, kubectl: Kubectl) -> Report:
    """Ask the cluster about a release; changes nothing.

    Raises:
        ClusterError: the cluster cannot be reached, or does not let you read.
    """
    sections = [Section("The bundle", tuple(_installed(release, kubectl)))]
    sections += [Section(store.identity.place, tuple(_store(release, store, kubectl))) for store in release.plan.stores]
    return Report(f"Status of {release.title}", tuple(sections))


def _installed(release: Release, kubectl: Kubectl) -> Iterator[Finding]:
    title = "This bundle was installed last"
    command = "bundler install BUNDLE --registry HOST[:PORT]/PREFIX"
    if not release.plan.stores:
        return
    record = kubectl.get("configmaps", release.record_name, release.plan.stores[0].namespace)
    data = record.texts("data") if record else {}
    if not data:
        absent = f"there is no ConfigMap {release.record_name}: no install was completed"
        yield Finding("record", title, Status.FAIL, (absent,), "Install it.", command)
        return
    installed = {key: data.get(key, "unknown") for key in ("bundle", "digest", "registry")}
    evidence = (f"{installed['bundle']}, {installed['digest']}", f"images from {installed['registry']}")
    if (installed["digest"], installed["registry"]) == (str(release.digest), release.registry):
        yield Finding("record", title, Status.PASS, evidence)
    else:
        asked = f"{release.title}, {release.digest}, with images from {release.registry}"
        yield Finding("record", title, Status.FAIL, evidence, f"You asked about {asked}: install it.", command)


def _store(release: Release, store: KubeObject, kubectl: Kubectl) -> Iterator[Finding]:
    state = readiness.serving(kubectl, store)()
    title = "The feature store serves"
    if state.reached:
        yield Finding("serving", title, Status.PASS, (state.seen,))
    else:
        remedy = "The details come from operator, Deployment and containers; bundler lint checks the manifests."
        yield Finding("serving", title, Status.FAIL, (state.seen, *state.explain()), remedy)
    yield _materialized(kubectl, store, first_run(store.name, release.digest))


def _materialized(kubectl: Kubectl, store: KubeObject, job: str) -> Finding:
    title = "Features were applied and materialized"
    cron_job = kubectl.get("cronjobs.batch", f"feast-{store.name}", store.namespace)
    if cron_job is None:
        return Finding("cron-job", title, Status.NOT_APPLICABLE, ("there is no CronJob",))
    if last := cron_job.text("status", "lastSuccessfulTime"):
        return Finding("cron-job", title, Status.PASS, (f"the CronJob last succeeded at {last}",))
    first = readiness.completed(kubectl, store.namespace, job)()
    if first.reached:
        return Finding("cron-job", title, Status.PASS, (f"the Job {job} is complete",))
    evidence = ("neither the CronJob nor the first run of this bundle has succeeded yet", *first.explain())
    command = f"kubectl -n {store.namespace} get jobs"
    return Finding("cron-job", title, Status.FAIL, evidence, "Look at the status of its Jobs.", command)

"""Status: whether a bundle is what is installed, whether its feature stores serve, and when their CronJobs last did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bundler.effects.kubectl import Kubectl
from bundler.kube.kustomize import Object
from bundler.model.findings import Finding, Report, Section, Status
from bundler.steps.install import plan as install_plan
from bundler.steps.install import readiness
from bundler.steps.install.release import Release, first_run, identity


def run(bundle: Path, registry: str, kubectl: Kubectl) -> Report:
    """Ask the cluster after a bundle; changes nothing.

    Raises:
        VerificationError: the bundle is damaged.
        ClusterError: the cluster cannot be reached, or does not let you read.
    """
    subject = Release.of(bundle, registry)
    plan = install_plan.plan(subject.manifests)
    sections = [Section("The bundle", tuple(_installed(subject, plan.stores, kubectl)))]
    for store in plan.stores:
        _, namespace, name = identity(store)
        sections.append(Section(f"{namespace}/{name}", tuple(_store(subject, store, kubectl))))
    return Report(f"Status of {subject.title}", tuple(sections))


def _installed(subject: Release, stores: tuple[Object, ...], kubectl: Kubectl) -> Iterator[Finding]:
    title = "This bundle was installed last"
    again = "bundler install BUNDLE --registry HOST[:PORT]/PREFIX"
    if not stores:
        return
    record = kubectl.get("configmaps", subject.record_name, identity(stores[0])[1])
    data = record.get("data") if record else None
    if not isinstance(data, dict):
        evidence = (f"there is no ConfigMap {subject.record_name}: no install has come to its end",)
        yield Finding("record", title, Status.FAIL, evidence, "Install it.", again)
        return
    found = (f"{data.get('bundle')}, {data.get('digest')}", f"images from {data.get('registry')}")
    if (data.get("digest"), data.get("registry")) == (str(subject.digest), subject.registry):
        yield Finding("record", title, Status.PASS, found)
    else:
        remedy = f"Asked after was {subject.title}, {subject.digest}, with images from {subject.registry}."
        yield Finding("record", title, Status.FAIL, found, remedy, again)


def _store(subject: Release, store: Object, kubectl: Kubectl) -> Iterator[Finding]:
    _, namespace, name = identity(store)
    state = readiness.serving(kubectl, store)()
    title = "The feature store serves"
    if state.reached:
        yield Finding("serving", title, Status.PASS, (state.seen,))
    else:
        remedy = "The details are those of operator and containers; what is wrong with a manifest: bundler lint."
        yield Finding("serving", title, Status.FAIL, (state.seen, *state.explain()), remedy)
    yield _materialized(kubectl, namespace, name, first_run(name, subject.digest))


def _materialized(kubectl: Kubectl, namespace: str, name: str, job: str) -> Finding:
    title = "Features were applied and materialized"
    cron_job = kubectl.get("cronjobs.batch", f"feast-{name}", namespace)
    if cron_job is None:
        return Finding("cron-job", title, Status.NOT_APPLICABLE, ("there is no CronJob",))
    status = cron_job.get("status")
    last = status.get("lastSuccessfulTime") if isinstance(status, dict) else None
    if last:
        return Finding("cron-job", title, Status.PASS, (f"the CronJob last succeeded at {last}",))
    first = readiness.completed(kubectl, namespace, job)()
    if first.reached:
        return Finding("cron-job", title, Status.PASS, (f"the Job {job} is complete",))
    evidence = ("neither the CronJob nor the first run of this bundle has succeeded yet", *first.explain())
    return Finding(
        "cron-job", title, Status.FAIL, evidence, "See what its runs did.", f"kubectl -n {namespace} get jobs"
    )

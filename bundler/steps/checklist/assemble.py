"""Assemble the checklist of a built bundle: Feast's own air-gapped checklist, answered from what is really in it.

The items and steps are those of Feast's guide "Production Deployment Topologies", section "Air-Gapped / Disconnected
Environment Deployments". Answers are read from the emitted manifests, not from what was meant to be emitted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from bundler.model import layout
from bundler.model.findings import Finding, Report, Section, Status, manual, passed
from bundler.render.checklist import Cover
from bundler.steps.checklist.artifacts import artifacts
from bundler.steps.checklist.facts import BUILD_AGAIN, ChecklistFacts, OperatorFacts, PythonFacts, RepoFacts
from bundler.steps.checklist.guide_steps import steps
from bundler.steps.checklist.manifest_evidence import Emitted, EmittedStore

__all__ = ["ChecklistFacts", "OperatorFacts", "PythonFacts", "RepoFacts", "assemble"]

_OPERATOR_NAMESPACE: Final = "feast-operator-system"


def assemble(facts: ChecklistFacts) -> tuple[Report, Cover]:
    """Return the checklist and what stands above it."""
    emitted = Emitted.read(facts.manifests)
    sections = [
        Section("Verify the bundle", tuple(_trust(facts))),
        Section("Prerequisites of Feast's air-gapped guide", tuple(artifacts(facts, emitted))),
        Section("Feast's six steps", tuple(steps(facts, emitted))),
        Section("Prerequisites that Feast's guide does not list", tuple(_beyond(facts, emitted))),
    ]
    if facts.checks:
        sections.append(Section("Checks that the build ran", facts.checks))
    if facts.rehearsal:
        titled = (
            replace(section, title=f"{facts.rehearsal.title}: {section.title}") for section in facts.rehearsal.sections
        )
        sections += titled
    sections.append(Section("Afterwards", tuple(_afterwards(facts, emitted))))
    return Report(f"Air-gapped checklist: {facts.name} {facts.version}", tuple(sections)), _cover(facts, emitted)


def _cover(facts: ChecklistFacts, emitted: Emitted) -> Cover:
    rows = (
        ("File", facts.file_name),
        ("Feast", facts.feast_version),
        ("Operator", facts.operator.version + (" (on the cluster already)" if facts.operator.preinstalled else "")),
        ("Internal registry", facts.registry),
        ("Namespace", ", ".join(emitted.namespaces)),
        ("FeatureStore", ", ".join(store.name for store in emitted.stores)),
        ("Signed", "yes" if facts.signed else "no"),
        ("Built by", facts.tool),
        ("Base image", facts.base),
        ("Feature repo", ", ".join(f"{repo.files} files, {repo.digest}" for repo in facts.repos)),
        ("Lock", str(facts.lock)),
    )
    return Cover(facts.name, facts.version, facts.created, rows, facts.images, facts.notes)


def _trust(facts: ChecklistFacts) -> Iterator[Finding]:
    commands = [
        f"sha256sum {facts.file_name}",
        f"tar -xOf {facts.file_name} {layout.OFFLINE_PROGRAM} > {layout.OFFLINE_PROGRAM}",
    ]
    remedy = "Get the checksum from the builder over another channel and compare it; then verify every file."
    if facts.signed:
        commands[1:1] = [
            f"tar -xf {facts.file_name} {layout.MANIFEST} {layout.SIGNATURE}",
            f"openssl dgst -sha256 -verify PUBLIC_KEY.pem -signature {layout.SIGNATURE} {layout.MANIFEST}",
        ]
        remedy = "Check the signature with your own openssl before you run a program of the bundle; then verify it."
    verify = f"{layout.OFFLINE_COMMAND} verify {facts.file_name}" + (" --trust PUBLIC_KEY.pem" if facts.signed else "")
    yield manual("verify", "Verify the bundle where it arrived", remedy, "\n".join((*commands, verify)))
    if not facts.signed:
        evidence = (f"there is no {layout.SIGNATURE}: only the checksum shows that this is the file that was built",)
        yield Finding("signature", "Signature", Status.NOT_APPLICABLE, evidence)


# What the guide does not say, and stops a deployment all the same.


def _beyond(facts: ChecklistFacts, emitted: Emitted) -> Iterator[Finding]:
    yield _kubectl_image(emitted)
    if not facts.operator.preinstalled:
        operator = [f"{image.reference} {image.root.digest}" for image in facts.images if image.role == "operator"]
        title = "The operator's own image is in the bundle"
        if operator:
            yield passed("operator-image", title, *operator)
        else:
            yield Finding("operator-image", title, Status.FAIL, ("no image of the role operator",), "Build again.")
    yield manual(
        "operator-namespace",
        f"The namespace {_OPERATOR_NAMESPACE} exists",
        "Except on OpenShift, the operator writes into it wherever it runs. Without it every FeatureStore fails.",
        f"kubectl get namespace {_OPERATOR_NAMESPACE} || kubectl create namespace {_OPERATOR_NAMESPACE}",
    )


def _kubectl_image(emitted: Emitted) -> Finding:
    title = "The CronJob has an image with kubectl"
    cron = [f"{use.where}: {use.image}" for use in emitted.uses if ".cronJob." in use.where]
    if not cron:
        problem = "without it the operator takes an image from a public registry"
        return Finding("kubectl-image", title, Status.FAIL, (problem,), BUILD_AGAIN)
    return passed("kubectl-image", title, *cron)


def _afterwards(facts: ChecklistFacts, emitted: Emitted) -> Iterator[Finding]:
    yield manual(
        "apply",
        "Install",
        f"preflight reports what would stop the install; install applies everything in order. Without Python: "
        f"{layout.INSTALL_SCRIPT} apply.",
        f"{layout.OFFLINE_COMMAND} preflight {facts.file_name} --registry {facts.registry}\n"
        f"{layout.OFFLINE_COMMAND} install {facts.file_name} --registry {facts.registry} --checklist signed-here",
    )
    for store in emitted.stores:
        yield from _after_apply(store)


def _after_apply(store: EmittedStore) -> Iterator[Finding]:
    namespace, name = store.namespace, store.name
    yield manual(
        "ready",
        f"The FeatureStore {name} is ready",
        "The FeatureStore shows crashing pods as pending, so check the Deployment too.",
        f"kubectl -n {namespace} wait featurestore/{name} --for=jsonpath='{{.status.phase}}'=Ready --timeout=10m\n"
        f"kubectl -n {namespace} rollout status deployment/feast-{name}",
    )
    yield manual(
        "first-run",
        f"Features of {name} are applied and materialized once",
        "Pods do not run `feast apply` when they start: the Feast registry is empty until the CronJob has run.",
        f"kubectl -n {namespace} create job --from=cronjob/feast-{name} feast-{name}-first\n"
        f"kubectl -n {namespace} wait job/feast-{name}-first --for=condition=Complete --timeout=30m\n"
        f"kubectl -n {namespace} logs job/feast-{name}-first --all-containers",
    )

"""The six steps of Feast's air-gapped guide, answered from the emitted manifests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bundler.model import layout
from bundler.model.findings import Finding, Status, manual, passed
from bundler.steps.checklist.facts import BUILD_AGAIN, ChecklistFacts
from bundler.steps.checklist.manifest_evidence import Emitted, EmittedStore

# Where the wiring "operator" lets init containers take the repo from.
_IN_IMAGES: Final = frozenset({"init", "packaged"})


def steps(facts: ChecklistFacts, emitted: Emitted) -> Iterator[Finding]:
    """Yield the findings of the six steps."""
    yield _build_step(facts)
    yield _push_step(facts)
    yield from (_init_containers_step(store) for store in emitted.stores)
    yield _image_step(facts, emitted)
    yield _pull_policy_step(facts, emitted)
    yield _pull_secrets_step(emitted)


def _build_step(facts: ChecklistFacts) -> Finding:
    title = "1. Build an image that holds the feature repo and its Python packages"
    if not any(image.role == "feature-server" for image in facts.images):
        return Finding("step-build", title, Status.FAIL, ("no such image is in the bundle",), BUILD_AGAIN)
    baked = [line for repo in facts.repos for line in (repo.image, f"{repo.folder}: {repo.files} files, {repo.digest}")]
    return passed("step-build", title, *baked, f"base {facts.base}")


def _push_step(facts: ChecklistFacts) -> Finding:
    command = f"{layout.OFFLINE_COMMAND} push {facts.file_name} --registry {facts.registry}"
    remedy = f"Log in first where the registry asks for it: skopeo login {facts.registry_host}."
    lines = [image.pinned for image in facts.images]
    return manual("step-push", "2. Push the images to the internal registry", remedy, command, *lines)


def _init_containers_step(store: EmittedStore) -> Finding:
    title = "3. Disable init containers (services.disableInitContainers: true)"
    line = f"{store.path}: spec.services.disableInitContainers is {store.init_containers_disabled}"
    if store.init_containers_disabled == "true":
        return passed("step-init-containers", title, line)
    if store.source in _IN_IMAGES:
        wired = f"feastProjectDir.{store.source}: they run in images of the bundle, and fetch nothing"
        return Finding("step-init-containers", title, Status.NOT_APPLICABLE, (line, wired))
    return Finding(
        "step-init-containers",
        title,
        Status.FAIL,
        (line,),
        "Set it to true, or pods fetch the repo from the internet.",
    )


def _image_step(facts: ChecklistFacts, emitted: Emitted) -> Finding:
    title = "4. Override the image of each service"
    bundled = {image.pinned for image in facts.images}
    wrong = [f"{use.where}: {use.image}" for use in emitted.uses if use.image not in bundled]
    if wrong or not emitted.uses:
        problem = "not an image of this bundle by digest" if wrong else "the FeatureStore names no image"
        return Finding("step-images", title, Status.FAIL, (problem, *wrong), BUILD_AGAIN)
    return passed("step-images", title, *(f"{use.where}: {use.image}" for use in emitted.uses))


def _pull_policy_step(facts: ChecklistFacts, emitted: Emitted) -> Finding:
    title = "5. Set imagePullPolicy: IfNotPresent, or Never where images are loaded on the nodes"
    containers = [use for use in emitted.uses if use.is_container]
    lines = [f"{use.where}: {use.pull_policy or 'not set'}" for use in containers]
    if not containers or any(not use.pull_policy for use in containers):
        return Finding("step-pull-policy", title, Status.FAIL, tuple(lines), "Set deployment.imagePullPolicy.")
    policies = {use.pull_policy for use in containers}
    if "Never" in policies:
        nodes = "Load the images on every node: no node pulls them."
        command = f"{layout.OFFLINE_COMMAND} load {facts.file_name}"
        return manual("step-pull-policy", title, nodes, command, *lines)
    if policies != {"IfNotPresent"}:
        return _asks_registry(title, lines)
    return passed("step-pull-policy", title, *lines)


def _asks_registry(title: str, lines: list[str]) -> Finding:
    remedy = "A pod starts only while the registry answers; set IfNotPresent in the spec unless you want this."
    return manual("step-pull-policy", title, remedy, "", *lines)


def _pull_secrets_step(emitted: Emitted) -> Finding:
    title = "6. Attach imagePullSecrets to the ServiceAccounts"
    lines = [f"{account.name}: {', '.join(account.pull_secrets) or 'none'}" for account in emitted.accounts]
    if not emitted.pull_secrets:
        reason = "the spec names no deployment.imagePullSecrets: the registry lets nodes pull without credentials"
        return Finding("step-pull-secrets", title, Status.NOT_APPLICABLE, (reason,))
    if all(account.pull_secrets for account in emitted.accounts):
        return passed("step-pull-secrets", title, *lines)
    return Finding(
        "step-pull-secrets",
        title,
        Status.FAIL,
        tuple(lines),
        "Each account needs the pull secrets. Build again.",
    )

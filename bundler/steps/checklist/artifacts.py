"""The five things that Feast's air-gapped checklist wants in place beforehand, answered from what is in the bundle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bundler.model import layout
from bundler.model.digest import Digest
from bundler.model.findings import Finding, Status, manual, passed
from bundler.steps.checklist.facts import BUILD_AGAIN, ChecklistFacts
from bundler.steps.checklist.manifest_evidence import Emitted

_CRD: Final = "featurestores.feast.dev"


def artifacts(facts: ChecklistFacts, emitted: Emitted) -> Iterator[Finding]:
    """Yield the findings of the five items, in the order of the guide."""
    yield _container_images(facts)
    yield from _crd_manifests(facts, emitted)
    yield from _store_credentials(facts, emitted)
    yield _python_packages(facts)
    yield from _service_accounts(facts, emitted)


def _container_images(facts: ChecklistFacts) -> Finding:
    server = [image for image in facts.images if image.role == "feature-server"]
    if not server:
        problem = "the bundle has no image of the role feature-server"
        return Finding("container-images", "Container images", Status.FAIL, (problem,), BUILD_AGAIN)
    lines = [f"{image.role}: {image.reference} {image.root.digest}" for image in facts.images]
    return passed(
        "container-images", "Container images: all are in the bundle, the feature repo in the server's", *lines
    )


def _crd_manifests(facts: ChecklistFacts, emitted: Emitted) -> Iterator[Finding]:
    title = "CRD manifests"
    if facts.operator.preinstalled:
        command = f"kubectl get crd {_CRD} -o jsonpath='{{.spec.versions[*].name}}'\n"
        command += f"kubectl get deployments --all-namespaces -o wide | grep feast-operator:{facts.operator.version}"
        remedy = f"Check that the cluster already has operator {facts.operator.version}, as the spec says."
        yield manual("crd-manifests", title, remedy, command, "not in the bundle: operator.preinstalled is true")
    elif emitted.crds and emitted.operator_files:
        crds = [f"{path} defines {name}" for name, path in emitted.crds.items()]
        files = [f"{path} {Digest.of(facts.manifests[path].text.encode())}" for path in emitted.operator_files]
        yield passed(
            "crd-manifests", f"{title}: the operator's release {facts.operator.version} is in the bundle", *crds, *files
        )
    else:
        problem = "no manifest of the bundle defines the CRD, and operator.preinstalled is not true"
        yield Finding("crd-manifests", title, Status.FAIL, (problem,), "Set operator.manifest in the spec.")


def _store_credentials(facts: ChecklistFacts, emitted: Emitted) -> Iterator[Finding]:
    title = "Store credentials"
    stores = [
        f"Secret {secret.name}, key {key}: made by {secret.path}" for secret in emitted.shipped for key in secret.keys
    ]
    if emitted.to_fill:
        for secret in emitted.to_fill:
            remedy = f"Fill in {', '.join(secret.keys)}; keep the copy out of version control."
            path = layout.manifest(secret.path)
            commands = (
                f"tar -xf {facts.file_name} {path}",
                f"chmod 600 {path} && ${{EDITOR:-vi}} {path}",
                f"kubectl create namespace {secret.namespace} --dry-run=client -o yaml | kubectl apply -f -",
                f"kubectl apply -f {path} && rm {path}",
            )
            where = f"Secret {secret.name} in namespace {secret.namespace}, keys {', '.join(secret.keys)}"
            yield manual("store-credentials", f"{title}: {secret.name}", remedy, "\n".join(commands), where, *stores)
        return
    reason = "feature_store.yaml uses no ${VARIABLE}, so no value has to be kept secret"
    yield Finding("store-credentials", title, Status.NOT_APPLICABLE, (reason, *stores))


def _python_packages(facts: ChecklistFacts) -> Finding:
    lines = [
        f"{row.platform}: Python {row.python}, {row.installed} packages installed, {row.of_base} of the base"
        for row in facts.python
    ]
    if not lines:
        problem = "the build does not say which packages the image has"
        return Finding("python-packages", "Python packages", Status.FAIL, (problem,), BUILD_AGAIN)
    lines.append(f"every version and hash: {layout.LOCK}, {facts.lock}")
    return passed("python-packages", "Python packages: all are in the image, no package index is used", *lines)


def _service_accounts(facts: ChecklistFacts, emitted: Emitted) -> Iterator[Finding]:
    title = "ServiceAccount configuration"
    if not emitted.accounts:
        problem = "no manifest creates a ServiceAccount"
        yield Finding("service-accounts", title, Status.FAIL, (problem,), BUILD_AGAIN)
        return
    lines = [
        f"{account.name}: imagePullSecrets {', '.join(account.pull_secrets) or 'none'} ({account.path})"
        for account in emitted.accounts
    ]
    yield passed("service-accounts", f"{title}: they are created before the pods that use them", *lines)
    for namespace, secret in emitted.pull_secrets:
        command = f"skopeo login --authfile auth.json {facts.registry_host}\n"
        command += f"kubectl -n {namespace} create secret generic {secret}"
        command += " --type=kubernetes.io/dockerconfigjson --from-file=.dockerconfigjson=auth.json"
        remedy = "Nodes use it to pull images. skopeo asks for the password, so the shell's history does not hold it."
        yield manual("pull-secret", f"Pull secret {secret}", remedy, command, f"namespace {namespace}")

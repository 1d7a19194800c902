"""Whether the cluster fits the bundle: version, operator, CRD, objects, Secrets, storage, quotas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bundler.errors import ForbiddenError
from bundler.feast.operator import crd
from bundler.feast.operator.crd import FeatureStoreCrd
from bundler.kube import structural_schema
from bundler.kube.objects import KubeObject, mappings
from bundler.model.descriptor import Json
from bundler.model.findings import Finding, Status
from bundler.steps.install import openshift_pull_secrets, required_secrets
from bundler.steps.install.preflight.scope import PreflightScope

_EARLIEST: Final = (1, 22)  # server-side apply of every kind that the bundle has, batch/v1 CronJobs from 1.21
_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
_OPERATOR_MARK: Final = "RELATED_IMAGE_FEATURE_SERVER"


def check_version(scope: PreflightScope) -> Iterator[Finding]:
    """Yield whether the API server answers, in a version that serves what is applied."""
    title, version = "The cluster answers, in a version that is supported", scope.kubectl.version()
    numbers = tuple(int(number) for number in version.lstrip("v").split(".")[:2] if number.isdigit())
    needed = ".".join(map(str, _EARLIEST))
    if numbers >= _EARLIEST:
        yield Finding("version", title, Status.PASS, (version,))
    else:
        evidence = (f"{version or 'no version'}; CronJobs of batch/v1 and server-side apply need {needed}",)
        yield Finding("version", title, Status.FAIL, evidence, f"Install into a cluster of {needed} or later.")


def check_operator(scope: PreflightScope) -> Iterator[Finding]:
    """Yield whether exactly one operator will manage the feature stores."""
    title = "One Feast operator manages the feature stores"
    deployments = scope.kubectl.listed("deployments.apps", None)
    running = [deployment for deployment in deployments if _OPERATOR_MARK in _variables(deployment)]
    installed = {deployment.identity for deployment in scope.plan.operator}
    others = [deployment for deployment in running if deployment.identity not in installed]
    evidence = tuple(_described(deployment) for deployment in running)
    if scope.brings_operator:
        if others:
            remedy = "Two operators overwrite each other's changes: use --part tenant, or remove the other one first."
            yield Finding("operator", title, Status.FAIL, evidence, remedy)
        else:
            yield Finding("operator", title, Status.PASS, evidence or ("none yet; the bundle contains it",))
        return
    if not running:
        remedy = "Ask an administrator to install it; where the bundle contains it: bundler install --part admin."
        yield Finding("operator", title, Status.FAIL, ("no Deployment of the cluster is a Feast operator",), remedy)
    elif not any(deployment.number("status", "availableReplicas") for deployment in running):
        yield Finding("operator", title, Status.FAIL, evidence, "Its pods are not available: see kubectl describe.")
    else:
        yield Finding("operator", title, Status.PASS, evidence)


def check_definition(scope: PreflightScope) -> Iterator[Finding]:
    """Yield whether the cluster's CRD has every field that the feature stores set; that of an older operator may not.

    The server does not always report it: it may drop fields that it does not know.
    """
    title = "The cluster's CRD has every field of the feature stores"
    live = scope.kubectl.get("customresourcedefinitions.apiextensions.k8s.io", crd.NAME)
    definition = crd.of(live.to_json() if live else None, "the cluster's CRD")
    if scope.brings_operator or not scope.plan.stores or definition is None:
        reason = "it comes with the install" if scope.brings_operator else "there is none"
        yield Finding("definition", title, Status.NOT_APPLICABLE, (reason,))
        return
    lines = tuple(
        f"{store.name}: {problem}"
        for store in scope.plan.stores
        for problem in structural_schema.problems(_with_defaults(store, definition), definition.schema)
    )
    if lines:
        remedy = "Upgrade the operator to the release that the bundle was built for, or build for that of the cluster."
        command = f"kubectl get crd {crd.NAME} -o yaml > crd.yaml; bundler lint --operator-manifest crd.yaml ..."
        yield Finding("definition", title, Status.FAIL, lines, remedy, command)
    else:
        yield Finding(
            "definition", title, Status.PASS, (f"{len(scope.plan.stores)} feature stores fit {crd.API_VERSION}",)
        )


def check_objects(scope: PreflightScope) -> Iterator[Finding]:
    """Yield whether the server accepts every object, as far as it can tell before any is there."""
    title = "The server accepts every object"
    there = {namespace.name for namespace in scope.kubectl.existing(_namespaces(scope))}
    served = {
        version: scope.kubectl.resources(version) for version in {applied.api_version for applied in scope.applied}
    }
    ready = [
        applied
        for applied in scope.applied
        if applied.namespace in {"", *there} and applied.kind in served[applied.api_version]
    ]
    left = len(scope.applied) - len(ready)
    rest = (f"{left} could not be tried: their namespace or definition comes with the install",) if left else ()
    if not ready:
        yield Finding("objects", title, Status.NOT_APPLICABLE, rest)
        return
    try:
        scope.kubectl.apply(openshift_pull_secrets.kept(scope.kubectl, ready), dry_run=True)
    except ForbiddenError as error:
        # Missing rights are another check's finding, but quotas and admission refuse with the same error.
        remedy = "The details name the object and what refuses it: rights, a quota, or an admission policy."
        yield Finding("objects", title, Status.FAIL, tuple(error.details), remedy)
        return
    yield Finding("objects", title, Status.PASS, (f"{len(ready)} objects, by a dry run of the server", *rest))


def check_secrets(scope: PreflightScope) -> Iterator[Finding]:
    """Yield for each Secret that the site fills in whether it is there with every key; shows no value."""
    for required in scope.secrets:
        place = required.place
        title = f"Secret {place} has every key"
        if required in scope.filled:
            yield Finding(f"secret-{place}", title, Status.PASS, ("it comes with --secret",))
        elif lines := tuple(required_secrets.lacking(scope.kubectl, required)):
            remedy = "Give its values at install, or fill in a copy of its template and apply it."
            yield Finding(f"secret-{place}", title, Status.FAIL, lines, remedy, f"--secret {place}=FILE")
        else:
            yield Finding(f"secret-{place}", title, Status.PASS, (f"keys: {', '.join(required.keys)}",))


def check_storage(scope: PreflightScope) -> Iterator[Finding]:
    """Yield whether volumes that are asked for can be provisioned."""
    title = "Volumes that feature stores ask for can be provisioned"
    asked = sorted({name for store in scope.plan.stores for name in _classes(store)})
    if not asked:
        yield Finding("storage", title, Status.NOT_APPLICABLE, ("no volume is asked for",))
        return
    classes = {
        storage_class.name: storage_class
        for storage_class in scope.kubectl.listed("storageclasses.storage.k8s.io", None)
    }
    default = [
        name for name, storage_class in classes.items() if storage_class.annotations.get(_DEFAULT_CLASS) == "true"
    ]
    lacking = [f"there is no StorageClass {name}" for name in asked if name and name not in classes]
    if "" in asked and not default:
        lacking.append("no StorageClass is the default, and a volume names none")
    if lacking:
        remedy = "Make one of them the default, or name one in the spec (storage class of the volume)."
        evidence = (*lacking, f"the cluster has: {', '.join(sorted(classes)) or 'none'}")
        yield Finding("storage", title, Status.FAIL, evidence, remedy, "kubectl get storageclass")
    else:
        yield Finding("storage", title, Status.PASS, tuple(name or f"the default, {default[0]}" for name in asked))


def check_quota(scope: PreflightScope) -> Iterator[Finding]:
    """Yield whether the quotas of a namespace have room."""
    for namespace in scope.namespaces:
        title = f"Quotas of namespace {namespace} leave room"
        quotas = scope.kubectl.listed("resourcequotas", namespace)
        if not quotas:
            yield Finding(f"quota-{namespace}", title, Status.NOT_APPLICABLE, ("there is none",))
            continue
        evidence, full = [], []
        for quota in quotas:
            hard, used = quota.texts("status", "hard"), quota.texts("status", "used")
            evidence += [f"{quota.name}: {used.get(key, '0')} of {value} {key}" for key, value in hard.items()]
            full += [key for key, value in hard.items() if used.get(key) == value]
        if full:
            remedy = f"Nothing is left of {', '.join(full)}: ask for a larger quota, or remove what uses it."
            command = f"kubectl --namespace={namespace} describe resourcequota"
            yield Finding(f"quota-{namespace}", title, Status.FAIL, tuple(evidence), remedy, command)
        else:
            remedy = "Compare what is left with the requests and limits of the servers in featurestore.yaml."
            yield Finding(f"quota-{namespace}", title, Status.MANUAL, tuple(evidence), remedy)


def _namespaces(scope: PreflightScope) -> list[KubeObject]:
    names = sorted({applied.namespace for applied in scope.applied} - {""})
    return [KubeObject.named("v1", "Namespace", "", name) for name in names]


def _variables(deployment: KubeObject) -> dict[str, str]:
    containers = deployment.rows("spec", "template", "spec", "containers")
    return {row.text("name"): row.text("value") for container in containers for row in container.rows("env")}


def _described(deployment: KubeObject) -> str:
    server, owner = _variables(deployment)[_OPERATOR_MARK], deployment.labels.get("olm.owner")
    by = f", installed by OLM as {owner}" if owner else ""
    return f"{deployment.identity.place}, its default image is {server}{by}"


def _classes(store: KubeObject) -> Iterator[str]:
    """Yield the storage class of each claim that the operator creates, empty for the default one."""
    for volume in mappings(store.get("spec")):
        if isinstance(volume.get("pvc", "create"), dict):
            yield volume.text("pvc", "create", "storageClassName")


def _with_defaults(store: KubeObject, definition: FeatureStoreCrd) -> Json:
    # The server fills in the defaults before it validates.
    return structural_schema.with_defaults(store.to_json(), definition.schema)

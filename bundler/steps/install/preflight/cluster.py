"""Whether the cluster is one that the bundle can go to: operator, objects, Secrets, storage, quota."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from bundler.errors import ForbiddenError
from bundler.feast.operator import crd
from bundler.feast.operator.crd import FeatureStoreCrd
from bundler.kube import structural_schema
from bundler.kube.kustomize import Object
from bundler.model.descriptor import Json
from bundler.model.findings import Finding, Status
from bundler.steps.install import openshift_pull_secrets as own_logins
from bundler.steps.install import secrets as site_secrets
from bundler.steps.install.preflight.case import Case
from bundler.steps.install.release import identity

_EARLIEST: Final = (1, 22)  # server-side apply of every kind that the bundle has, batch/v1 CronJobs from 1.21
_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
_OPERATOR_MARK: Final = "RELATED_IMAGE_FEATURE_SERVER"


def check_version(case: Case) -> Iterator[Finding]:
    """Yield whether the API server is there, in a version that serves what is applied."""
    title, found = "The cluster answers, in a version that is supported", case.kubectl.version()
    numbers = tuple(int(part) for part in found.lstrip("v").split(".")[:2] if part.isdigit())
    needed = ".".join(map(str, _EARLIEST))
    if numbers >= _EARLIEST:
        yield Finding("version", title, Status.PASS, (found,))
    else:
        evidence = (f"{found or 'no version'}; CronJobs of batch/v1 and server-side apply need {needed}",)
        yield Finding("version", title, Status.FAIL, evidence, f"Take a cluster of {needed} or later.")


def check_operator(case: Case) -> Iterator[Finding]:
    """Yield whether one operator, and not two, will look after the feature stores."""
    title = "One Feast operator looks after feature stores"
    running = [one for one in case.kubectl.listed("deployments.apps", None) if _OPERATOR_MARK in _variables(one)]
    ours = {identity(one) for one in case.plan.operator}
    others = [one for one in running if identity(one) not in ours]
    evidence = tuple(_described(one) for one in running)
    if case.brings_operator:
        if others:
            remedy = "Two operators would fight over them: install with --part tenant, or remove the other one first."
            yield Finding("operator", title, Status.FAIL, evidence, remedy)
        else:
            yield Finding("operator", title, Status.PASS, evidence or ("none yet; the bundle brings it",))
        return
    if not running:
        remedy = "Let an admin install it; where the bundle has it: bundler install --part admin."
        yield Finding("operator", title, Status.FAIL, ("no Deployment of the cluster is one",), remedy)
    elif not any(_available(one) for one in running):
        yield Finding("operator", title, Status.FAIL, evidence, "Its pods are not available: see why.")
    else:
        yield Finding("operator", title, Status.PASS, evidence)


def check_definition(case: Case) -> Iterator[Finding]:
    """Yield whether the cluster's CRD has every field that the feature stores set: that of an older operator may not.

    The server itself does not always say: it may drop what it does not know.
    """
    title = "The cluster's definition has every field of the feature stores"
    found = case.kubectl.get("customresourcedefinitions.apiextensions.k8s.io", crd.NAME)
    definition = crd.of(found, "the cluster's CRD")
    if case.brings_operator or not case.plan.stores or definition is None:
        reason = "it comes with the install" if case.brings_operator else "there is none"
        yield Finding("definition", title, Status.NOT_APPLICABLE, (reason,))
        return
    lines = tuple(
        f"{identity(store)[2]}: {problem}"
        for store in case.plan.stores
        for problem in structural_schema.problems(_filled(store, definition), definition.schema)
    )
    if lines:
        remedy = "Have the operator upgraded to the release that the bundle was built for, or build for the cluster's."
        command = f"kubectl get crd {crd.NAME} -o yaml > crd.yaml; bundler lint --operator-manifest crd.yaml ..."
        yield Finding("definition", title, Status.FAIL, lines, remedy, command)
    else:
        yield Finding(
            "definition", title, Status.PASS, (f"{len(case.plan.stores)} feature stores fit {crd.API_VERSION}",)
        )


def check_objects(case: Case) -> Iterator[Finding]:
    """Yield whether the server would take every object, as far as it can say before any is there."""
    title = "The server would take every object as it is"
    there = {identity(one)[2] for one in case.kubectl.existing(_namespaces(case))}
    served = {version: case.kubectl.resources(version) for version in {str(one["apiVersion"]) for one in case.applied}}
    ready = [
        one
        for one in case.applied
        if identity(one)[1] in {"", *there} and str(one["kind"]) in served[str(one["apiVersion"])]
    ]
    left = len(case.applied) - len(ready)
    rest = (f"{left} could not be tried: their namespace or definition comes with the install",) if left else ()
    if not ready:
        yield Finding("objects", title, Status.NOT_APPLICABLE, rest)
        return
    try:
        case.kubectl.apply(own_logins.kept(case.kubectl, ready), dry_run=True)
    except ForbiddenError as error:
        # Not only for want of rights, which are a finding of their own: quotas and admission refuse so, too.
        remedy = "The details name the object and who refuses it: rights, a quota, or an admission policy."
        yield Finding("objects", title, Status.FAIL, tuple(error.details), remedy)
        return
    yield Finding("objects", title, Status.PASS, (f"{len(ready)} objects, tried without keeping them", *rest))


def check_secrets(case: Case) -> Iterator[Finding]:
    """Yield for each Secret that the site fills in whether it is there with every key; no value is shown."""
    for wanted in case.secrets:
        place = f"{wanted.namespace}/{wanted.name}"
        title = f"Secret {place} has what is wanted of it"
        if wanted in case.filled:
            yield Finding(f"secret-{place}", title, Status.PASS, ("it comes with --secret",))
        elif lines := tuple(site_secrets.lacking(case.kubectl, wanted)):
            remedy = "Give its values at install, or fill in a copy of its template and apply it."
            yield Finding(f"secret-{place}", title, Status.FAIL, lines, remedy, f"--secret {place}=FILE")
        else:
            yield Finding(f"secret-{place}", title, Status.PASS, (f"keys: {', '.join(wanted.keys)}",))


def check_storage(case: Case) -> Iterator[Finding]:
    """Yield whether volumes that are asked for will be made."""
    title = "Volumes that feature stores ask for can be made"
    asked = sorted(set(_classes([one.get("spec") for one in case.plan.stores])))
    if not asked:
        yield Finding("storage", title, Status.NOT_APPLICABLE, ("no volume is asked for",))
        return
    classes = {identity(one)[2]: one for one in case.kubectl.listed("storageclasses.storage.k8s.io", None)}
    default = [name for name, one in classes.items() if _annotations(one).get(_DEFAULT_CLASS) == "true"]
    lacking = [f"there is no StorageClass {name}" for name in asked if name and name not in classes]
    if "" in asked and not default:
        lacking.append("no StorageClass is the default, and a volume names none")
    if lacking:
        remedy = "Make one of them the default, or name one in the spec (storage class of the volume)."
        evidence = (*lacking, f"the cluster has: {', '.join(sorted(classes)) or 'none'}")
        yield Finding("storage", title, Status.FAIL, evidence, remedy, "kubectl get storageclass")
    else:
        yield Finding("storage", title, Status.PASS, tuple(name or f"the default, {default[0]}" for name in asked))


def check_quota(case: Case) -> Iterator[Finding]:
    """Yield whether a quota of a namespace lets pods in that do not say what they need, and has room for any."""
    for namespace in case.namespaces:
        title = f"Quotas of namespace {namespace} leave room"
        quotas = case.kubectl.listed("resourcequotas", namespace)
        if not quotas:
            yield Finding(f"quota-{namespace}", title, Status.NOT_APPLICABLE, ("there is none",))
            continue
        evidence, full = [], []
        for quota in quotas:
            hard, used = _amounts(quota, "hard"), _amounts(quota, "used")
            evidence += [f"{identity(quota)[2]}: {used.get(key, '0')} of {value} {key}" for key, value in hard.items()]
            full += [key for key, value in hard.items() if used.get(key) == value]
        if full:
            remedy = f"Nothing is left of {', '.join(full)}: have the quota raised, or remove what uses it."
            command = f"kubectl --namespace={namespace} describe resourcequota"
            yield Finding(f"quota-{namespace}", title, Status.FAIL, tuple(evidence), remedy, command)
        else:
            remedy = "Compare what is left with the requests and limits of the servers in featurestore.yaml."
            yield Finding(f"quota-{namespace}", title, Status.MANUAL, tuple(evidence), remedy)


def _filled(store: Object, definition: FeatureStoreCrd) -> Json:
    # As the server does before it judges.
    return structural_schema.with_defaults(store, definition.schema)


def _namespaces(case: Case) -> list[dict[str, Json]]:
    names = sorted({identity(one)[1] for one in case.applied} - {""})
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names]


def _variables(deployment: Mapping[str, Json]) -> Mapping[str, str]:
    match deployment.get("spec"):
        case {"template": {"spec": {"containers": list(containers)}}}:
            lists = [one.get("env") for one in containers if isinstance(one, dict)]
            rows = [row for found in lists if isinstance(found, list) for row in found]
            return {str(row.get("name")): str(row.get("value")) for row in rows if isinstance(row, dict)}
    return {}


def _described(deployment: Mapping[str, Json]) -> str:
    _, namespace, name = identity(dict(deployment))
    server = _variables(deployment)[_OPERATOR_MARK]
    metadata = deployment.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    owner = labels.get("olm.owner") if isinstance(labels, dict) else None
    by = f", installed by OLM as {owner}" if owner else ""
    return f"{namespace}/{name}, by default with {server}{by}"


def _available(deployment: Mapping[str, Json]) -> bool:
    status = deployment.get("status")
    return isinstance(status, dict) and bool(status.get("availableReplicas"))


def _annotations(found: Mapping[str, Json]) -> Mapping[str, Json]:
    metadata = found.get("metadata")
    held = metadata.get("annotations") if isinstance(metadata, dict) else None
    return held if isinstance(held, dict) else {}


def _classes(value: Json) -> Iterator[str]:
    """Yield the storage class of each volume that a feature store lets be made, empty for the default one."""
    if isinstance(value, dict):
        match value.get("pvc"):
            case {"create": dict(create)}:
                yield str(create.get("storageClassName") or "")
        for child in value.values():
            yield from _classes(child)
    elif isinstance(value, list):
        for child in value:
            yield from _classes(child)


def _amounts(quota: Mapping[str, Json], key: str) -> Mapping[str, str]:
    status = quota.get("status")
    found = status.get(key) if isinstance(status, dict) else None
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}

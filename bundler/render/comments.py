"""Comments of the rendered FeatureStore: answers to a reviewer's questions, beside the keys that they are about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bundler.feast.deployment.tenant import Tenant
from bundler.feast.deployment.topology import FeatureStoreRole

_PACKAGED: Final = """\
The feature repo in the image. Without this, and without init containers, servers would start in an empty folder and end
with "Can't find feature repo configuration file"."""
_UNUSED: Final = """\
Not used, since init containers are off. Said outright, because some releases of the operator apply a demo repo where it
is left out and init containers are on."""
_MINIMAL: Final = """\
An init container of the stock feature-server image makes an empty repo here and writes the generated feature_store.yaml
into it; two variables of every server bring that file and the repo in the image together."""
_INIT_CONTAINERS: Final = {
    "baked": "Nothing is copied or generated when a pod starts: the image holds the repo and its feature_store.yaml.",
    "mounted": "Nothing is generated when a pod starts: the image holds the repo, a Secret the feature_store.yaml.",
    "operator": "An init container writes the feature_store.yaml that the operator generates from the Secrets below.",
}
_REGISTRY: Final = """\
Every server has the same image, variables and credentials: the CronJob's commands may run in any of them."""
_REMOTE: Final = "The shared Feast registry, at the name of its Service."
_CRON_JOB: Final = """\
Its pods only run `kubectl exec` into the first container of the pod, so their image has kubectl and the commands run
there. Each is a container of its own; the next is not run where one fails."""
_SUSPENDED: Final = "\nIt is suspended: each tenant registers and materializes its own features."


def of_spec(tenant: Tenant) -> Mapping[str, str]:
    """Return key of ``spec`` -> comment."""
    if tenant.capabilities.packaged:
        project_dir = _PACKAGED
    else:
        project_dir = _MINIMAL if tenant.deployment.wiring == "operator" else _UNUSED
    return {
        "feastProjectDir": project_dir,
        "authz": "Set explicitly, because the default differs between releases of the operator.",
        "cronJob": _CRON_JOB + (_SUSPENDED if tenant.role is FeatureStoreRole.SHARED_REGISTRY else ""),
    }


def of_services(tenant: Tenant) -> Mapping[str, str]:
    """Return key of ``spec.services`` -> comment."""
    return {
        "disableInitContainers": _INIT_CONTAINERS[tenant.deployment.wiring],
        "runFeastApplyOnInit": "Only the CronJob runs `feast apply`: an init container would run it once for each pod.",
        "registry": _REMOTE if tenant.role is FeatureStoreRole.REGISTRY_CLIENT else _REGISTRY,
        "securityContext": "Of the pod. The operator has no field for the security context of containers.",
    }

"""The pull secrets that OpenShift adds to every account: kept when an install applies the account with its own."""

from __future__ import annotations

from collections.abc import Sequence

from bundler.effects.kubectl import Kubectl
from bundler.errors import ForbiddenError
from bundler.kube.objects import KubeObject

_KEY = "imagePullSecrets"


def kept(kubectl: Kubectl, objects: Sequence[KubeObject]) -> tuple[KubeObject, ...]:
    """Return objects as they are to be applied: accounts with the pull secrets that OpenShift added to them.

    The server takes the list as one value: applying ours alone would be a conflict, or would remove the secret of the
    cluster's own registry. A pull secret of an earlier bundle, under another name, is not kept.
    """
    return tuple(
        _merged(kubectl, resource) if resource.kind == "ServiceAccount" and _KEY in resource.content else resource
        for resource in objects
    )


def _merged(kubectl: Kubectl, account: KubeObject) -> KubeObject:
    try:
        live = kubectl.get("serviceaccounts", account.name, account.namespace)
    except ForbiddenError:  # the right to apply an account may come without the right to read it
        return account
    wanted, present = account.items(_KEY), live.items(_KEY) if live else ()
    prefix = f"{account.name}-dockercfg-"
    added = [row for row in present if isinstance(row, dict) and str(row.get("name")).startswith(prefix)]
    if not added:
        return account
    together = [row for row in present if row in added or row in wanted]
    return account.replaced(**{_KEY: [*together, *(row for row in wanted if row not in together)]})

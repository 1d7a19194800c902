"""The pull secrets that OpenShift adds to every account: kept, though we say what else an account pulls images with."""

from __future__ import annotations

from collections.abc import Sequence

from bundler.effects.kubectl import Kubectl
from bundler.errors import ForbiddenError
from bundler.kube.kustomize import Object
from bundler.model.descriptor import Json
from bundler.steps.install.release import identity

_KEY = "imagePullSecrets"


def kept(kubectl: Kubectl, objects: Sequence[Object]) -> tuple[Object, ...]:
    """Return objects as they are to be applied: accounts with what OpenShift gave them.

    The list is one value to the server: to apply ours alone would be a conflict, or take the cluster's registry away.
    Where ours has another name than before, it still is one.
    """
    return tuple(_with_own(kubectl, one) if one["kind"] == "ServiceAccount" and _KEY in one else one for one in objects)


def _with_own(kubectl: Kubectl, account: Object) -> Object:
    _, namespace, name = identity(account)
    try:
        live = kubectl.get("serviceaccounts", name, namespace)
    except ForbiddenError:  # who may apply it may not always read it
        return account
    asked, given = _rows(account), _rows(live)
    own = [row for row in given if isinstance(row, dict) and str(row.get("name")).startswith(f"{name}-dockercfg-")]
    if not own:
        return account
    together = [row for row in given if row in own or row in asked]
    return {**account, _KEY: [*together, *(row for row in asked if row not in together)]}


def _rows(found: Object | None) -> list[Json]:
    rows = (found or {}).get(_KEY)
    return rows if isinstance(rows, list) else []

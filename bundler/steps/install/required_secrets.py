"""The Secrets that a site makes itself: whether they are there, with the keys that servers and kubelet need."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

from bundler.effects.kubectl import Kubectl
from bundler.kube.objects import KubeObject
from bundler.model.descriptor import Json
from bundler.steps.install.plan import PULL_KEY, PULL_TYPE, RequiredSecret


def lacking(kubectl: Kubectl, required: RequiredSecret) -> Iterator[str]:
    """Yield what is wrong with a Secret, a line each that shows no value."""
    secret = kubectl.get("secrets", required.name, required.namespace)
    if secret is None:
        yield f"Secret {required.place} is not there; {required.hint}"
        return
    if required.type == PULL_TYPE and secret.text("type") != PULL_TYPE:
        yield (
            f"Secret {required.place} is of the type {secret.text('type')}, so that images are not pulled with it: "
            f"delete it and make it again with the type {PULL_TYPE}"
        )
    data = secret.texts("data")
    for key in required.keys:
        if not data.get(key):
            yield f"Secret {required.place} lacks the key {key}, or it is empty"
    if required.type == PULL_TYPE and data.get(PULL_KEY) and logins(secret) is None:
        yield f"Secret {required.place}: {PULL_KEY} has no logins of registries; {required.hint}"


def logins(secret: KubeObject) -> dict[str, Json] | None:
    """Return the ``auths`` of a Secret that images are pulled with, None where it has none."""
    try:
        config = json.loads(base64.b64decode(secret.text("data", PULL_KEY), validate=True))
    except (ValueError, RecursionError):
        return None
    auths = config.get("auths") if isinstance(config, dict) else None
    return auths if isinstance(auths, dict) else None

"""The Secrets that a site made itself: whether they are there, with what the servers and the kubelet want of them."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping

from bundler.effects.kubectl import Kubectl
from bundler.model.descriptor import Json
from bundler.steps.install.plan import PULL_KEY, PULL_TYPE, SecretWanted


def lacking(kubectl: Kubectl, wanted: SecretWanted) -> Iterator[str]:
    """Yield what is amiss with a Secret, a line each that names no value."""
    found = kubectl.get("secrets", wanted.name, wanted.namespace)
    if found is None:
        yield f"Secret {wanted.namespace}/{wanted.name} is not there; {wanted.hint}"
        return
    if wanted.type == PULL_TYPE and found.get("type") != PULL_TYPE:
        yield (
            f"Secret {wanted.namespace}/{wanted.name} is of the type {found.get('type')}; no image is pulled with it: "
            f"make it anew with the type {PULL_TYPE}"
        )
    data = found.get("data")
    held = data if isinstance(data, dict) else {}
    for key in wanted.keys:
        if not held.get(key):
            yield f"Secret {wanted.namespace}/{wanted.name} lacks the key {key}, or it is empty"
    if wanted.type == PULL_TYPE and held.get(PULL_KEY) and logins(found) is None:
        yield f"Secret {wanted.namespace}/{wanted.name}: {PULL_KEY} has no logins of registries; {wanted.hint}"


def logins(secret: Mapping[str, Json]) -> dict[str, Json] | None:
    """Return the ``auths`` of a Secret that images are pulled with, None where it has none."""
    data = secret.get("data")
    text = data.get(PULL_KEY) if isinstance(data, dict) else None
    try:
        config = json.loads(base64.b64decode(str(text), validate=True))
    except (ValueError, binascii.Error):
        return None
    found = config.get("auths") if isinstance(config, dict) else None
    return found if isinstance(found, dict) else None

"""Whether a feature store answers: its online server, asked from inside its pod, so that no way to it need be open."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from bundler import resources
from bundler.effects.kubectl import Kubectl
from bundler.errors import ClusterError, ForbiddenError, UsageError
from bundler.kube.kustomize import Object
from bundler.model.descriptor import Json
from bundler.steps.install.readiness import Readiness
from bundler.steps.install.release import identity

_CONTAINER: Final = "online"
_TLS_PORT: Final = ":443"  # of the Service, where the server has TLS; else it is 80
_LOGIN: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_SERVED: Final = "PRESENT"


@dataclass(frozen=True)
class FeatureQuery:
    """A question for the online server: ``VIEW:FEATURE`` names, and the value of each join key of one entity."""

    features: tuple[str, ...]
    entity: Mapping[str, Json]

    @classmethod
    def parse(cls, features: Sequence[str], entity: Sequence[str]) -> FeatureQuery | None:
        """Read ``--feature`` and ``--entity`` arguments; None where there are none.

        Raises:
            UsageError: one of them is not of its form, or one kind is there without the other.
        """
        if not features and not entity:
            return None
        values: dict[str, Json] = {}
        for argument in entity:
            name, equals, text = argument.partition("=")
            if not name or not equals:
                raise UsageError(f"--entity {argument!r} is not JOIN_KEY=VALUE.", remedy="E.g. --entity driver_id=1001")
            values[name] = _value(text)
        if odd := [name for name in features if not all(name.partition(":")[::2])]:
            raise UsageError(
                f"--feature {odd[0]!r} is not VIEW:FEATURE.", remedy="E.g. --feature driver_hourly_stats:conv_rate"
            )
        if not features or not values:
            raise UsageError("Features are read of an entity.", remedy="Give both --feature and --entity.")
        return cls(tuple(features), values)

    def to_json(self) -> dict[str, Json]:
        """Return the body of a request to ``/get-online-features``, for one row."""
        return {"features": list(self.features), "entities": {name: [value] for name, value in self.entity.items()}}


def healthy(kubectl: Kubectl, store: Object) -> Callable[[], Readiness]:
    """Look whether the online server says that it is healthy."""
    return lambda: _asked(kubectl, store, "/health", None, ())


def answered(kubectl: Kubectl, store: Object, asked: FeatureQuery) -> Callable[[], Readiness]:
    """Look whether the online server has every feature that is asked for; no value leaves the pod.

    Until a server reads the registry again (``cache_ttl_seconds``) it knows nothing of what was just applied, so a
    refusal may pass.
    """
    return lambda: _asked(kubectl, store, "/get-online-features", asked.to_json(), asked.features)


def _asked(kubectl: Kubectl, store: Object, path: str, body: Json, features: Sequence[str]) -> Readiness:
    """Ask from inside the pod; what this person may not ask counts as reached, and says so."""
    _, namespace, name = identity(store)
    address = _address(kubectl.get("featurestores.feast.dev", name, namespace))
    if address is None:
        return Readiness(reached=True, seen="not asked: the operator names no online server")
    question = json.dumps({"url": f"{address}{path}", "body": body}).encode()
    # In the pod, because there neither NetworkPolicies nor Routes stand between.
    command = ["python3", "-I", "-c", resources.read("online_probe.py").decode()]
    try:
        text = kubectl.execute(f"deployments/feast-{name}", _CONTAINER, namespace, command, question)
    except ForbiddenError as error:
        return Readiness(reached=True, seen=f"not asked: {_last(error)}")
    except ClusterError as error:
        details = error.details
        return Readiness(reached=False, seen=_last(error), explain=lambda: details)
    return _judged(text, features)


def _judged(text: str, features: Sequence[str]) -> Readiness:
    try:
        answer = json.loads(text)
        status, statuses = answer.get("status"), dict(answer.get("statuses") or {})
    except (ValueError, AttributeError, TypeError):
        return Readiness(reached=False, seen=f"the probe said {text[:100]!r}")
    if status is None:
        return Readiness(reached=False, seen=f"no answer: {answer.get('error')}")
    if status in _LOGIN:
        return Readiness(reached=True, seen=f"not asked: the server wants a login of its own (HTTP {status})")
    if status != HTTPStatus.OK:
        return Readiness(reached=False, seen=f"HTTP {status}")
    names = [name.partition(":")[2] for name in features]
    absent = [f"{name} is {statuses.get(name, 'not in the answer')}" for name in names if statuses.get(name) != _SERVED]
    return Readiness(not absent, ", ".join(absent) or "it answers")


def _last(error: ClusterError) -> str:
    return error.details[-1][:200] if error.details else str(error)


def _address(store: Object | None) -> str | None:
    """Return the URL of the online server inside its pod; the operator says whether there is one, and with TLS."""
    match (store or {}).get("status"):
        case {"serviceHostnames": {"onlineStore": str(host)}} if host:
            with_tls = host.endswith(_TLS_PORT)
            return "https://127.0.0.1:6567" if with_tls else "http://127.0.0.1:6566"
    return None


def _value(text: str) -> Json:
    """Read a value as JSON where it is a number or a text in quotes, else as the text it is."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, (int, float, str)) else text

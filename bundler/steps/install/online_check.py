"""Whether a feature store answers: asks its online server from inside the pod, so that no network path is needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from bundler import resources
from bundler.effects.kubectl import Kubectl
from bundler.errors import ClusterError, ForbiddenError, UsageError
from bundler.kube.objects import KubeObject
from bundler.model.descriptor import Json
from bundler.steps.install.readiness import Readiness

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
            UsageError: one of them is malformed, or only one kind is given.
        """
        if not features and not entity:
            return None
        values: dict[str, Json] = {}
        for argument in entity:
            name, equals, text = argument.partition("=")
            if not name or not equals:
                raise UsageError(
                    f"--entity {argument!r} is not JOIN_KEY=VALUE.", remedy="Write e.g. --entity driver_id=1001"
                )
            values[name] = _value(text)
        if malformed := [name for name in features if not all(name.partition(":")[::2])]:
            raise UsageError(
                f"--feature {malformed[0]!r} is not VIEW:FEATURE.",
                remedy="Write e.g. --feature driver_hourly_stats:conv_rate",
            )
        if not features or not values:
            raise UsageError("Features are read for one entity.", remedy="Give both --feature and --entity.")
        return cls(tuple(features), values)

    def to_json(self) -> dict[str, Json]:
        """Return the body of a request to ``/get-online-features``, for one row."""
        return {"features": list(self.features), "entities": {name: [value] for name, value in self.entity.items()}}


def is_healthy(kubectl: Kubectl, store: KubeObject) -> Callable[[], Readiness]:
    """Look whether the online server says that it is healthy."""
    return lambda: _look(kubectl, store, "/health", None, ())


def serves_features(kubectl: Kubectl, store: KubeObject, query: FeatureQuery) -> Callable[[], Readiness]:
    """Look whether the online server has a value for every feature of a query; no value leaves the pod.

    Until a server reads the Feast registry again (``cache_ttl_seconds``) it refuses features that were just applied.
    """
    return lambda: _look(kubectl, store, "/get-online-features", query.to_json(), query.features)


def _look(kubectl: Kubectl, store: KubeObject, path: str, body: Json, features: Sequence[str]) -> Readiness:
    """Ask from inside the pod; a question that this person may not ask counts as reached, and ``seen`` says so."""
    address = _address(kubectl.get("featurestores.feast.dev", store.name, store.namespace) or KubeObject({}))
    if address is None:
        return Readiness(reached=True, seen="not asked: the status of the FeatureStore names no online server")
    request = json.dumps({"url": f"{address}{path}", "body": body}).encode()
    # Inside the pod no NetworkPolicy or Route stands between.
    command = ["python3", "-I", "-c", resources.read("online_probe.py").decode()]
    try:
        text = kubectl.execute(f"deployments/feast-{store.name}", _CONTAINER, store.namespace, command, request)
    except ForbiddenError as error:
        return Readiness(reached=True, seen=f"not asked: {_last(error)}")
    except ClusterError as error:
        details = error.details
        return Readiness(reached=False, seen=_last(error), explain=lambda: details)
    return _read_answer(text, features)


def _read_answer(text: str, features: Sequence[str]) -> Readiness:
    try:
        answer = json.loads(text)
        status, statuses = answer.get("status"), dict(answer.get("statuses") or {})
        if status is not None:
            status = int(status)
    except (ValueError, AttributeError, TypeError, OverflowError, RecursionError):
        return Readiness(reached=False, seen=f"the probe printed {text[:100]!r}")
    if status is None:
        return Readiness(reached=False, seen=f"no answer: {answer.get('error')}")
    if status in _LOGIN:
        return Readiness(reached=True, seen=f"not asked: the server requires a login (HTTP {status})")
    if status != HTTPStatus.OK:
        return Readiness(reached=False, seen=f"HTTP {status}")
    names = [name.partition(":")[2] for name in features]
    absent = [f"{name} is {statuses.get(name, 'not in the answer')}" for name in names if statuses.get(name) != _SERVED]
    return Readiness(not absent, ", ".join(absent) or "it answers")


def _last(error: ClusterError) -> str:
    return error.details[-1][:200] if error.details else str(error)


def _address(store: KubeObject) -> str | None:
    """Return the URL of the online server inside its pod; the operator says whether there is one, and with TLS."""
    host = store.text("status", "serviceHostnames", "onlineStore")
    if not host:
        return None
    return "https://127.0.0.1:6567" if host.endswith(_TLS_PORT) else "http://127.0.0.1:6566"


def _value(text: str) -> Json:
    """Read a value as JSON where it is a number or a text in quotes, else as the text it is."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, (int, float, str)) else text

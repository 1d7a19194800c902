"""Whether a feature store answers: its online server, asked through the API server, so no other way need be open."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bundler.effects.kubectl import Kubectl
from bundler.errors import ClusterError, ForbiddenError, UnreachableError, UsageError
from bundler.model.descriptor import Json
from bundler.render.kustomized import Object
from bundler.steps.install_subject import identity
from bundler.steps.readiness import State

_HOST: Final = re.compile(r"(?P<service>[a-z0-9-]+)\.[a-z0-9-]+\.svc[a-z0-9.-]*:(?P<port>[0-9]+)")
_TLS_PORT: Final = "443"  # the operator's, where the server has TLS; else it is 80
_SERVED: Final = "PRESENT"


@dataclass(frozen=True)
class Read:
    """A question for the online server: ``VIEW:FEATURE`` names, and the value of each join key of one entity."""

    features: tuple[str, ...]
    entity: Mapping[str, Json]

    @classmethod
    def parse(cls, features: Sequence[str], entity: Sequence[str]) -> Read | None:
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


def healthy(kubectl: Kubectl, store: Object) -> Callable[[], State]:
    """Look whether the online server says that it is healthy."""

    def look() -> State:
        return _through(kubectl, store, lambda path: kubectl.read(f"{path}/health"), lambda _: "")

    return look


def answered(kubectl: Kubectl, store: Object, asked: Read) -> Callable[[], State]:
    """Look whether the online server has every feature that is asked for; no value is kept or shown.

    Until a server reads the registry again (``cache_ttl_seconds``) it knows nothing of what was just applied, so a
    refusal may pass.
    """

    def look() -> State:
        body = asked.to_json()
        return _through(
            kubectl,
            store,
            lambda path: kubectl.post(f"{path}/get-online-features", body),
            lambda text: _lacking(text, asked),
        )

    return look


def _through(kubectl: Kubectl, store: Object, ask: Callable[[str], str], lacks: Callable[[str], str]) -> State:
    """Ask by the Service that the operator names; what this person may not ask counts as reached, and says so."""
    _, namespace, name = identity(store)
    path = _path(kubectl.get("featurestores.feast.dev", name, namespace), namespace)
    if path is None:
        return State(reached=True, seen="not asked: the operator names no online server")
    try:
        lacking = lacks(ask(path))
    except (ForbiddenError, UnreachableError) as error:
        # Through the API server a 401 of the feature server looks like one of its own.
        said = error.details[-1] if error.details else str(error)
        return State(reached=True, seen=f"not asked: {said}")
    except ClusterError as error:
        details = error.details or (str(error),)
        return State(reached=False, seen=details[-1][:200], explain=lambda: details)
    return State(not lacking, lacking or "it answers")


def _path(store: Object | None, namespace: str) -> str | None:
    """Return where the API server leads on to the online server, as the operator's status names it."""
    match (store or {}).get("status"):
        case {"serviceHostnames": {"onlineStore": str(host)}}:
            if found := _HOST.fullmatch(host):
                scheme = "https:" if found["port"] == _TLS_PORT else ""
                service = f"{scheme}{found['service']}:{found['port']}"
                return f"/api/v1/namespaces/{namespace}/services/{service}/proxy"
    return None


def _lacking(text: str, asked: Read) -> str:
    """Return what an answer of the online server lacks, nothing where every feature is there."""
    try:
        answer = json.loads(text)
        rows = zip(answer["metadata"]["feature_names"], answer["results"], strict=True)
        statuses = {name: result["statuses"][0] for name, result in rows}
    except (ValueError, KeyError, TypeError, IndexError):
        return "the answer is not that of an online server"
    names = [name.partition(":")[2] for name in asked.features]
    absent = [f"{name} is {statuses.get(name, 'not in the answer')}" for name in names if statuses.get(name) != _SERVED]
    return ", ".join(absent)


def _value(text: str) -> Json:
    """Read a value as JSON where it is a number or a text in quotes, else as the text it is."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, (int, float, str)) else text

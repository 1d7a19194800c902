"""A cluster in memory in the place of kubectl, with just enough of an operator; no API server, and no scheduler.

It keeps objects, counts their versions as server-side apply does, and, told to, answers a FeatureStore as the operator
and the Job controller would. It validates nothing: that is for tests with a real API server.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bundler.effects.kubectl import Kubectl
from bundler.errors import ClusterError
from bundler.kube.objects import KubeObject
from bundler.model.descriptor import Json

Object = dict[str, Any]


class FakeCluster(Kubectl):
    """Objects by kind, namespace and name; ``applied`` are the kinds of each call, in order."""

    def __init__(self) -> None:
        super().__init__("kubectl")
        self.__dict__.update(
            objects={},
            applied=[],
            versions=itertools.count(1),
            served={"feast.dev/v1"},
            refused=set(),
            server_version="v1.32.1",
            answers={},
            executed=[],
            operates=True,
            job_condition="Complete",
            logs_of={},
            before_apply=lambda _: None,
        )

    objects: dict[tuple[str, str, str], Object]
    applied: list[list[str]]
    versions: itertools.count[int]
    served: set[str]
    refused: set[tuple[str, str]]
    server_version: str
    answers: dict[str, str | ClusterError]
    executed: list[tuple[str, Any]]
    operates: bool
    job_condition: str
    logs_of: dict[str, tuple[str, ...]]
    before_apply: Callable[[list[str]], None]

    def set(self, **settings: object) -> FakeCluster:
        """Change how it behaves."""
        self.__dict__.update(settings)
        return self

    def put(self, found: Object) -> Object:
        """Keep an object, with a new version where it differs from what is there."""
        key = identity(found)
        old = self.objects.get(key, {})
        new = merged(old, found)
        if new != old:
            new["metadata"]["resourceVersion"] = str(next(self.versions))
            self.objects[key] = new
        return copy.deepcopy(self.objects[key])

    def get(self, kind: str, name: str, namespace: str | None = None) -> KubeObject | None:
        wanted = (kind.partition(".")[0], namespace or "", name)
        for (have, where, called), found in self.objects.items():
            if (plural(have), where, called) == wanted:
                return KubeObject(copy.deepcopy(found))
        return None

    def listed(self, kind: str, namespace: str | None, selector: str = "") -> tuple[KubeObject, ...]:
        wanted = dict(part.split("=", 1) for part in selector.split(",") if part)
        return tuple(
            KubeObject(copy.deepcopy(found))
            for (have, where, _), found in self.objects.items()
            if plural(have) == kind.partition(".")[0]
            and namespace in (None, where)
            and wanted.items() <= found["metadata"].get("labels", {}).items()
        )

    def version(self) -> str:
        return self.server_version

    def resources(self, version: str) -> Mapping[str, str]:
        if version == "feast.dev/v1":
            return {"FeatureStore": "featurestores"} if version in self.served else {}
        return {kind: plural(kind) for kind in _KINDS}

    def reviewed(self, reviews: Sequence[Mapping[str, Json]]) -> tuple[bool, ...]:
        return tuple((str(one["verb"]), str(one["resource"])) not in self.refused for one in reviews)

    def execute(self, pod: str, container: str, namespace: str, command: Sequence[str], stdin: bytes) -> str:
        assert command[0] == "python3"
        question = json.loads(stdin)
        self.executed.append((f"{namespace}/{pod}/{container}", question))
        found = self.answers.get(question["url"].rpartition("/")[2], '{"status": 200}')
        if isinstance(found, ClusterError):
            raise found
        return found

    def existing(self, objects: Sequence[KubeObject]) -> tuple[KubeObject, ...]:
        keys = [one.identity[1:] for one in objects]
        return tuple(KubeObject(copy.deepcopy(self.objects[key])) for key in keys if key in self.objects)

    def apply(
        self,
        objects: Sequence[KubeObject],
        *,
        dry_run: bool = False,
        force: bool = False,  # noqa: ARG002  (nobody else manages anything)
    ) -> tuple[KubeObject, ...]:
        kinds = [one.kind for one in objects]
        self.before_apply(kinds)
        if dry_run:
            return tuple(KubeObject(merged(self.objects.get(one.identity[1:], {}), one.content)) for one in objects)
        self.applied.append(kinds)
        done = []
        for one in objects:
            key = one.identity[1:]
            if key[1] and ("Namespace", "", key[1]) not in self.objects:
                raise ClusterError("refused", details=(f'namespaces "{key[1]}" not found',))
            done.append(self.put(copy.deepcopy(one.to_json())))
            self._control(done[-1])
        return tuple(map(KubeObject, done))

    def delete(self, objects: Sequence[KubeObject], *, timeout: float) -> tuple[str, ...]:  # noqa: ARG002
        keys = [one.identity[1:] for one in objects]
        gone = tuple("/".join(key) for key in keys if self.objects.pop(key, None))
        for key, found in tuple(self.objects.items()):  # the garbage collector's part
            owners = {(row["kind"], key[1], row["name"]) for row in found["metadata"].get("ownerReferences", ())}
            if owners.intersection(keys):
                del self.objects[key]
        return gone

    def disown(self, kind: str, name: str, namespace: str) -> bool:
        for (have, where, called), found in self.objects.items():
            if (plural(have), where, called) == (kind, namespace, name):
                found["metadata"].pop("ownerReferences", None)
                return True
        return False

    def logs(self, pod: str, container: str, namespace: str, *, previous: bool) -> tuple[str, ...]:  # noqa: ARG002
        return self.logs_of.get(container, ())

    def _control(self, found: Object) -> None:
        """Do what a controller of the cluster does about an object."""
        metadata = found["metadata"]
        if found["kind"] == "CustomResourceDefinition":
            self.put({**found, "status": {"conditions": [{"type": "Established", "status": "True"}]}})
        elif found["kind"] == "Deployment":
            self.put({**found, "status": available()})
        elif found["kind"] == "FeatureStore" and self.operates:
            self.operate(found)
        elif found["kind"] == "Job":
            status = {"conditions": [{"type": self.job_condition, "status": "True", "message": "of the controller"}]}
            self.put({**found, "status": status})
            state = {"terminated": {"exitCode": 1, "reason": "Error"}}
            pod_status = {"containerStatuses": [{"name": "apply", "state": state}]}
            labels = {"job-name": metadata["name"]}
            self.put(named("v1", "Pod", "job-pod", metadata["namespace"], {"status": pod_status}, labels=labels))

    def operate(self, found: Object, *, phase: str = "Ready", **status: object) -> None:
        """Answer a FeatureStore as the operator does: a Deployment of its image, a CronJob, a phase."""
        name, namespace = found["metadata"]["name"], found["metadata"]["namespace"]
        image = found["spec"]["services"]["onlineStore"]["server"]["image"]
        template = {"spec": {"containers": [{"name": "online", "image": image}]}}
        spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
        rolled = available() | status
        self.put(named("apps/v1", "Deployment", f"feast-{name}", namespace, {"spec": spec, "status": rolled}))
        job = {"jobTemplate": {"metadata": {"labels": {"of": name}}, "spec": {"backoffLimit": 2}}}
        self.put(named("batch/v1", "CronJob", f"feast-{name}", namespace, {"spec": job}))
        conditions = [{"type": "FeatureStore", "status": "Unknown", "message": "Deployment is not available"}]
        self.put({**found, "status": {"phase": phase, "conditions": conditions}})


_KINDS = ("Namespace", "ServiceAccount", "Secret", "Ingress", "ConfigMap", "Deployment", "CustomResourceDefinition")


def plural(kind: str) -> str:
    """Return the resource of a kind."""
    return f"{kind.lower()}es" if kind.endswith("s") else f"{kind.lower()}s"


def available() -> Object:
    return {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}


def named(
    version: str, kind: str, name: str, namespace: str, rest: Object, *, labels: Mapping[str, str] | None = None
) -> Object:
    metadata = {"name": name, "namespace": namespace, "labels": dict(labels or {}), "generation": 1}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def identity(found: Object) -> tuple[str, str, str]:
    return str(found["kind"]), str(found["metadata"].get("namespace") or ""), str(found["metadata"]["name"])


def merged(old: Any, new: Any) -> Any:
    """Return what applying ``new`` over ``old`` leaves: mappings by key, all else replaced."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: merged(old.get(key), value) for key, value in new.items()}}
    return copy.deepcopy(new)

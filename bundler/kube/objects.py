"""A typed view of a Kubernetes object: its identity, and readers that accept an object of any shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from bundler.model.descriptor import Json


class Identity(NamedTuple):
    """What tells one object of a cluster from every other; ``group`` and ``namespace`` may be empty.

    The version is not part of it: two versions of a kind show the same object.
    """

    group: str
    kind: str
    namespace: str
    name: str

    @property
    def place(self) -> str:
        """``NAMESPACE/NAME``, or the name alone where the object has no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def __str__(self) -> str:
        return f"{self.kind}/{self.place}"


@dataclass(frozen=True)
class Condition:
    """A row of ``status.conditions``; every field is empty where the row does not have it."""

    type: str
    status: str
    reason: str
    message: str

    @property
    def is_true(self) -> bool:
        """Whether the condition holds."""
        return self.status == "True"

    def __str__(self) -> str:
        return f"{self.type} is {self.status}: {self.message or self.reason}"


@dataclass(frozen=True)
class KubeObject:
    """A view of the parsed mapping ``content``, which nobody changes.

    A cluster or a file may hold anything: what is absent or of another type reads as empty, never as an error.
    """

    content: Mapping[str, Json]

    @classmethod
    def named(cls, api_version: str, kind: str, namespace: str, name: str) -> KubeObject:
        """Return an object with an identity and nothing else."""
        metadata: dict[str, Json] = {"name": name, **({"namespace": namespace} if namespace else {})}
        return cls({"apiVersion": api_version, "kind": kind, "metadata": metadata})

    @property
    def api_version(self) -> str:
        """``GROUP/VERSION``, or the version alone of the core group."""
        return self.text("apiVersion")

    @property
    def group(self) -> str:
        """The API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def kind(self) -> str:
        """The kind."""
        return self.text("kind")

    @property
    def name(self) -> str:
        """The name."""
        return self.text("metadata", "name")

    @property
    def namespace(self) -> str:
        """The namespace, empty for an object that has none."""
        return self.text("metadata", "namespace")

    @property
    def identity(self) -> Identity:
        """What tells the object from every other."""
        return Identity(self.group, self.kind, self.namespace, self.name)

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels."""
        return self.texts("metadata", "labels")

    @property
    def annotations(self) -> Mapping[str, str]:
        """The annotations."""
        return self.texts("metadata", "annotations")

    @property
    def conditions(self) -> Mapping[str, Condition]:
        """The rows of ``status.conditions`` by type."""
        fields = ("type", "status", "reason", "message")
        conditions = [Condition(*(row.text(key) for key in fields)) for row in self.rows("status", "conditions")]
        return {condition.type: condition for condition in conditions}

    def get(self, *path: str) -> Json:
        """Return the value at a path of keys, None where there is none."""
        if not path:
            return dict(self.content)
        value = self.content.get(path[0])
        for key in path[1:]:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def text(self, *path: str) -> str:
        """Return a scalar as text; empty where there is none."""
        return _text(self.get(*path))

    def number(self, *path: str, default: int = 0) -> int:
        """Return an integer, or the default."""
        value = self.get(*path)
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    def mapping(self, *path: str) -> Mapping[str, Json]:
        """Return a mapping, empty where there is none."""
        value = self.get(*path)
        return value if isinstance(value, dict) else {}

    def texts(self, *path: str) -> Mapping[str, str]:
        """Return a mapping of texts, e.g. the data of a ConfigMap."""
        return {key: _text(value) for key, value in self.mapping(*path).items()}

    def items(self, *path: str) -> tuple[Json, ...]:
        """Return the items of a list; empty where there is no list."""
        value = self.get(*path)
        return tuple(value) if isinstance(value, list) else ()

    def rows(self, *path: str) -> tuple[KubeObject, ...]:
        """Return a view of each item of a list that is a mapping."""
        return tuple(KubeObject(item) for item in self.items(*path) if isinstance(item, dict))

    def inner(self, *path: str) -> KubeObject:
        """Return a view of a part, e.g. of the template of a Deployment."""
        return KubeObject(self.mapping(*path))

    def replaced(self, **values: Json) -> KubeObject:
        """Return the object with other values at the top."""
        return KubeObject({**self.content, **values})

    def without(self, *keys: str) -> KubeObject:
        """Return the object without keys at the top."""
        return KubeObject({key: value for key, value in self.content.items() if key not in keys})

    def to_json(self) -> dict[str, Json]:
        """Return the mapping, as it is sent or written."""
        return dict(self.content)


def mappings(value: Json) -> Iterator[KubeObject]:
    """Yield a view of every mapping inside a value, itself included, outermost first."""
    if isinstance(value, dict):
        yield KubeObject(value)
        for child in value.values():
            yield from mappings(child)
    elif isinstance(value, list):
        for child in value:
            yield from mappings(child)


def _text(value: Json) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (str, int, float)) else ""

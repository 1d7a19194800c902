"""A file of Kubernetes manifests that goes from step to step as text and objects, so that nobody parses it again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from bundler.kube import yaml_values
from bundler.kube.objects import KubeObject
from bundler.model.descriptor import Json


@dataclass(frozen=True)
class ManifestFile:
    """A file: its path below ``manifests/``, and its text, which is parsed when it is first asked for."""

    path: str
    text: str

    @cached_property
    def documents(self) -> tuple[Json, ...]:
        """Every document but the empty ones; raises ``SpecError`` naming the path where the text is not YAML."""
        return yaml_values.read(self.text, self.path)

    @property
    def objects(self) -> Iterator[KubeObject]:
        """The documents that are mappings, each as a view of a Kubernetes object."""
        return (KubeObject(document) for document in self.documents if isinstance(document, dict))

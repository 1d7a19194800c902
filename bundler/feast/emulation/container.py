"""A container of a pod as Kubernetes declares it, read from the settings of a FeatureStore."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bundler.feast.emulation.kubelet import Variable, VariableSource
from bundler.model.descriptor import Json
from bundler.model.json_document import rows


@dataclass(frozen=True)
class Mount:
    """Where a volume, or one path of it, appears in a container."""

    volume: str
    path: str
    read_only: bool = False
    sub_path: str = ""


@dataclass(frozen=True)
class Probe:
    """How the kubelet asks whether a server serves: by HTTP at a path, or (None) by opening the port.

    The operator gives every server ``period * failures`` seconds to start.
    """

    port: int
    path: str | None = None
    tls: bool = False
    period: int = 3
    failures: int = 40

    @property
    def time_limit(self) -> int:
        """Seconds that a server has until it must serve."""
        return self.period * self.failures


@dataclass(frozen=True)
class Container:
    """A container; ``ports`` is name -> number."""

    name: str
    image: str
    command: tuple[str, ...]
    working_folder: str
    arguments: tuple[str, ...] = ()
    variables: tuple[Variable, ...] = ()
    sources: tuple[VariableSource, ...] = ()
    mounts: tuple[Mount, ...] = ()
    ports: Mapping[str, int] = field(default_factory=dict)
    probe: Probe | None = None
    pull_policy: str = ""


def variables_of(settings: Mapping[str, Json]) -> tuple[Variable, ...]:
    """Return the entries of ``env``."""
    variables = []
    for row in rows(settings.get("env")):
        value, source = row.get("value"), row.get("valueFrom")
        text = value if isinstance(value, str) else ""
        variables.append(Variable(str(row.get("name")), text, source if isinstance(source, dict) else {}))
    return tuple(variables)


def sources_of(settings: Mapping[str, Json]) -> tuple[VariableSource, ...]:
    """Return the entries of ``envFrom``."""
    sources = []
    for row in rows(settings.get("envFrom")):
        for key, kind in (("secretRef", "secret"), ("configMapRef", "configMap")):
            reference = row.get(key)
            if isinstance(reference, dict):
                optional = reference.get("optional") is True
                sources.append(VariableSource(kind, str(reference.get("name")), str(row.get("prefix", "")), optional))
    return tuple(sources)


def mounts_of(settings: Mapping[str, Json]) -> tuple[Mount, ...]:
    """Return the entries of ``volumeMounts``."""
    return tuple(
        Mount(str(row.get("name")), str(row.get("mountPath")), row.get("readOnly") is True, str(row.get("subPath", "")))
        for row in rows(settings.get("volumeMounts"))
    )


def overridden(first: tuple[Variable, ...], second: tuple[Variable, ...]) -> tuple[Variable, ...]:
    """Return variables with later ones in the place of earlier ones of the same name, or behind all."""
    merged = {variable.name: variable for variable in first}
    merged |= {variable.name: variable for variable in second}
    return tuple(merged.values())

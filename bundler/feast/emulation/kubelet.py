"""What the kubelet makes of a container: its variables in their final form, its command, the files of its volumes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bundler.errors import SpecError
from bundler.model.descriptor import Json

_REFERENCE: Final = re.compile(r"\$(?:\$|\(([^)]*)\))")
_VARIABLE: Final = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")

Texts = Mapping[str, str]
"""Key -> text of one Secret or ConfigMap."""


@dataclass(frozen=True)
class ClusterObjects:
    """What a namespace holds for its pods: name -> key -> text."""

    secrets: Mapping[str, Texts] = field(default_factory=dict)
    config_maps: Mapping[str, Texts] = field(default_factory=dict)

    def find(self, kind: str, name: str, *, optional: bool = False) -> Texts:
        """Return an object's texts; raise ``SpecError`` where it is missing, nothing where it may be."""
        texts = (self.secrets if kind == "secret" else self.config_maps).get(name)
        if texts is None and not optional:
            raise SpecError(
                f'{kind.lower()} "{name}" not found: the pod would wait with CreateContainerConfigError.',
                remedy=f"Add the {kind} to the manifests, or correct its name.",
            )
        return texts or {}


@dataclass(frozen=True)
class Variable:
    """An entry of ``env``: a text with ``$(NAME)`` references, or (``source``) a ``valueFrom``."""

    name: str
    value: str = ""
    source: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class VariableSource:
    """An entry of ``envFrom``; ``kind`` is ``secret`` or ``configMap``."""

    kind: str
    name: str
    prefix: str = ""
    optional: bool = False


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by values and ``$$`` by ``$``; a reference to an unknown name stays as it is."""

    def replacement(match: re.Match[str]) -> str:
        name = match[1]
        return "$" if name is None else values.get(name, match[0])

    return _REFERENCE.sub(replacement, text)


def environment(
    sources: tuple[VariableSource, ...], variables: tuple[Variable, ...], objects: ClusterObjects, fields: Texts
) -> dict[str, str]:
    """Return the variables of a container: ``envFrom`` in order, then ``env`` in order, each seeing what came before.

    ``fields`` is what ``fieldRef`` may ask of the pod, e.g. ``metadata.name``.

    Raises:
        SpecError: a Secret, ConfigMap or key is missing, or a field is asked for that ``fields`` lacks.
    """
    values: dict[str, str] = {}
    for source in sources:
        for key, text in objects.find(source.kind, source.name, optional=source.optional).items():
            if _VARIABLE.fullmatch(source.prefix + key):  # other keys are skipped, with an event
                values[source.prefix + key] = text
    for variable in variables:
        if not variable.source:
            values[variable.name] = expand(variable.value, values)
        else:
            value = _from(variable, objects, fields)
            values |= {} if value is None else {variable.name: value}
    return values


def _from(variable: Variable, objects: ClusterObjects, fields: Texts) -> str | None:
    for key, kind in (("secretKeyRef", "secret"), ("configMapKeyRef", "configMap")):
        reference = variable.source.get(key)
        if isinstance(reference, dict):
            optional = reference.get("optional") is True
            texts = objects.find(kind, str(reference.get("name")), optional=optional)
            wanted = str(reference.get("key"))
            if wanted not in texts and not optional:
                raise SpecError(
                    f"couldn't find key {wanted} in {kind} {reference.get('name')}.",
                    remedy=f"Add the key to the {kind}, or correct its name.",
                )
            return texts.get(wanted)
    match variable.source:
        case {"fieldRef": {"fieldPath": str(path)}} if path in fields:
            return fields[path]
    raise SpecError(
        f"The variable {variable.name} comes from {variable.source!r:.200}, which only a cluster knows.",
        remedy="The rehearsal knows Secrets, ConfigMaps and a few fields of the pod: try this pod on a cluster.",
    )


def volume_files(source: Mapping[str, Json], objects: ClusterObjects) -> Mapping[str, str] | None:
    """Return path -> text of a volume's files: none for an empty one, None for a kind that only a cluster has.

    A claim counts as empty: its first pod finds it so.

    Raises:
        SpecError: a Secret, ConfigMap or key is missing.
    """
    for kind, key in (("secret", "secretName"), ("configMap", "name")):
        reference = source.get(kind)
        if isinstance(reference, dict):
            name, optional = str(reference.get(key)), reference.get("optional") is True
            return _chosen(objects.find(kind, name, optional=optional), reference.get("items"), name)
    return {} if {"emptyDir", "persistentVolumeClaim", "ephemeral"} & source.keys() else None


def _chosen(texts: Texts, items: Json, name: str) -> Mapping[str, str]:
    if not isinstance(items, list):
        return texts
    chosen: dict[str, str] = {}
    for item in items:
        match item:
            case {"key": str(key), "path": str(path)} if key in texts:
                chosen[path] = texts[key]
            case _:
                raise SpecError(
                    f"{name} has no key for {item!r:.200}: the pod would not start.",
                    remedy="Add the key, or correct its name.",
                )
    return chosen

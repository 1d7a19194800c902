"""The FeatureStore CRD of an operator release: found in its install manifest, and asked what fields it has.

Part of the offline half: a cluster's own CRD is read with this too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from bundler.errors import SpecError
from bundler.kube import yaml_values
from bundler.model.descriptor import Json
from bundler.model.json_document import mapping, rows

NAME: Final = "featurestores.feast.dev"
# The only version worth emitting: there is no conversion webhook, and v1alpha1 lacks most fields.
VERSION: Final = "v1"
API_VERSION: Final = f"feast.dev/{VERSION}"


@dataclass(frozen=True)
class FeatureStoreCrd:
    """The structural schema of the CRD's served v1, and the file that it came from."""

    schema: Mapping[str, Json]
    file: str

    def field(self, path: str) -> Mapping[str, Json] | None:
        """Return the schema at a dotted path below ``spec``, through arrays; None where the CRD has no such field."""
        node: Mapping[str, Json] = mapping(mapping(self.schema.get("properties")).get("spec"))
        for name in path.split("."):
            while node.get("type") == "array":
                node = mapping(node.get("items"))
            child = mapping(node.get("properties")).get(name)
            if not isinstance(child, dict):
                return None
            node = child
        return node

    def has(self, path: str) -> bool:
        """Tell whether ``spec`` has the field at this dotted path."""
        return self.field(path) is not None

    def enum(self, path: str) -> frozenset[str]:
        """Return the values that the field at this path allows; none where it is free or absent."""
        values = (self.field(path) or {}).get("enum")
        return frozenset(str(value) for value in values) if isinstance(values, list) else frozenset()


def load(text: str, file: str) -> FeatureStoreCrd:
    """Find the FeatureStore CRD in a text, as ``find`` does; raise ``SpecError`` also where it is not YAML."""
    return find(yaml_values.read(text, file, remedy="Give the operator release's install.yaml."), file)


def find(documents: Iterable[Json], file: str) -> FeatureStoreCrd:
    """Find the FeatureStore CRD in an install manifest, a CRD file, or a list that ``kubectl get`` printed.

    Raises:
        SpecError: there is no such CRD, or it does not serve v1.
    """
    for document in documents:
        if (definition := of(document, file)) is not None:
            return definition
    raise SpecError(
        f"{file}: holds no CustomResourceDefinition {NAME}.",
        remedy=f"Give the operator release's install.yaml, or the output of `kubectl get crd {NAME} -o yaml`.",
    )


def of(document: Json, file: str) -> FeatureStoreCrd | None:
    """Return the FeatureStore CRD that a document is, or that is in a list of objects; None where there is none.

    Raises:
        SpecError: it does not serve v1.
    """
    crd = _feature_store_crd(document)
    return None if crd is None else FeatureStoreCrd(_served_schema(crd, file), file)


def _feature_store_crd(document: Json) -> dict[str, Json] | None:
    value = mapping(document)
    items = value.get("items")
    if str(value.get("kind")).endswith("List") and isinstance(items, list):
        return next((definition for definition in map(_feature_store_crd, items) if definition is not None), None)
    name = mapping(value.get("metadata")).get("name")
    return value if (value.get("kind"), name) == ("CustomResourceDefinition", NAME) else None


def _served_schema(crd: dict[str, Json], file: str) -> dict[str, Json]:
    for version in rows(mapping(crd.get("spec")).get("versions")):
        schema = mapping(version.get("schema")).get("openAPIV3Schema")
        if version.get("name") == VERSION and version.get("served") is True and isinstance(schema, dict):
            return schema
    raise SpecError(
        f"{file}: the CRD {NAME} does not serve version {VERSION}.",
        remedy="Use a release of the operator that does (0.59 and newer).",
    )

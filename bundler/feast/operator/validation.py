"""Whether an API server with a given CRD would accept a FeatureStore, and why not."""

from __future__ import annotations

from bundler.feast.operator import crd
from bundler.kube import cel_rules as cel
from bundler.kube import structural_schema
from bundler.kube.structural_schema import SchemaProblem
from bundler.model.descriptor import Json


def problems(resource: Json, definition: crd.FeatureStoreCrd, *, old: Json = None) -> tuple[SchemaProblem, ...]:
    """Return why the resource would be refused on create, or on update of ``old``; empty where it is accepted.

    Checked as by an API server with ``fieldValidation=Strict``: kind, unknown fields, types and values of the
    structural schema; then, where those hold, every CEL rule on the defaulted resource.
    """
    kind = _kind_problems(resource)
    if kind:
        return kind
    defaulted = structural_schema.with_defaults(resource, definition.schema)
    of_schema = structural_schema.problems(defaulted, definition.schema)
    if of_schema:
        return of_schema  # rules over values of another type would only repeat the first complaint, worse
    before = None if old is None else structural_schema.with_defaults(old, definition.schema)
    return cel.problems(defaulted, definition.schema, old=before)


def _kind_problems(resource: Json) -> tuple[SchemaProblem, ...]:
    value = resource if isinstance(resource, dict) else {}
    expected = {"apiVersion": crd.API_VERSION, "kind": "FeatureStore"}
    return tuple(
        SchemaProblem(key, f"expected {text!r}, found {value.get(key)!r}")
        for key, text in expected.items()
        if value.get(key) != text
    )

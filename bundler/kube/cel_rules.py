"""The CEL rules of a CRD (``x-kubernetes-validations``), evaluated over a resource that its schema accepts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cel

from bundler.errors import SpecError
from bundler.kube.structural_schema import Schema, SchemaProblem
from bundler.model.descriptor import Json
from bundler.model.json_document import rows

_OLD_SELF: Final = re.compile(r"\boldSelf\b")
_REPORT: Final = "Please report this, with the version of the operator."


@dataclass(frozen=True)
class _Rule:
    text: str
    message: str
    message_expression: str
    field_path: str


def problems(resource: Json, schema: Schema, *, old: Json = None) -> tuple[SchemaProblem, ...]:
    """Return every rule that the defaulted resource breaks, at every depth.

    A transition rule (one that names ``oldSelf``) is checked only where ``old`` has a value at the same place, as the
    API server does. A rule that cannot be evaluated, because it reads an absent field, counts as broken.
    """
    return tuple(_problems(resource, old, schema, ""))


def _problems(value: Json, old: Json, schema: Schema, path: str) -> Iterator[SchemaProblem]:
    if value is None:
        return
    for rule in _rules(schema):
        problem = _broken(rule, value, old, path)
        if problem:
            yield problem
    if isinstance(value, dict):
        for name, inner in value.items():
            before = old.get(name) if isinstance(old, dict) else None
            yield from _problems(inner, before, _below(schema, name), f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        items = schema.get("items")
        # Items of an atomic list have no identity over time, so transition rules below it do not apply.
        for position, inner in enumerate(value):
            yield from _problems(inner, None, items if isinstance(items, dict) else {}, f"{path}[{position}]")


def _below(schema: Schema, name: str) -> Schema:
    properties = schema.get("properties")
    declared = properties.get(name) if isinstance(properties, dict) else None
    below = declared if declared is not None else schema.get("additionalProperties")
    return below if isinstance(below, dict) else {}


def _rules(schema: Schema) -> list[_Rule]:
    return [
        _Rule(
            str(rule["rule"]),
            str(rule.get("message", "")),
            str(rule.get("messageExpression", "")),
            str(rule.get("fieldPath", "")),
        )
        for rule in rows(schema.get("x-kubernetes-validations"))
        if "rule" in rule
    ]


def _broken(rule: _Rule, value: Json, old: Json, path: str) -> SchemaProblem | None:
    transition = _OLD_SELF.search(rule.text) is not None
    if transition and old is None:
        return None
    variables = {"self": value, **({"oldSelf": old} if transition else {})}
    try:
        if _program(rule.text).execute(variables) is True:
            return None
    except (KeyError, RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        if "Undefined variable or function" in str(error):
            raise SpecError(
                f"{path}: the CRD's rule {rule.text!r} uses a CEL function that cannot be evaluated here: {error}.",
                remedy=_REPORT,
            ) from error
        return SchemaProblem(path, f"{_message(rule, variables)} (the rule reads the absent field {error})")
    return SchemaProblem(path + rule.field_path, _message(rule, variables))


def _message(rule: _Rule, variables: dict[str, Json]) -> str:
    if rule.message_expression:
        try:
            computed = _program(rule.message_expression).execute(variables)
        except (KeyError, RuntimeError, TypeError, ValueError, ArithmeticError):
            computed = None  # as in Kubernetes: the fixed message stands in
        if isinstance(computed, str) and computed.strip():
            return computed
    return rule.message or f"failed rule: {rule.text}"


@lru_cache(maxsize=256)
def _program(text: str) -> cel.Program:
    try:
        return cel.compile(text)
    except ValueError as error:
        raise SpecError(f"The CRD's rule {text!r} cannot be evaluated as CEL here: {error}.", remedy=_REPORT) from error

"""Whether the Permissions of a feature repo cover what it defines, read from its Python without running it."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bundler.model.findings import Finding, Status

_CHECK: Final = "feature-repo.permissions"
_TITLE: Final = "Permissions cover what the feature repo defines"
# Constructors and decorators of Feast -> the resource type that a Permission names. Data sources are one type.
_RESOURCES: Final[Mapping[str, str]] = {
    "Entity": "Entity",
    "FeatureView": "FeatureView",
    "OnDemandFeatureView": "OnDemandFeatureView",
    "on_demand_feature_view": "OnDemandFeatureView",
    "BatchFeatureView": "BatchFeatureView",
    "batch_feature_view": "BatchFeatureView",
    "StreamFeatureView": "StreamFeatureView",
    "stream_feature_view": "StreamFeatureView",
    "FeatureService": "FeatureService",
    "SavedDataset": "SavedDataset",
    "FileSource": "DataSource",
    "PushSource": "DataSource",
    "RequestSource": "DataSource",
    "KafkaSource": "DataSource",
    "KinesisSource": "DataSource",
    "BigQuerySource": "DataSource",
    "RedshiftSource": "DataSource",
    "SnowflakeSource": "DataSource",
    "SparkSource": "DataSource",
    "PostgreSQLSource": "DataSource",
    "TrinoSource": "DataSource",
}
_EVERYTHING: Final = frozenset({*_RESOURCES.values(), "Project", "Permission", "ValidationReference"})
_POLICY_POSITION: Final = 4  # among the arguments of Permission
_ALL_NAMES: Final = frozenset({"ALL_RESOURCE_TYPES", "FeastObject"})
_PARENTS: Final[Mapping[str, frozenset[str]]] = {
    # Feast compares by isinstance: a permission for the class covers its subclasses.
    "FeatureView": frozenset({"BatchFeatureView", "StreamFeatureView"}),
    "ALL_FEATURE_VIEW_TYPES": frozenset(
        {"FeatureView", "BatchFeatureView", "StreamFeatureView", "OnDemandFeatureView"}
    ),
}


@dataclass(frozen=True)
class _Seen:
    """Where resources are defined (type -> first place), and what permissions cover; ``unclear`` cannot be read."""

    defined: Mapping[str, str]
    covered: frozenset[str]
    permissions: tuple[str, ...]
    unclear: tuple[str, ...]


def coverage(sources: Mapping[str, bytes], auth: str) -> Finding:
    """Compare what a repo (path -> Python) defines with its Permissions, under a kind of authorization."""
    seen = _read(sources)
    if auth == "no_auth":
        if seen.permissions:
            evidence = tuple(
                f"{place}: a Permission, which no server enforces under no_auth" for place in seen.permissions
            )
            return Finding(_CHECK, _TITLE, Status.MANUAL, evidence, remedy="Set auth to kubernetes or oidc.")
        return Finding(_CHECK, _TITLE, Status.NOT_APPLICABLE, ("auth is no_auth, and there are no permissions",))
    if not seen.permissions:
        return Finding(
            _CHECK,
            _TITLE,
            Status.FAIL,
            (f"auth is {auth}, and no Permission is defined: anyone with a valid token may do everything",),
            remedy="Define a Permission for each kind of resource.",
        )
    uncovered = {kind: place for kind, place in sorted(seen.defined.items()) if kind not in seen.covered}
    if uncovered or seen.unclear:
        evidence = tuple(f"{place}: {kind} is covered by no Permission" for kind, place in uncovered.items())
        evidence += tuple(f"{place}: the types of this Permission are not written out" for place in seen.unclear)
        return Finding(
            _CHECK,
            _TITLE,
            Status.MANUAL,
            evidence,
            remedy="Add each kind to the types of a Permission.",
        )
    evidence = (f"{len(seen.permissions)} permissions cover {', '.join(sorted(seen.defined)) or 'everything'}",)
    return Finding(_CHECK, _TITLE, Status.PASS, evidence)


def policies(sources: Mapping[str, bytes], auth: str) -> Finding:
    """Find each Permission whose policy is AllowAll, Feast's default: no Feast registry can read it back."""
    check, title = "feature-repo.permission-policies", "The Feast registry can read back every Permission"
    allowing = [f"{path}:{call.lineno}" for path, name, call in _calls(sources) if _allows_all(name, call)]
    if not allowing:
        return Finding(check, title, Status.PASS, ("no Permission has the policy AllowAll",))
    status = Status.MANUAL if auth == "no_auth" else Status.FAIL
    evidence = tuple(
        f"{place}: the policy is AllowAll (Feast's default), which the Feast registry does not store: servers answer "
        "\"The list 'policy' must be non-empty.\""
        for place in allowing
    )
    return Finding(check, title, status, evidence, "Write policy=RoleBasedPolicy(roles=[...]).")


def _allows_all(name: str, call: ast.Call) -> bool:
    if name != "Permission" or any(keyword.arg is None for keyword in call.keywords):
        return False  # **settings may hold a policy
    if any(isinstance(argument, ast.Starred) for argument in call.args):
        return False
    policy = next((keyword.value for keyword in call.keywords if keyword.arg == "policy"), None)
    if policy is None and len(call.args) > _POLICY_POSITION:
        policy = call.args[_POLICY_POSITION]
    return policy is None or _name(policy) == "AllowAll"


def _read(sources: Mapping[str, bytes]) -> _Seen:
    defined: dict[str, str] = {}
    covered: set[str] = set()
    permissions: list[str] = []
    unclear: list[str] = []
    for path, name, call in _calls(sources):
        place = f"{path}:{call.lineno}"
        if name in _RESOURCES:
            defined.setdefault(_RESOURCES[name], place)
        elif name == "Permission":
            permissions.append(place)
            types = _types(call)
            if types is None:
                unclear.append(place)
            else:
                covered |= types
    return _Seen(defined, frozenset(covered), tuple(permissions), tuple(unclear))


def _calls(sources: Mapping[str, bytes]) -> Iterator[tuple[str, str, ast.Call]]:
    for path in sorted(sources):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(sources[path], path)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue  # said, with its line, by the check that every file parses
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield path, _name(node.func), node


def _types(call: ast.Call) -> frozenset[str] | None:
    """Return the resource types of a Permission; everything where none is named, None where they cannot be read."""
    value = next((keyword.value for keyword in call.keywords if keyword.arg == "types"), None)
    if value is None and len(call.args) > 1:
        value = call.args[1]
    if value is None or (isinstance(value, ast.Constant) and value.value is None):
        return _EVERYTHING
    items = value.elts if isinstance(value, (ast.List, ast.Tuple)) else [value]
    names: set[str] = set()
    for item in items:
        name = _name(item.value if isinstance(item, ast.Starred) else item)
        if name in _ALL_NAMES:
            return _EVERYTHING
        if name not in _EVERYTHING and name not in _PARENTS:
            return None
        names |= {name} | _PARENTS.get(name, frozenset())
    return frozenset(names)


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""

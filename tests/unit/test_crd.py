"""What an API server refuses of a FeatureStore: structural schema, strict fields, defaults, CEL rules."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from bundler.errors import SpecError
from bundler.feast.operator import validation
from bundler.kube import cel_rules as cel
from bundler.kube import structural_schema
from bundler.kube.structural_schema import SchemaProblem
from tests.unit.operator_manifests import RELEASES, real_crd

STORE = {"type": "redis", "secretRef": {"name": "s"}}
SERVER = {"image": "registry.example/feast@sha256:" + "0" * 64}


def feature_store(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "feast.dev/v1",
        "kind": "FeatureStore",
        "metadata": {"name": "x", "namespace": "feast"},
        "spec": {"feastProject": "x", **spec},
    }


def refusals(release: str, resource: Any) -> list[str]:
    return [str(problem) for problem in validation.problems(resource, real_crd(release))]


def schema_problems(value: Any, **schema: Any) -> list[str]:
    return [str(problem) for problem in structural_schema.problems(value, schema)]


# --- the real CRDs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", RELEASES)
def test_the_smallest_feature_store_is_accepted(release: str) -> None:
    assert refusals(release, feature_store()) == []


@pytest.mark.parametrize("release", RELEASES)
def test_the_guides_own_air_gapped_example_is_accepted_although_it_does_not_start(release: str) -> None:
    services = {"disableInitContainers": True, "onlineStore": {"server": SERVER}}
    assert refusals(release, feature_store(services=services)) == []


@pytest.mark.parametrize("release", RELEASES)
def test_a_null_that_the_server_prunes_is_accepted(release: str) -> None:
    services = {"onlineStore": {"server": {"image": None, "nodeSelector": {"zone": None}}}, "offlineStore": None}
    assert refusals(release, feature_store(services=services, authz=None)) == []


def test_a_null_metadata_is_refused() -> None:
    assert refusals(RELEASES[0], {**feature_store(), "metadata": None}) == ["metadata: must be an object"]


@pytest.mark.parametrize("release", RELEASES)
def test_a_misspelt_key_is_an_unknown_field(release: str) -> None:
    services = {"disableInitContainer": True, "onlineStore": {"server": {"imagePullSecrets": []}}}
    assert refusals(release, feature_store(services=services)) == [
        "spec.services.disableInitContainer: unknown field",
        "spec.services.onlineStore.server.imagePullSecrets: unknown field",
    ]


def test_a_field_of_a_newer_operator_is_unknown_to_an_older_one() -> None:
    resource = feature_store(feastProjectDir={"packaged": {"featureRepoPath": "/opt/repo"}}, authz={"noAuth": True})
    assert refusals("0.66.0", resource) == []
    assert refusals("0.61.0", resource) == [
        "spec.feastProjectDir.packaged: unknown field",
        "spec.authz.noAuth: unknown field",
    ]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    ("spec", "refusal"),
    [
        ({"feastProject": "_x"}, "spec.feastProject: '_x' does not match"),
        ({"feastProject": "x\n"}, "spec.feastProject: 'x\\n' does not match"),
        ({"replicas": 0}, "spec.replicas: 0 is beyond the minimum of 1"),
        ({"replicas": "2"}, "spec.replicas: must be an integer, found string '2'"),
        ({"replicas": True}, "spec.replicas: must be an integer, found boolean True"),
        ({"replicas": 2**31}, "spec.replicas: 2147483648 is out of the range of int32"),
        ({"services": {"volumes": [None]}}, "spec.services.volumes[0]: must be an object, found null"),
        ({"feastProject": None}, "spec.feastProject: is required"),
        ({"service": None}, "spec.service: unknown field"),
        (
            {"services": {"onlineStore": {"persistence": {"store": {**STORE, "type": "Redis"}}}}},
            "spec.services.onlineStore.persistence.store.type: unsupported value 'Redis'",
        ),
        (
            {"services": {"onlineStore": {"persistence": {"store": {"type": "redis"}}}}},
            "spec.services.onlineStore.persistence.store.secretRef: is required",
        ),
        (
            {"services": {"ui": {"resources": {"limits": {"cpu": "1 core"}}}}},
            "spec.services.ui.resources.limits.cpu: '1 core' does not match",
        ),
        (
            {"services": {"volumes": [{"name": "a", "configMap": {"items": [{"key": "k"}]}}]}},
            "spec.services.volumes[0].configMap.items[0].path: is required",
        ),
    ],
)
def test_the_schema_refuses_by_path_and_value(release: str, spec: dict[str, Any], refusal: str) -> None:
    found = refusals(release, feature_store(**spec))
    assert any(line.startswith(refusal) for line in found), found


def online(**persistence: Any) -> dict[str, Any]:
    return {"services": {"onlineStore": {"persistence": persistence}}}


def registry(**value: Any) -> dict[str, Any]:
    return {"services": {"registry": value}}


SCALED = {"replicas": 2}
SCALED_STORE = {"onlineStore": {"persistence": {"store": STORE}}}

RULES: list[tuple[dict[str, Any], str]] = [
    (
        {
            "replicas": 2,
            "services": {
                **SCALED_STORE,
                **registry(local={"persistence": {"store": {**STORE, "type": "sql"}}})["services"],
                "scaling": {"autoscaling": {"maxReplicas": 3}},
            },
        },
        "spec: replicas > 1 and services.scaling.autoscaling are mutually exclusive.",
    ),
    (SCALED, "spec: Scaling requires DB-backed persistence for the online store."),
    (
        {**SCALED, "services": {**SCALED_STORE, "offlineStore": {}}},
        "spec: Scaling requires DB-backed persistence for the offline store.",
    ),
    ({**SCALED, "services": SCALED_STORE}, "spec: Scaling requires DB-backed or remote registry."),
    ({"authz": {}}, "spec.authz: One selection required between kubernetes"),
    ({"authz": {"kubernetes": {}, "oidc": {"secretRef": {"name": "x"}}}}, "spec.authz: One selection required"),
    ({"feastProjectDir": {}}, "spec.feastProjectDir: One selection required between init"),
    (
        {"feastProjectDir": {"git": {"url": "u", "featureRepoPath": "/x"}}},
        "spec.feastProjectDir.git: RepoPath must be a file name only, with no slashes.",
    ),
    (online(), "spec.services.onlineStore.persistence: One selection required between file or store."),
    (
        online(file={"path": "x"}),
        "spec.services.onlineStore.persistence.file: Ephemeral stores must have absolute paths.",
    ),
    (
        online(file={"path": "/x", "pvc": {"mountPath": "/d", "create": {}}}),
        "spec.services.onlineStore.persistence.file: PVC path must be a file name only, with no slashes.",
    ),
    (
        online(file={"path": "s3://b/x"}),
        "spec.services.onlineStore.persistence.file: Online store does not support S3 or GS buckets.",
    ),
    (
        registry(local={"persistence": {"file": {"path": "x"}}}),
        "spec.services.registry.local.persistence.file: Registry files must use absolute paths or be S3",
    ),
    (
        registry(local={"persistence": {"file": {"path": "s3://b", "pvc": {"mountPath": "/d", "create": {}}}}}),
        "spec.services.registry.local.persistence.file: PVC persistence does not support S3 or GS",
    ),
    (
        registry(local={"persistence": {"file": {"path": "/x", "s3_additional_kwargs": {"a": "b"}}}}),
        "spec.services.registry.local.persistence.file: Additional S3 settings are available only for S3",
    ),
    (
        online(file={"path": "x", "pvc": {"mountPath": "/d"}}),
        "spec.services.onlineStore.persistence.file.pvc: One selection is required between ref and create.",
    ),
    (
        online(file={"path": "x", "pvc": {"mountPath": "/d:e", "create": {}}}),
        "spec.services.onlineStore.persistence.file.pvc: Mount path must start with '/' and must not contain ':'",
    ),
    (registry(), "spec.services.registry: One selection required."),
    (registry(remote={}), "spec.services.registry.remote: One selection required."),
    (
        registry(local={"server": {"grpc": False}}),
        "spec.services.registry.local.server: At least one of restAPI or grpc must be true",
    ),
    (
        {"services": {"ui": {"tls": {}}}},
        "spec.services.ui.tls: `secretRef` required if `disable` is false.",
    ),
    (
        {"services": {"podDisruptionBudgets": {}}},
        "spec.services.podDisruptionBudgets: Exactly one of minAvailable or maxUnavailable must be set.",
    ),
]
NEWER_RULES: list[tuple[dict[str, Any], str]] = [
    (
        {"feastProjectDir": {"packaged": {"featureRepoPath": "/opt/../x"}}},
        "spec.feastProjectDir.packaged: FeatureRepoPath must be a canonical absolute, non-root path",
    ),
    (
        registry(local={"server": {"mcp": {"enabled": True}}}),
        "spec.services.registry.local.server: MCP requires restAPI to be true",
    ),
    (
        {"mlflow": {"enabled": True, "extraConfig": {"enabled": "x"}}},
        "spec.mlflow: extraConfig must not contain keys that duplicate typed fields",
    ),
]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(("spec", "refusal"), RULES, ids=[rule for _, rule in RULES])
def test_every_rule_refuses_by_path_and_message(release: str, spec: dict[str, Any], refusal: str) -> None:
    found = refusals(release, feature_store(**spec))
    assert any(line.startswith(refusal) for line in found), found


@pytest.mark.parametrize("release", ["0.66.0", "head"])
@pytest.mark.parametrize(("spec", "refusal"), NEWER_RULES, ids=[rule for _, rule in NEWER_RULES])
def test_every_newer_rule_refuses_by_path_and_message(release: str, spec: dict[str, Any], refusal: str) -> None:
    found = refusals(release, feature_store(**spec))
    assert any(line.startswith(refusal) for line in found), found


@pytest.mark.parametrize("release", RELEASES)
def test_every_rule_of_the_crd_has_a_case_here(release: str) -> None:
    messages = set(_rule_messages(real_crd(release).schema["properties"]["spec"]))  # type: ignore[index,call-overload]
    cases = [refusal.partition(": ")[2] for _, refusal in [*RULES, *NEWER_RULES]]
    uncovered = {text for text in messages if not any(text.startswith(case) for case in cases)}
    assert uncovered == {"PvcCreate is immutable"}  # on update, tested below


def _rule_messages(schema: Any) -> list[str]:
    found: list[str] = []
    if isinstance(schema, dict):
        found += [rule["message"] for rule in schema.get("x-kubernetes-validations", []) if isinstance(rule, dict)]
        for inner in schema.values():
            found += _rule_messages(inner)
    return found


@pytest.mark.parametrize("release", RELEASES)
def test_a_transition_rule_is_checked_on_update_only(release: str) -> None:
    pvc = {"mountPath": "/d", "create": {"storageClassName": "fast"}}
    before = feature_store(**online(file={"path": "x", "pvc": pvc}))
    after = copy.deepcopy(before)
    after["spec"]["services"]["onlineStore"]["persistence"]["file"]["pvc"]["create"]["storageClassName"] = "slow"
    assert validation.problems(after, real_crd(release)) == ()
    assert validation.problems(before, real_crd(release), old=before) == ()
    assert [problem.message for problem in validation.problems(after, real_crd(release), old=before)] == [
        "PvcCreate is immutable"
    ]


@pytest.mark.parametrize("release", RELEASES)
def test_another_kind_is_refused(release: str) -> None:
    assert refusals(release, {**feature_store(), "apiVersion": "feast.dev/v1alpha1"}) == [
        "apiVersion: expected 'feast.dev/v1', found 'feast.dev/v1alpha1'"
    ]
    assert refusals(release, []) != []


@pytest.mark.parametrize("release", RELEASES)
def test_validation_leaves_the_resource_as_it_was(release: str) -> None:
    resource = feature_store()
    validation.problems(resource, real_crd(release))
    assert resource == feature_store()


# --- the schema language itself --------------------------------------------------------------------------------------


def test_defaults_fill_absent_and_null_fields_at_every_depth() -> None:
    inner = {"type": "object", "properties": {"n": {"type": "integer", "default": 1}}}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"a": {**inner, "default": {}}, "list": {"type": "array", "items": inner}},
        "additionalProperties": False,
    }
    assert structural_schema.with_defaults({"a": None, "list": [{}, {"n": 2}]}, schema) == {
        "a": {"n": 1},
        "list": [{"n": 1}, {"n": 2}],
    }


def test_nulls_are_pruned_before_defaults_but_not_from_lists_or_where_they_are_allowed() -> None:
    text = {"type": "string"}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "gone": text,
            "kept": {**text, "nullable": True, "default": "x"},
            "list": {"type": "array", "items": text},
            "map": {"type": "object", "additionalProperties": text},
        },
    }
    value: dict[str, Any] = {"gone": None, "kept": None, "list": [None], "map": {"a": None, "b": "c"}, "unknown": None}
    stored = {"kept": None, "list": [None], "map": {"b": "c"}, "unknown": None}
    assert structural_schema.with_defaults(value, schema) == stored


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (1, {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
        ("25%", {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (None, {"type": "string", "nullable": True}),
        ({"any": ["thing"]}, {"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
        (
            {"any": {"n": 1}},
            {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": True}},
        ),
        (1, {"type": "number"}),
        ("2024-05-01T00:00:00Z", {"type": "string", "format": "date-time"}),
        ("a.b", {"type": "string", "pattern": "^a"}),
        (
            3,
            {
                "type": "integer",
                "oneOf": [{"minimum": 3}, {"maximum": 1}],
                "not": {"enum": [4]},
                "allOf": [{"maximum": 3}],
            },
        ),
    ],
)
def test_the_schema_accepts(value: Any, schema: dict[str, Any]) -> None:
    assert schema_problems(value, **schema) == []


@pytest.mark.parametrize(
    ("value", "schema", "problem"),
    [
        (True, {"x-kubernetes-int-or-string": True}, "must be an integer or a string, found boolean"),
        (None, {"x-kubernetes-int-or-string": True}, "found null"),
        ("x", {"type": "string", "minLength": 2}, "has 1 characters, at least 2 are required"),
        ([1, 2], {"type": "array", "maxItems": 1, "items": {"type": "integer"}}, "has 2 items, at most 1"),
        ({}, {"type": "object", "minProperties": 1}, "has 0 entries"),
        ("x", {"type": "string", "format": "date-time"}, "not a date and time"),
        (1.5, {"type": "integer"}, "must be an integer, found number"),
        (5, {"type": "integer", "maximum": 5, "exclusiveMaximum": True}, "beyond the maximum of 5"),
        (
            [{"name": "a"}, {"name": "a"}],
            LIST_MAP := {
                "type": "array",
                "items": {"type": "object", "properties": {"name": {"type": "string"}}},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
            "[1]: duplicate value {'name': 'a'}",
        ),
        (
            ["a", "a"],
            {**LIST_MAP, "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "[1]: duplicate value 'a'",
        ),
        (3, {"type": "integer", "oneOf": [{"minimum": 3}, {"minimum": 1}]}, "satisfies 2 schemas of oneOf"),
        (3, {"type": "integer", "anyOf": [{"minimum": 4}]}, "does not satisfy any schema of anyOf"),
        (3, {"type": "integer", "allOf": [{"minimum": 4}]}, "does not satisfy every schema of allOf"),
        (3, {"type": "integer", "not": {"minimum": 1}}, "satisfies the schema of not"),
        ({"a b": 1}, {"type": "object", "properties": {"x": {"type": "string"}}}, "[a b]: unknown field"),
    ],
)
def test_the_schema_refuses(value: Any, schema: dict[str, Any], problem: str) -> None:
    assert any(problem in line for line in schema_problems(value, **schema)), schema_problems(value, **schema)


@pytest.mark.parametrize(
    "metadata", [{"nam": "x"}, {"name": 1}, {"labels": {"a": 1}}, {"annotations": []}, "x", {"resourceVersion": "1"}]
)
def test_metadata_is_strict_too(metadata: Any) -> None:
    assert schema_problems({"metadata": metadata}, type="object", properties={}) != []


# --- the rule language ------------------------------------------------------------------------------------------------


def rule_problems(value: Any, rule: Any, old: Any = None) -> list[SchemaProblem]:
    return list(cel.problems(value, {"x-kubernetes-validations": [rule]}, old=old))


def test_a_rule_that_reads_an_absent_field_is_broken_and_says_so() -> None:
    [problem] = rule_problems({}, {"rule": "self.a == 1", "message": "a must be 1"})
    assert problem.message == "a must be 1 (the rule reads the absent field 'a')"


def test_an_absent_field_does_not_matter_where_the_other_side_decides() -> None:
    assert rule_problems({"b": True}, {"rule": "self.a == true || self.b"}) == []


def test_a_message_expression_is_computed_and_the_message_stands_in_where_it_fails() -> None:
    rule = {"rule": "self.a > 1", "message": "too small", "messageExpression": "'a is ' + string(self.a)"}
    assert [problem.message for problem in rule_problems({"a": 1}, rule)] == ["a is 1"]
    assert [problem.message for problem in rule_problems({"a": 1}, {**rule, "messageExpression": "self.b"})] == [
        "too small"
    ]


def test_a_field_path_is_appended() -> None:
    assert rule_problems({}, {"rule": "false", "fieldPath": ".a"})[0] == SchemaProblem(".a", "failed rule: false")


@pytest.mark.parametrize("rule", ["self.a ==", "quantity('1').isInteger()"])
def test_a_rule_that_cannot_be_evaluated_here_is_an_error_and_not_a_pass(rule: str) -> None:
    with pytest.raises(SpecError, match=r"cannot be evaluated (as CEL )?here"):
        rule_problems({"a": 1}, {"rule": rule})

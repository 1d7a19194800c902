"""An object of a cluster or a file is read without an error, whatever it holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.kube.objects import Identity, KubeObject, mappings
from bundler.model.descriptor import Json

DEPLOYMENT = KubeObject(
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a", "namespace": "n", "labels": {"x": "y"}, "annotations": {"on": True}},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"image": "i"}, "odd", {"image": 3}]}}},
        "status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}, 7]},
    }
)


def test_an_object_says_what_it_is() -> None:
    assert DEPLOYMENT.identity == Identity("apps", "Deployment", "n", "a")
    assert str(DEPLOYMENT.identity) == "Deployment/n/a"
    assert str(KubeObject.named("v1", "Namespace", "", "n").identity) == "Namespace/n"
    assert (DEPLOYMENT.labels, DEPLOYMENT.annotations) == ({"x": "y"}, {"on": "true"})
    assert DEPLOYMENT.number("spec", "replicas") == 2
    assert str(DEPLOYMENT.conditions["ReplicaFailure"]) == "ReplicaFailure is True: FailedCreate"


def test_two_versions_of_a_kind_show_one_object() -> None:
    assert KubeObject.named("a/v1", "K", "n", "x").identity == KubeObject.named("a/v2", "K", "n", "x").identity
    assert KubeObject.named("v1", "K", "n", "x").identity.group == ""


def test_every_mapping_inside_is_found() -> None:
    containers = DEPLOYMENT.get("spec", "template", "spec", "containers")
    assert [one.text("image") for one in mappings(containers)] == ["i", "3"]


def test_changes_make_another_object() -> None:
    changed = DEPLOYMENT.replaced(kind="StatefulSet").without("status")
    assert (changed.kind, DEPLOYMENT.kind) == ("StatefulSet", "Deployment")
    assert "status" not in changed.to_json()


@pytest.mark.parametrize("odd", [None, 7, "x", [], [None], {}, {"a": None}, True])
def test_what_is_of_another_type_reads_as_empty(odd: Json) -> None:
    for content in ({"metadata": odd}, {"metadata": {"labels": odd}}, {"status": odd}, {"status": {"conditions": odd}}):
        view = KubeObject(content)
        assert view.identity == Identity("", "", "", "")
        assert dict(view.conditions) == {}
        assert set(view.labels.values()) <= {""}


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
KEYS = st.sampled_from(["metadata", "name", "status", "conditions", "labels", "type", "apiVersion"])
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.lists(KEYS, max_size=3))
def test_no_shape_raises(content: dict[str, Json], path: list[str]) -> None:
    view = KubeObject(content)
    assert isinstance(view.identity, Identity)
    assert all(isinstance(text, str) for text in (*view.labels.values(), *view.annotations.values(), view.text(*path)))
    assert isinstance(view.number(*path), int)
    assert isinstance(view.conditions, dict)
    assert isinstance(view.rows(*path), tuple)
    assert all(isinstance(one, KubeObject) for one in mappings(view.to_json()))

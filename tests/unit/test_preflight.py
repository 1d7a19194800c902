"""A preflight reports everything that would stop an install at once, with a remedy each, and changes nothing."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bundler.effects.blobs import BlobStore
from bundler.effects.registry.endpoint import Access
from bundler.effects.registry.repository import Repository
from bundler.errors import ClusterError, ClusterUnreachableError, ForbiddenError, RegistryError
from bundler.kube.objects import KubeObject
from bundler.model.digest import Digest
from bundler.model.findings import Finding, Report, Status
from bundler.model.progress import SilentProgress
from bundler.steps.build import pack
from bundler.steps.build.pack import ImageToPack
from bundler.steps.install.preflight import run as preflight
from bundler.steps.install.preflight.run import PreflightOptions
from bundler.steps.install.release import Release
from tests.support import artifacts
from tests.support.fake_cluster import FakeCluster, available, named
from tests.unit import packed
from tests.unit.test_install import ELSEWHERE, LOGINS, MANIFESTS, OPERATOR, SERVER, STORE, core, made, yaml

SERVICES = {
    "onlineStore": {"server": {"image": SERVER}},
    "registry": {"persistence": {"file": {"pvc": {"create": {}}}}},
}
WITH_PULL_SECRET = {
    **MANIFESTS,
    "manifests/team/serviceaccounts.yaml": yaml(core("ServiceAccount", "feast-a", imagePullSecrets=[{"name": "pull"}])),
    "manifests/team/featurestore.yaml": yaml({**STORE, "spec": {"services": SERVICES}}),
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("bundle"), WITH_PULL_SECRET)


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A registry that has everything, to whom it lets in."""
    settings: dict[str, Any] = {"lacks": frozenset(), "refuses": False}

    def find(repository: Repository, reference: Digest) -> Digest | None:
        if settings["refuses"] and repository.session.connection.logins is not None:
            raise RegistryError("401 Unauthorized")
        return None if repository.name in settings["lacks"] else reference

    monkeypatch.setattr(Repository, "find_manifest", find)
    return settings


def node(name: str, architecture: str = "amd64", **spec: Any) -> dict[str, Any]:
    info = {"operatingSystem": "linux", "architecture": architecture}
    return named("v1", "Node", name, "", {"spec": spec, "status": {"nodeInfo": info}})


def operator(name: str = "feast-operator", **metadata: Any) -> dict[str, Any]:
    env = [{"name": "RELATED_IMAGE_FEATURE_SERVER", "value": "example.com/feature-server:1"}]
    spec = {"template": {"spec": {"containers": [{"name": "manager", "env": env}]}}}
    found = named("apps/v1", "Deployment", name, "operators", {"spec": spec, "status": available()})
    found["metadata"] |= metadata
    return found


@pytest.fixture
def cluster() -> FakeCluster:
    found = FakeCluster()
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    storage = named("storage.k8s.io/v1", "StorageClass", "fast", "", {})
    storage["metadata"]["annotations"] = default
    pull = core(
        "Secret",
        "pull",
        type="kubernetes.io/dockerconfigjson",
        data={".dockerconfigjson": base64.b64encode(LOGINS.encode()).decode()},
    )
    credentials = core("Secret", "credentials", data={"PASSWORD": "eA==", "USER": "eA=="})
    for one in (named("v1", "Namespace", "feast", "", {}), pull, credentials, storage, node("a"), operator()):
        found.put(one)
    return found


def run(bundle: Path, cluster: FakeCluster, **settings: Any) -> Report:
    before = json.dumps(list(cluster.objects.values()), sort_keys=True)
    found = preflight.run(
        Release.of(bundle, ELSEWHERE), PreflightOptions(Access(), **settings), cluster, SilentProgress()
    )
    assert json.dumps(list(cluster.objects.values()), sort_keys=True) == before
    assert cluster.applied == []
    return found


def failed(report: Report) -> dict[str, Finding]:
    found = {one.check: one for one in report.findings if one.status is Status.FAIL}
    assert all(one.remedy for one in found.values())
    return found


def only(report: Report, check: str) -> str:
    assert list(failed(report)) == [check]
    return "\n".join(failed(report)[check].evidence)


def test_nothing_stops_an_install_where_all_is_there(bundle: Path, cluster: FakeCluster) -> None:
    report = run(bundle, cluster)
    assert failed(report) == {}
    passed = {one.check for one in report.findings if one.status is Status.PASS}
    assert passed == {
        *("version", "rights-cluster", "rights-feast", "operator", "objects", "images", "nodes", "storage"),
        *("secret-feast/credentials", "secret-feast/pull", "pull-secret-feast/pull", "pod-security-feast"),
    }


def test_signatures_beside_images_stop_nothing(tmp_path: Path, cluster: FakeCluster, registry: dict[str, Any]) -> None:
    store = BlobStore(tmp_path / "cache")
    plan = packed.plan(store)
    signature = artifacts.signature("x")
    for content in signature.blobs.values():
        store.put(content)
    internal = f"{packed.REGISTRY}/signed:sha256-{'0' * 64}.sig"
    signed = ImageToPack("quay.example/signed:x", "companion", signature.root, internal)
    documents = {**packed.DOCUMENTS, **MANIFESTS}
    plan = replace(plan, images=(*plan.images, signed), documents=documents)
    registry["lacks"] = frozenset({"feast/signed"})
    assert failed(run(pack.run(plan, tmp_path, store, progress=SilentProgress()).path, cluster)) == {}


def test_all_problems_are_found_at_once(bundle: Path, cluster: FakeCluster, registry: dict[str, Any]) -> None:
    for key in (
        ("Secret", "feast", "pull"),
        ("StorageClass", "", "fast"),
        ("Deployment", "operators", "feast-operator"),
    ):
        del cluster.objects[key]
    cluster.put(node("a", "s390x"))
    cluster.set(server_version="v1.18.0", served=set(), refused={("patch", "serviceaccounts")})
    registry["lacks"] = frozenset({"feast/driver-stats"})
    assert set(failed(run(bundle, cluster))) == {
        *("version", "kinds", "rights-feast", "operator", "images", "nodes", "storage", "secret-feast/pull"),
    }


def test_rights_that_are_refused_are_named(bundle: Path, cluster: FakeCluster) -> None:
    cluster.set(refused={("patch", "featurestores"), ("create", "jobs")})
    lines = only(run(bundle, cluster), "rights-feast")
    assert lines.splitlines() == ["you may not create jobs.batch", "you may not patch featurestores.feast.dev"]


def test_a_tenant_needs_no_rights_over_the_cluster(bundle: Path, cluster: FakeCluster) -> None:
    cluster.set(refused={("create", "namespaces"), ("patch", "namespaces")})
    assert "--part tenant" in failed(run(bundle, cluster))["rights-cluster"].remedy
    assert failed(run(bundle, cluster, part="tenant")) == {}


def test_a_key_that_is_missing_is_named_and_no_value_is(bundle: Path, cluster: FakeCluster) -> None:
    cluster.objects["Secret", "feast", "credentials"]["data"] = {"PASSWORD": "aHVudGVyMg==", "USR": "aHVudGVyMg=="}
    report = run(bundle, cluster)
    assert "lacks the key USER" in only(report, "secret-feast/credentials")
    assert "aHVudGVyMg" not in json.dumps(report.to_json())


def test_a_secret_that_is_given_need_not_be_there(bundle: Path, cluster: FakeCluster, tmp_path: Path) -> None:
    del cluster.objects["Secret", "feast", "credentials"]
    (tmp_path / "values").write_text("PASSWORD=hunter2\nUSER=u\n")
    report = run(bundle, cluster, secrets=(f"credentials={tmp_path / 'values'}",))
    assert failed(report) == {}
    assert "hunter2" not in json.dumps(report.to_json())


def test_an_image_that_was_not_pushed_is_named_with_its_digest(
    bundle: Path, cluster: FakeCluster, registry: dict[str, Any]
) -> None:
    registry["lacks"] = frozenset({"feast/driver-stats"})
    report = run(bundle, cluster)
    assert set(failed(report)) == {"images", "pull-secret-feast/pull"}
    (line,) = failed(report)["images"].evidence
    assert line.startswith(f"{ELSEWHERE}/driver-stats:0.1.0@sha256:")
    assert f"bundler push BUNDLE --registry {ELSEWHERE}" in failed(report)["images"].command


def test_a_pull_secret_that_the_registry_refuses_is_found(
    bundle: Path, cluster: FakeCluster, registry: dict[str, Any]
) -> None:
    registry["refuses"] = True
    lines = only(run(bundle, cluster), "pull-secret-feast/pull")
    assert "it has logins for: registry.site:5000" in lines
    assert "401" in lines


def test_a_pull_secret_without_logins_is_found(bundle: Path, cluster: FakeCluster) -> None:
    cluster.objects["Secret", "feast", "pull"]["data"] = {".dockerconfigjson": "eA=="}
    assert set(failed(run(bundle, cluster))) == {"secret-feast/pull", "pull-secret-feast/pull"}


@pytest.mark.parametrize(
    ("nodes", "status"),
    [
        ([node("a"), node("b", "arm64")], Status.MANUAL),
        ([node("a"), node("b", "arm64", taints=[{"key": "x", "effect": "NoSchedule"}])], Status.PASS),
        ([node("a"), node("b", "arm64", unschedulable=True)], Status.PASS),
        ([node("a", "arm64")], Status.FAIL),
        ([node("a", unschedulable=True)], Status.FAIL),
    ],
)
def test_nodes_need_a_processor_of_the_images(
    bundle: Path, cluster: FakeCluster, nodes: list[dict[str, Any]], status: Status
) -> None:
    for one in nodes:
        cluster.put(one)
    report = run(bundle, cluster)
    assert {one.check: one.status for one in report.findings}["nodes"] is status


def test_a_volume_without_a_class_needs_a_default_one(bundle: Path, cluster: FakeCluster) -> None:
    cluster.objects["StorageClass", "", "fast"]["metadata"]["annotations"] = {}
    lines = only(run(bundle, cluster), "storage")
    assert "no StorageClass is the default" in lines
    assert "the cluster has: fast" in lines


@pytest.mark.parametrize(("used", "status"), [("4", Status.FAIL), ("1", Status.MANUAL)])
def test_a_quota_that_is_used_up_is_found(bundle: Path, cluster: FakeCluster, used: str, status: Status) -> None:
    amounts = {"hard": {"pods": "4"}, "used": {"pods": used}}
    cluster.put(named("v1", "ResourceQuota", "limits", "feast", {"status": amounts}))
    finding = next(one for one in run(bundle, cluster).findings if one.check == "quota-feast")
    assert finding.status is status
    assert finding.evidence == (f"limits: {used} of 4 pods",)


def test_an_operator_of_olm_is_known_and_a_second_one_is_refused(
    tmp_path: Path, bundle: Path, cluster: FakeCluster
) -> None:
    cluster.put(operator(labels={"olm.owner": "feast-operator.v0.61.0"}))
    finding = next(one for one in run(bundle, cluster).findings if one.check == "operator")
    assert "installed by OLM as feast-operator.v0.61.0" in finding.evidence[0]
    both = made(tmp_path, {**WITH_PULL_SECRET, **OPERATOR})
    assert "operator" in failed(run(both, cluster))
    assert failed(run(both, cluster, part="tenant")) == {}


def test_an_operator_that_does_not_run_is_found(bundle: Path, cluster: FakeCluster) -> None:
    cluster.objects["Deployment", "operators", "feast-operator"]["status"] = {}
    assert "operators/feast-operator" in only(run(bundle, cluster), "operator")


@pytest.mark.parametrize("error", [ClusterError, ForbiddenError])
def test_what_the_server_refuses_is_found_without_anything_kept(
    bundle: Path, cluster: FakeCluster, error: type[ClusterError]
) -> None:
    def refuse(kinds: list[str]) -> None:
        assert "FeatureStore" in kinds
        raise error("It refused.", details=(".spec.services.disableInitContainers: field not declared in schema",))

    cluster.set(before_apply=refuse)
    assert "field not declared in schema" in only(run(bundle, cluster), "objects")


def test_objects_of_a_namespace_that_is_not_there_yet_are_not_tried(bundle: Path, cluster: FakeCluster) -> None:
    del cluster.objects["Namespace", "", "feast"]
    finding = next(one for one in run(bundle, cluster).findings if one.check == "objects")
    assert "could not be tried" in finding.evidence[-1]


def test_what_may_not_be_looked_at_is_left_to_somebody_who_may(
    bundle: Path, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = FakeCluster.listed

    def guarded(self: FakeCluster, kind: str, namespace: str | None, selector: str = "") -> tuple[KubeObject, ...]:
        if namespace is None:
            raise ForbiddenError("No.", details=(f'cannot list resource "{kind}" at the cluster scope',))
        return listed(self, kind, namespace, selector)

    monkeypatch.setattr(FakeCluster, "listed", guarded)
    report = run(bundle, cluster)
    assert failed(report) == {}
    manual = {one.check for one in report.findings if one.status is Status.MANUAL}
    assert manual == {"nodes", "operator", "storage"}


def test_a_cluster_that_does_not_answer_is_one_finding_and_the_registry_is_still_asked(
    bundle: Path, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: FakeCluster) -> str:
        raise ClusterUnreachableError("The cluster does not know you, or no longer.", remedy="Log in again.")

    monkeypatch.setattr(FakeCluster, "version", gone)
    report = run(bundle, cluster)
    assert only(report, "version").startswith("The cluster does not know you")
    assert [one.check for one in report.findings] == ["version", "images"]


def definition(**services: object) -> dict[str, Any]:
    """A CRD whose services have an online store and what is given."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    properties = {"services": {"type": "object", "properties": {"onlineStore": anything, **services}}}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}
    versions = [{"name": "v1", "served": True, "schema": {"openAPIV3Schema": schema}}]
    name = "featurestores.feast.dev"
    return named("apiextensions.k8s.io/v1", "CustomResourceDefinition", name, "", {"spec": {"versions": versions}})


def test_a_definition_of_an_older_operator_is_found(bundle: Path, cluster: FakeCluster) -> None:
    cluster.put(definition())
    assert "spec.services.registry" in only(run(bundle, cluster), "definition")
    cluster.put(definition(registry={"type": "object", "x-kubernetes-preserve-unknown-fields": True}))
    report = run(bundle, cluster)
    assert failed(report) == {}
    assert "fit feast.dev/v1" in next(one for one in report.findings if one.check == "definition").evidence[0]


ENFORCE = "pod-security.kubernetes.io/enforce"


@pytest.mark.parametrize(("level", "fails"), [("restricted", True), ("baseline", False), ("privileged", False)])
def test_a_namespace_that_enforces_restricted_is_found(
    bundle: Path,
    cluster: FakeCluster,
    level: str,
    fails: bool,  # noqa: FBT001
) -> None:
    cluster.objects["Namespace", "", "feast"]["metadata"]["labels"] = {ENFORCE: level}
    found = failed(run(bundle, cluster))
    assert list(found) == (["pod-security-feast"] if fails else [])
    if fails:
        assert f"{ENFORCE}=baseline" in found["pod-security-feast"].command


def quota(*keys: str) -> dict[str, Any]:
    hard = dict.fromkeys(keys, "4")
    return named("v1", "ResourceQuota", "amounts", "feast", {"status": {"hard": hard, "used": {}}})


def test_a_quota_on_limits_is_found_where_containers_set_none(bundle: Path, cluster: FakeCluster) -> None:
    cluster.put(quota("limits.memory", "requests.cpu", "pods"))
    lines = only(run(bundle, cluster), "limits-feast")
    assert lines == "driver-stats: services.onlineStore.server does not set limits.memory, requests.cpu"
    defaults = {"type": "Container", "default": {"memory": "1Gi"}, "defaultRequest": {"cpu": "1"}}
    cluster.put(named("v1", "LimitRange", "defaults", "feast", {"spec": {"limits": [defaults]}}))
    assert failed(run(bundle, cluster)) == {}


def test_limits_that_are_set_satisfy_a_quota_and_count_as_requests(tmp_path: Path, cluster: FakeCluster) -> None:
    server = {"image": SERVER, "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}
    store = yaml({**STORE, "spec": {"services": {"onlineStore": {"server": server}}}})
    cluster.put(quota("limits.memory", "requests.cpu"))
    assert failed(run(made(tmp_path, {**WITH_PULL_SECRET, "manifests/team/featurestore.yaml": store}), cluster)) == {}


def test_an_autoscaler_needs_metrics(tmp_path: Path, cluster: FakeCluster) -> None:
    services = {**SERVICES, "scaling": {"autoscaling": {"maxReplicas": 4}}}
    store = yaml({**STORE, "spec": {"services": services}})
    bundle = made(tmp_path, {**WITH_PULL_SECRET, "manifests/team/featurestore.yaml": store})
    assert "not there" in only(run(bundle, cluster), "metrics")
    conditions = [{"type": "Available", "status": "False", "reason": "MissingEndpoints"}]
    api = "apiregistration.k8s.io/v1"
    cluster.put(named(api, "APIService", "v1beta1.metrics.k8s.io", "", {"status": {"conditions": conditions}}))
    assert "MissingEndpoints" in only(run(bundle, cluster), "metrics")
    conditions[0]["status"] = "True"
    cluster.put(named(api, "APIService", "v1beta1.metrics.k8s.io", "", {"status": {"conditions": conditions}}))
    assert failed(run(bundle, cluster)) == {}

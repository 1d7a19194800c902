"""What is wrong with a FeatureStore that every schema accepts."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from bundler.feast.operator import validation
from bundler.feast.operator.capabilities import Capabilities
from bundler.feast.rules import advice
from bundler.model.findings import Finding, Status
from tests.unit import manifest_cases as cases
from tests.unit.operator_manifests import real_crd

SERVER = {"image": "registry.example/team/feature-server:v1"}
LED = {**SERVER, "env": [{"name": "FEATURE_REPO_DIR_ENV_VAR", "value": "/opt/feast/feature_repo"}]}
# In the form of Feast's guide for air-gapped clusters: init containers off, an image, and nothing else.
GUIDE = {"disableInitContainers": True, "onlineStore": {"server": SERVER}}


def found(check: str, version: str = "0.61.0", **spec: Any) -> Finding:
    resource: Any = {
        "apiVersion": "feast.dev/v1",
        "kind": "FeatureStore",
        "metadata": {"name": "x"},
        "spec": {"feastProject": "my_project", **spec},
    }
    [finding] = [one for one in advice.advise(resource, Capabilities.for_version(version)) if one.check == check]
    return finding


def test_the_guides_own_example_is_accepted_by_every_schema_and_explained() -> None:
    for release, version in cases.VERSIONS.items():
        resource: Any = {
            "apiVersion": "feast.dev/v1",
            "kind": "FeatureStore",
            "metadata": {"name": "x"},
            "spec": {"feastProject": "my_project", "services": GUIDE},
        }
        assert validation.problems(resource, real_crd(release)) == ()
        finding = found("feature-store.starts", version, services=GUIDE)
        assert finding.status is Status.FAIL
        assert (
            "Can't find feature repo configuration file at /feast-data/my_project/feature_repo/feature_store.yaml"
            in finding.evidence[0]
        )


@pytest.mark.parametrize(
    ("version", "remedy"), [("0.65.0", "FEATURE_REPO_DIR_ENV_VAR"), ("0.66.0", "feastProjectDir.packaged")]
)
def test_the_remedy_is_the_one_that_the_release_has(version: str, remedy: str) -> None:
    assert remedy in found("feature-store.starts", version, services=GUIDE).remedy


@pytest.mark.parametrize("release", cases.VERSIONS)
def test_what_is_emitted_here_is_well_on_every_count(release: str) -> None:
    version = cases.VERSIONS[release]
    resource = yaml.safe_load(cases.render(version)["featurestore.yaml"])
    findings = advice.advise(resource, Capabilities.for_version(version))
    assert {finding.check: finding.status for finding in findings if finding.status is not Status.PASS} == {}


@pytest.mark.parametrize(
    ("check", "version", "spec", "status", "evidence"),
    [
        ("starts", "0.61.0", {"services": {**GUIDE, "ui": LED}}, Status.FAIL, "online: will end"),
        (
            "starts",
            "0.61.0",
            {"services": {"disableInitContainers": True, "onlineStore": {"server": LED}}},
            Status.PASS,
            "",
        ),
        ("starts", "0.61.0", {}, Status.PASS, "init containers prepare /feast-data/my_project/feature_repo"),
        (
            "starts",
            "0.61.0",
            {
                "services": {
                    "disableInitContainers": True,
                    "onlineStore": {
                        "server": {"env": [{"name": "FEATURE_REPO_DIR_ENV_VAR", "value": "/feast-data/x"}]}
                    },
                }
            },
            Status.FAIL,
            "online: will end",
        ),
        ("apply", "0.61.0", {}, Status.PASS, ""),
        ("apply", "0.62.0", {}, Status.FAIL, "demo repo"),
        ("apply", "0.62.0", {"services": {"runFeastApplyOnInit": False}}, Status.PASS, ""),
        (
            "apply",
            "0.61.0",
            {
                "services": {
                    "onlineStore": {"server": {"env": [{"name": "FEAST_FS_YAML_FILE_PATH", "value": "/etc/f.yaml"}]}}
                }
            },
            Status.FAIL,
            "deletes every registered object",
        ),
        (
            "apply",
            "0.61.0",
            {
                "services": {
                    "onlineStore": {"server": {"env": [{"name": "FEATURE_STORE_YAML_BASE64", "value": "eA=="}]}}
                }
            },
            Status.FAIL,
            "`feast apply` ignores",
        ),
        ("cron-job.image", "0.61.0", {}, Status.MANUAL, "RELATED_IMAGE_CRON_JOB"),
        (
            "cron-job.image",
            "0.61.0",
            {"cronJob": {"containerConfigs": {"image": "quay.io/feastdev/feature-server:0.62.0"}}},
            Status.FAIL,
            "has no kubectl",
        ),
        (
            "cron-job.image",
            "0.61.0",
            {"cronJob": {"containerConfigs": {"image": "r.example:5000/tools/kubectl:1"}}},
            Status.PASS,
            "kubectl:1",
        ),
        (
            "cron-job.target",
            "0.61.0",
            {"services": {"onlineStore": {"server": {**LED, "envFrom": [1]}}, "registry": {"local": {"server": {}}}}},
            Status.FAIL,
            "lacks env FEATURE_REPO_DIR_ENV_VAR of online",
        ),
        ("cron-job.target", "0.61.0", {}, Status.PASS, "commands run in online"),
        ("authorization", "0.66.0", {}, Status.FAIL, "401"),
        ("authorization", "0.65.0", {}, Status.PASS, ""),
        ("authorization", "0.66.0", {"authz": {"noAuth": False}}, Status.FAIL, "noAuth is false"),
        ("authorization", "0.66.0", {"authz": {"kubernetes": {}}}, Status.PASS, "kubernetes"),
        ("state", "0.61.0", {}, Status.MANUAL, "lost with the pod"),
        (
            "state",
            "0.66.0",
            {"services": {"onlineStore": {"disabled": True}, "registry": {"remote": {"hostname": "h:80"}}}},
            Status.PASS,
            "",
        ),
    ],
)
def test_each_thing_that_goes_wrong_is_found(
    check: str, version: str, spec: dict[str, Any], status: Status, evidence: str
) -> None:
    finding = found(f"feature-store.{check}", version, **spec)
    assert (finding.status, finding.evidence) == (status, finding.evidence)
    assert any(evidence in line for line in finding.evidence), finding.evidence
    assert finding.remedy or status is Status.PASS


def test_a_release_that_cannot_leave_out_the_online_server_makes_one_all_the_same() -> None:
    services = {"onlineStore": {"disabled": True}, "registry": {"remote": {"hostname": "h:80"}}}
    assert found("feature-store.state", "0.65.0", services=services).status is Status.MANUAL
    assert found("feature-store.cron-job.target", "0.65.0", services=services).status is Status.PASS


def test_a_packaged_repo_starts_where_the_release_has_it_and_not_before() -> None:
    directory = {"packaged": {"featureRepoPath": "/opt/feast/feature_repo"}}
    assert found("feature-store.starts", "0.66.0", services=GUIDE, feastProjectDir=directory).status is Status.PASS
    assert found("feature-store.starts", "0.65.0", services=GUIDE, feastProjectDir=directory).status is Status.FAIL


@pytest.mark.parametrize(
    "resource", [None, [], {}, {"spec": []}, {"spec": {"services": {"onlineStore": {"server": 1}}}}]
)
def test_anything_can_be_reviewed(resource: Any) -> None:
    assert len(advice.advise(resource, Capabilities.for_version("0.61.0"))) == 6

"""Faults of Feast's own releases are refused or named before a bundle is built."""

from __future__ import annotations

from typing import Any

import pytest

from bundler.errors import SpecError
from bundler.feast.operator.capabilities import Capabilities
from bundler.feast.rules import feast_releases, kubectl_image
from bundler.feast.rules.feast_releases import FeastReleases
from bundler.model.findings import Finding, Status
from bundler.model.platform import Platform
from bundler.model.spec import BundleSpec
from bundler.render import manifests
from tests.unit import manifest_cases as cases


def render_shared(feast: str, text: str, **deployment: Any) -> None:
    asked = cases.spec("0.66.0", topology="enterprise-shared", wiring="mounted", **deployment)
    document = asked.model_dump(by_alias=True, exclude_unset=True) | {"feast": {"version": feast}}
    spec = cases.with_tenants(BundleSpec.model_validate(document), [{"name": "team-a", "project": "team_a"}])
    manifests.render(spec, cases.config(text), cases.IMAGES, Capabilities.for_version("0.66.0"))


SETTINGS: dict[str, Any] = {"networkPolicies": cases.STORES, "tls": {"caConfigMap": "ca"}}


@pytest.mark.parametrize("feast", ["0.65.0", "0.66.1", "0.67.0"])
def test_a_shared_registry_with_authentication_is_refused(feast: str) -> None:
    with pytest.raises(SpecError) as caught:
        render_shared(feast, cases.KUBERNETES_AUTH, **SETTINGS)
    [reason] = caught.value.details
    assert f"with Feast {feast} and auth kubernetes, `feast apply` of every tenant fails" in reason
    assert "Set feast.version to 0.64, or use auth: {type: no_auth}" in reason


@pytest.mark.parametrize("feast", ["0.64.0", "0.68.0"])
def test_a_shared_registry_of_another_release_is_not_refused(feast: str) -> None:
    render_shared(feast, cases.KUBERNETES_AUTH, **SETTINGS)


def test_a_shared_registry_without_authentication_is_not_refused() -> None:
    render_shared("0.66.0", cases.FEATURE_STORE, auth={"type": "no_auth"}, **SETTINGS)


@pytest.mark.parametrize(
    ("version", "held"), [("0.64.9", False), ("0.65", True), ("0.67.3", True), ("0.68.0", False), ("main", False)]
)
def test_a_range_includes_both_of_its_ends(version: str, held: bool) -> None:  # noqa: FBT001
    assert FeastReleases((0, 65), (0, 67)).holds(version) is held


def offline(version: str | None, **spec: Any) -> Finding:
    return feast_releases.offline_server({"spec": spec}, version)


SERVED: dict[str, Any] = {"offlineStore": {"server": {}}}


@pytest.mark.parametrize("version", ["0.66.0", "0.61.0", None])
def test_an_offline_server_with_several_pods_is_named(version: str | None) -> None:
    autoscaled = {**SERVED, "scaling": {"autoscaling": {"maxReplicas": 3}}}
    for finding in (offline(version, replicas=2, services=SERVED), offline(version, services=autoscaled)):
        assert finding.status is Status.MANUAL
        assert "Flight not found" in finding.evidence[0]
        assert finding.remedy


def test_an_offline_server_that_works_is_not() -> None:
    assert offline("0.67.0", replicas=2, services=SERVED).status is Status.PASS
    assert offline("0.61.0", replicas=1, services=SERVED).status is Status.PASS
    assert offline("0.61.0", replicas=2, services={"offlineStore": {}}).status is Status.NOT_APPLICABLE
    assert feast_releases.offline_server(None, None).status is Status.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("scheme", "version", "status"),
    [
        ("mysql+pymysql", "0.64.0", Status.MANUAL),
        ("mysql+pymysql", "0.65.0", Status.PASS),
        ("postgresql+psycopg", "0.64.0", Status.NOT_APPLICABLE),
    ],
)
def test_a_registry_in_mysql_is_full_after_some_time(scheme: str, version: str, status: Status) -> None:
    text = cases.FEATURE_STORE.replace("postgresql+psycopg", scheme)
    finding = feast_releases.mysql_registry(cases.config(text), version)
    assert finding.status is status
    if status is Status.MANUAL:
        assert finding.evidence[0].startswith("feature_store.yaml:")


@pytest.mark.parametrize(
    ("image", "platforms", "status"),
    [
        ("quay.io/openshift/origin-cli:4.17", ["linux/amd64", "linux/arm64"], Status.MANUAL),
        ("quay.io/openshift/origin-cli:4.17", ["linux/amd64"], Status.PASS),
        ("r.example:5000/tools/kubectl:1", ["linux/arm64"], Status.PASS),
        (None, ["linux/arm64"], Status.PASS),
    ],
)
def test_a_kubectl_image_of_one_platform_is_named(image: str | None, platforms: list[str], status: Status) -> None:
    finding = kubectl_image.platforms(image, [Platform.parse(text) for text in platforms])
    assert finding.status is status

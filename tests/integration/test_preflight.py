"""A preflight asks a real registry, with TLS and passwords, for every image, and with the login of the pull secret."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundler.effects.registry.endpoint import Access, Connection, Destination, TlsSettings
from bundler.model.findings import Finding
from bundler.model.progress import SilentProgress
from bundler.steps.install.preflight import run as preflight
from bundler.steps.install.preflight.run import PreflightOptions
from bundler.steps.install.release import Release
from bundler.steps.transport import push
from bundler.steps.transport.push import PushOptions
from tests.support import registries
from tests.support.certificates import Authority
from tests.support.fake_cluster import FakeCluster
from tests.support.registries import RunningRegistry
from tests.unit.test_install import core, made
from tests.unit.test_preflight import WITH_PULL_SECRET

pytestmark = pytest.mark.integration
USER, PASSWORD = "puller", "correct horse"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("bundle"), WITH_PULL_SECRET)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def registry(tmp_path: Path, authority: Authority) -> Iterator[RunningRegistry]:
    with registries.running(
        tmp_path / "registry", tls=authority.server(), authority=authority, logins={USER: PASSWORD}
    ) as running:
        yield running


@pytest.fixture
def access(tmp_path: Path, authority: Authority, registry: RunningRegistry) -> Access:
    logins = registries.auth_file(tmp_path / "auth.json", {registry.address: (USER, PASSWORD)})
    connection = Connection(auth_file=logins, environment={}, attempts=1)
    return Access(connection, TlsSettings((authority.pair.certificate,)))


def looked(bundle: Path, registry: RunningRegistry, access: Access, password: str = PASSWORD) -> dict[str, Finding]:
    login = base64.b64encode(f"{USER}:{password}".encode()).decode()
    config = json.dumps({"auths": {registry.address: {"auth": login}}})
    cluster = FakeCluster()
    cluster.put(
        core(
            "Secret",
            "pull",
            type="kubernetes.io/dockerconfigjson",
            data={".dockerconfigjson": base64.b64encode(config.encode()).decode()},
        )
    )
    options = PreflightOptions(access)
    found = preflight.run(Release.of(bundle, f"{registry.address}/site"), options, cluster, SilentProgress())
    assert login not in json.dumps(found.to_json())
    return {one.check: one for one in found.findings}


def push_all(bundle: Path, registry: RunningRegistry, access: Access) -> None:
    destination = Destination.parse(f"{registry.address}/site")
    push.run(bundle, PushOptions(destination, access), SilentProgress())


def test_images_that_were_pushed_are_found_and_others_named(
    bundle: Path, registry: RunningRegistry, access: Access
) -> None:
    before = looked(bundle, registry, access)
    assert before["images"].status.value == "fail"
    assert all(" is not there" in line for line in before["images"].evidence)
    push_all(bundle, registry, access)
    after = looked(bundle, registry, access)
    assert (after["images"].status.value, after["pull-secret-feast/pull"].status.value) == ("pass", "pass")


def test_a_pull_secret_with_a_wrong_password_is_found_though_ours_is_right(
    bundle: Path, registry: RunningRegistry, access: Access
) -> None:
    push_all(bundle, registry, access)
    found = looked(bundle, registry, access, password="hunter2")
    assert found["images"].status.value == "pass"
    assert found["pull-secret-feast/pull"].status.value == "fail"
    assert any("401" in line or "refuse" in line.lower() for line in found["pull-secret-feast/pull"].evidence)


def test_a_registry_that_is_gone_is_a_finding_and_no_crash(
    bundle: Path, registry: RunningRegistry, access: Access
) -> None:
    registry.stop()
    assert looked(bundle, registry, access)["images"].status.value == "fail"

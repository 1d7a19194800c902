"""What a rehearsal runs is read from manifests as the operator, the kubelet and a site would read them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

import pytest

from bundler.effects.certificates import CertificateAuthority
from bundler.errors import SpecError, UsageError
from bundler.feast.deployment.wiring import FILE_VARIABLE
from bundler.feast.emulation import local_config, store_servers
from bundler.steps.rehearsal import feature_stores, filled_manifests, options, routes
from bundler.steps.rehearsal.feature_stores import EmulatedFeatureStore
from tests.unit import manifest_cases

AUTHORITY = CertificateAuthority(dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc))
BARE = """
apiVersion: feast.dev/v1
kind: FeatureStore
metadata: {name: sample, namespace: here}
spec:
  feastProject: sample
  services:
    disableInitContainers: true
    onlineStore: {server: {image: some}}
"""


def emulated(texts: Mapping[str, str], version: str = "0.61.0", **values: str) -> list[EmulatedFeatureStore]:
    found = filled_manifests.interpret(manifest_cases.parsed(texts), version, "", values, AUTHORITY)
    return [feature_stores.emulate(resource, found, "image") for resource in found.resources]


@pytest.mark.parametrize("wiring", manifest_cases.WIRINGS)
@pytest.mark.parametrize("version", ["0.61.0", "0.66.0"])
def test_every_wiring_connects_to_the_same_servers(wiring: str, version: str) -> None:
    texts = manifest_cases.topology("minimal", version, wiring)
    (feature_store,) = emulated(texts, version, DB_USER="ada", DB_PASSWORD="one", REDIS_PASSWORD="two")
    if wiring == "mounted":  # the whole file is filled in on the site; the template has it as it was baked
        assert feature_store.config["project"] == "driver_stats"
    needs = store_servers.needed(feature_store.config, ())
    assert [(one.kind, one.host, one.port) for one in needs.servers] == [
        ("postgres", "postgres.stores", 5432),
        ("redis", "redis.stores", 6379),
    ]
    assert needs.unknown == ()


def test_a_shared_registry_starts_first_and_its_clients_trust_the_rehearsals_authority() -> None:
    first, *clients = emulated(manifest_cases.topology("enterprise-shared", "0.61.0", "mounted"))
    assert first.pod.name == "feast-driver-stats"
    assert {client.pod.namespace for client in clients} == {"team-a", "team-b"}
    for client in clients:
        assert client.objects.config_maps["registry-ca"] == {"ca.crt": AUTHORITY.pem}
        assert local_config.authentication(client.config) == "kubernetes"


def test_variables_get_words_that_are_the_same_wherever_they_are_used() -> None:
    (feature_store,) = emulated(manifest_cases.render())
    filled = feature_store.objects.secrets["driver-stats-credentials"]
    assert all(filled.values())
    (account,) = store_servers.needed(feature_store.config, ()).servers[0].accounts
    assert (account.user, account.password) == (filled["DB_USER"], filled["DB_PASSWORD"])


def test_a_local_config_is_read_by_every_container_but_repairs_nothing() -> None:
    (feature_store,) = emulated(manifest_cases.render())
    changed = feature_stores.with_local_config(feature_store, file_stores=True)
    for container in changed.pod.containers:
        assert FILE_VARIABLE in {variable.name for variable in container.variables}
    assert changed.config["online_store"] == {"type": "sqlite", "path": "/feast-data/online_store.db"}
    (lost,) = emulated({"featurestore.yaml": BARE})
    assert not feature_stores.finds_configuration(lost.pod)
    assert feature_stores.with_local_config(lost, file_stores=True) == lost


def test_manifests_without_a_feature_store_cannot_be_rehearsed() -> None:
    with pytest.raises(SpecError, match="no FeatureStore"):
        filled_manifests.interpret(manifest_cases.parsed({"a.yaml": "kind: Secret"}), "0.61.0", "", {}, AUTHORITY)
    with pytest.raises(SpecError, match=r"b\.yaml: not YAML"):
        filled_manifests.interpret(manifest_cases.parsed({"b.yaml": "a: [1"}), "0.61.0", "", {}, AUTHORITY)


def test_services_have_addresses_of_their_own_and_short_names_only_at_home() -> None:
    found = emulated(manifest_cases.topology("enterprise-shared", "0.61.0", "mounted"))
    found_routes = routes.routes({routes.key(feature_store.pod): feature_store.services for feature_store in found}, [])
    assert len({route.address for route in found_routes}) == len(found_routes)
    assert all(route.address.startswith("127.0.") for route in found_routes)
    registry = next(route for route in found_routes if route.short == "feast-driver-stats-registry")
    assert registry.namespace == "feast"
    assert "feast-driver-stats-registry.feast.svc.cluster.local" in registry.hosts
    assert registry.short not in registry.hosts


def test_values_are_read_from_lines_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "values.env"
    file.write_text("# comment\n\nNAME=a=b \n")
    assert options.read_values(file) == {"NAME": "a=b "}
    file.write_text("NAME=1\nnonsense\n")
    with pytest.raises(UsageError, match=r"values\.env:2"):
        options.read_values(file)
    with pytest.raises(UsageError, match="Cannot read"):
        options.read_values(tmp_path / "absent")

"""The pods of a FeatureStore, as the operator makes them and the kubelet starts them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import SpecError
from bundler.feast.emulation import kubelet, pods
from bundler.feast.emulation.container import Mount
from bundler.feast.emulation.kubelet import ClusterObjects, Variable, VariableSource
from bundler.feast.emulation.pods import OperatorImages, Pod
from bundler.feast.operator.capabilities import Capabilities
from bundler.model.descriptor import Json
from tests.unit import manifest_cases

IMAGES = OperatorImages("quay.example/feature-server:0.61.0", "quay.example/cli:4.17")
OLD, NEW = Capabilities.for_version("0.61.0"), Capabilities.for_version("0.66.0")
SERVER: dict[str, Any] = {"image": "baked:1"}


def store(services: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """Return a FeatureStore."""
    return {
        "metadata": {"name": "sample", "namespace": "ns"},
        "spec": {"feastProject": "rides", **({"services": services} if services is not None else {}), **spec},
    }


def pod(document: dict[str, Any], known: Capabilities = OLD, objects: ClusterObjects | None = None) -> Pod:
    return pods.pod(document, objects or ClusterObjects(), known, IMAGES)


def variables(made: Pod, name: str) -> dict[str, str]:
    container = next(one for one in (*made.init_containers, *made.containers) if one.name == name)
    return kubelet.environment(container.sources, container.variables, ClusterObjects(), made.fields)


# --- what the kubelet does --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$A ${A} $(A", "$A ${A} $(A"),
        ("$(date -u +'%Y')", "$(date -u +'%Y')"),
        ("$$", "$"),
        ("$", "$"),
        ("$()", "$()"),
    ],
)
def test_references_are_expanded_as_kubernetes_does(text: str, expected: str) -> None:
    assert kubelet.expand(text, {"A": "1"}) == expected


@given(st.text(alphabet="$()AB x"))
def test_what_was_escaped_comes_out_as_it_was(text: str) -> None:
    assert kubelet.expand(text.replace("$", "$$"), {"A": "1", "": "2"}) == text


def test_variables_see_sources_and_earlier_variables_but_not_later_ones() -> None:
    objects = ClusterObjects({"credentials": {"USER": "ada", "not a name": "x"}}, {"settings": {"USER": "bob"}})
    sources = (VariableSource("secret", "credentials", "DB_"), VariableSource("configMap", "settings"))
    wanted = (Variable("URL", "$(DB_USER)@$(HOST)"), Variable("HOST", "db"), Variable("BACK", "$(URL)"))
    found = kubelet.environment(sources, wanted, objects, {})
    assert found == {"DB_USER": "ada", "USER": "bob", "URL": "ada@$(HOST)", "HOST": "db", "BACK": "ada@$(HOST)"}


def test_a_variable_from_a_secret_is_not_expanded() -> None:
    objects = ClusterObjects({"s": {"k": "$(A)$$"}})
    row = Variable("B", source={"secretKeyRef": {"name": "s", "key": "k"}})
    assert kubelet.environment((), (Variable("A", "1"), row), objects, {})["B"] == "$(A)$$"


def test_a_missing_secret_keeps_the_pod_waiting_unless_it_is_optional() -> None:
    with pytest.raises(SpecError, match='secret "gone" not found'):
        kubelet.environment((VariableSource("secret", "gone"),), (), ClusterObjects(), {})
    assert kubelet.environment((VariableSource("secret", "gone", optional=True),), (), ClusterObjects(), {}) == {}


def test_a_missing_key_keeps_the_pod_waiting() -> None:
    row = Variable("A", source={"secretKeyRef": {"name": "s", "key": "gone"}})
    with pytest.raises(SpecError, match="couldn't find key gone"):
        kubelet.environment((), (row,), ClusterObjects({"s": {}}), {})


def test_fields_of_the_pod_and_nothing_else_of_the_cluster_are_known() -> None:
    asked = Variable("NS", source={"fieldRef": {"fieldPath": "metadata.namespace"}})
    assert kubelet.environment((), (asked,), ClusterObjects(), pod(store()).fields) == {"NS": "ns"}
    unknown = Variable("NODE", source={"fieldRef": {"fieldPath": "status.hostIP"}})
    with pytest.raises(SpecError, match="NODE"):
        kubelet.environment((), (unknown,), ClusterObjects(), {})


def test_files_of_volumes() -> None:
    objects = ClusterObjects({"s": {"a": "1", "b": "2"}}, {"c": {"ca.crt": "pem"}})
    assert kubelet.volume_files({"secret": {"secretName": "s"}}, objects) == {"a": "1", "b": "2"}
    chosen: dict[str, Json] = {"secret": {"secretName": "s", "items": [{"key": "a", "path": "x/y"}]}}
    assert kubelet.volume_files(chosen, objects) == {"x/y": "1"}
    assert kubelet.volume_files({"configMap": {"name": "c"}}, objects) == {"ca.crt": "pem"}
    assert kubelet.volume_files({"emptyDir": {}}, objects) == {}
    assert kubelet.volume_files({"hostPath": {"path": "/"}}, objects) is None
    with pytest.raises(SpecError, match="no key"):
        kubelet.volume_files({"secret": {"secretName": "s", "items": [{"key": "z", "path": "x"}]}}, objects)


# --- servers ----------------------------------------------------------------------------------------------------------


def test_a_bare_feature_store_is_one_online_server_of_the_operators_image() -> None:
    (online,) = pod(store()).containers
    assert (online.name, online.image) == ("online", IMAGES.feature_server)
    assert " ".join(online.command) == "feast serve -h 0.0.0.0 -p 6566"
    assert online.working_folder == "/feast-data/rides/feature_repo"
    assert online.probe
    assert (online.probe.port, online.probe.path, online.probe.time_limit) == (6566, "/health", 120)


def test_containers_come_in_the_operators_order_whatever_the_order_of_the_keys() -> None:
    registry = {"local": {"server": SERVER}}
    made = pod(store({"ui": SERVER, "offlineStore": {"server": SERVER}, "onlineStore": {}, "registry": registry}))
    assert [one.name for one in made.containers] == ["registry", "online", "offline", "ui"]
    assert [one.command[1] for one in made.containers] == ["serve_registry", "serve", "serve_offline", "ui"]
    assert made.exec_target.name == "registry"


def test_exec_goes_to_the_first_container_or_to_the_annotated_one() -> None:
    assert pod(store({})).exec_target.name == "online"
    annotated = {"podAnnotations": {"kubectl.kubernetes.io/default-container": "ui"}, "ui": SERVER}
    assert pod(store(annotated), NEW).exec_target.name == "ui"


def test_an_online_server_that_is_disabled_is_made_by_releases_that_cannot_disable_it() -> None:
    document = store({"onlineStore": {"disabled": True}, "registry": {"local": {"server": SERVER}}})
    assert [one.name for one in pod(document, NEW).containers] == ["registry"]
    assert [one.name for one in pod(document, OLD).containers] == ["registry", "online"]


def test_commands_carry_level_metrics_workers_and_tls() -> None:
    server = {
        "logLevel": "debug",
        "metrics": True,
        "workerConfigs": {"registryTTLSeconds": 5, "workers": 4},
        "tls": {"secretRef": {"name": "cert"}, "secretKeyNames": {"tlsKey": "k.pem"}},
    }
    (online,) = pod(store({"onlineStore": {"server": server}})).containers
    assert " ".join(online.command) == (
        "feast --log-level DEBUG serve --metrics -h 0.0.0.0 --workers 4 --registry_ttl_sec 5"
        " --key /tls/online/k.pem --cert /tls/online/tls.crt -p 6567"
    )
    assert online.ports == {"online": 6567, "metrics": 8000}
    assert online.probe
    assert online.probe.tls


@pytest.mark.parametrize(
    ("settings", "command", "port", "path"),
    [
        ({}, "--grpc -p 6570", 6570, None),
        ({"restAPI": True}, "--grpc --rest-api --rest-port 6572 -p 6570", 6570, None),
        ({"grpc": False, "restAPI": True}, "--no-grpc --rest-api --rest-port 6572 -p 6570", 6572, "/"),
        ({"tls": {"disable": True}}, "--grpc -p 6570", 6570, None),
    ],
)
def test_the_registry_server_speaks_what_it_is_asked_to(
    settings: dict[str, Any], command: str, port: int, path: str | None
) -> None:
    registry = pod(store({"registry": {"local": {"server": settings}}})).containers[0]
    assert " ".join(registry.command) == f"feast serve_registry {command}"
    assert registry.probe
    assert (registry.probe.port, registry.probe.path) == (port, path)


def test_openshift_gives_tls_to_every_server_that_does_not_refuse_it() -> None:
    services = {"ui": {"tls": {"disable": True}}, "registry": {"local": {"server": {}}}}
    made = pods.pod(store(services), ClusterObjects(), OLD, IMAGES, openshift=True)
    ports = [one.command[-1] for one in made.containers]
    assert ports == ["6571", "6567", "8888"]
    assert made.volumes["online-tls"] == {"secret": {"secretName": "feast-sample-online-tls"}}


def test_the_generated_file_comes_first_so_that_variables_can_refer_to_it() -> None:
    server = {"env": [{"name": "FEATURE_STORE_YAML_BASE64", "value": "$(TMP_FEATURE_STORE_YAML_BASE64)"}]}
    found = variables(pod(store({"onlineStore": {"server": server}})), "online")
    assert list(found) == ["TMP_FEATURE_STORE_YAML_BASE64", "FEATURE_STORE_YAML_BASE64"]
    config = yaml.safe_load(base64.b64decode(found["FEATURE_STORE_YAML_BASE64"]))
    assert config["online_store"] == {"path": "/feast-data/online_store.db", "type": "sqlite"}


def test_a_variable_of_the_same_name_takes_the_place_of_the_generated_file() -> None:
    server = {"env": [{"name": "A", "value": "1"}, {"name": "TMP_FEATURE_STORE_YAML_BASE64", "value": "own"}]}
    found = variables(pod(store({"onlineStore": {"server": server}})), "online")
    assert list(found.items()) == [("TMP_FEATURE_STORE_YAML_BASE64", "own"), ("A", "1")]


def test_a_store_secret_that_is_missing_means_no_pod() -> None:
    persistence = {"store": {"type": "redis", "secretRef": {"name": "gone"}}}
    with pytest.raises(SpecError, match="gone"):
        pod(store({"onlineStore": {"persistence": persistence}}))


# --- folders and volumes ----------------------------------------------------------------------------------------------


def test_every_container_has_the_empty_folder_that_hides_what_the_image_has_there() -> None:
    made = pod(store({"ui": SERVER}))
    assert made.volumes == {"feast-data": {"emptyDir": {}}}
    assert all([mount.path for mount in one.mounts] == ["/feast-data"] for one in made.containers)


def test_claims_on_all_three_stores_leave_no_empty_folder() -> None:
    def claimed(path: str) -> dict[str, Any]:
        return {"persistence": {"file": {"pvc": {"mountPath": path, "create": {}}}}}

    services = {"onlineStore": claimed("/on"), "offlineStore": claimed("/off"), "registry": {"local": claimed("/reg")}}
    made = pod(store(services))
    assert made.volumes["online-data"] == {"persistentVolumeClaim": {"claimName": "feast-sample-online"}}
    (online,) = made.containers
    assert [mount.path for mount in online.mounts] == ["/off", "/on", "/reg"]
    assert online.working_folder == "/off/rides/feature_repo"
    assert [mount.path for mount in made.init_containers[0].mounts] == ["/off"]


def test_a_packaged_repo_is_the_working_folder_only_without_init_containers() -> None:
    packaged = {"feastProjectDir": {"packaged": {"image": "baked:1", "featureRepoPath": "/opt/feast/feature_repo"}}}
    bare = pod(store({"disableInitContainers": True}, **packaged), NEW)
    assert (bare.containers[0].working_folder, bare.containers[0].image) == ("/opt/feast/feature_repo", "baked:1")
    staged = pod(store({}, **packaged), NEW)
    assert staged.containers[0].working_folder == "/feast-data/rides/feature_repo"
    older = pod(store({"disableInitContainers": True}, **packaged), OLD)
    assert older.containers[0].working_folder == "/feast-data/rides/feature_repo"


def test_the_certificate_of_a_remote_registry_is_in_every_container() -> None:
    remote = {"hostname": "r:443", "tls": {"configMapRef": {"name": "ca"}, "certName": "ca.crt"}}
    made = pod(store({"registry": {"remote": remote}, "ui": SERVER}))
    assert made.volumes["registry-tls"] == {"configMap": {"name": "ca"}}
    assert all("/tls/registry/" in [mount.path for mount in one.mounts] for one in made.containers)


def test_volumes_of_the_user_are_in_the_pod_and_mounted_where_they_are_listed() -> None:
    mount = {"name": "fs", "mountPath": "/etc/feast", "readOnly": True}
    services = {
        "volumes": [{"name": "fs", "secret": {"secretName": "s"}}],
        "onlineStore": {"server": {"volumeMounts": [mount]}},
        "ui": SERVER,
    }
    made = pod(store(services))
    assert made.volumes["fs"] == {"secret": {"secretName": "s"}}
    online, web = made.containers
    assert online.mounts[0] == Mount("fs", "/etc/feast", read_only=True)
    assert [one.path for one in web.mounts] == ["/feast-data"]


# --- init containers --------------------------------------------------------------------------------------------------


def test_disabled_init_containers_leave_the_folder_empty() -> None:
    made = pod(store({"disableInitContainers": True}))
    assert made.init_containers == ()
    assert made.containers[0].working_folder == "/feast-data/rides/feature_repo"


def test_older_releases_fill_the_repo_from_the_operators_own_image() -> None:
    services = {"onlineStore": {"server": SERVER}}
    (init,) = pod(store(services, feastProjectDir={"init": {"minimal": True}})).init_containers
    assert (init.name, init.image, init.working_folder) == ("feast-init", IMAGES.feature_server, "/feast-data")
    assert "feast init -m rides" in init.arguments[0]
    assert "/feast-data/rides/feature_repo/feature_store.yaml" in init.arguments[0]


def test_a_clone_is_configured_and_checked_out() -> None:
    git = {"url": "https://git.example/r.git", "ref": "v1", "configs": {"a.b": "c"}, "featureRepoPath": "repo"}
    made = pod(store({}, feastProjectDir={"git": git}))
    assert (
        "git -c a.b=c clone https://git.example/r.git /feast-data/rides && cd /feast-data/rides && git checkout v1"
        in (made.init_containers[0].arguments[0])
    )
    assert made.containers[0].working_folder == "/feast-data/rides/repo"


def test_later_releases_also_apply_with_the_variables_of_all_servers_but_the_web_interface() -> None:
    later = Capabilities.for_version("0.62.0")
    services = {
        "onlineStore": {
            "server": {"env": [{"name": "A", "value": "online"}], "envFrom": [{"secretRef": {"name": "s"}}]}
        },
        "ui": {"env": [{"name": "B", "value": "ui"}]},
    }
    _, apply = pod(store(services), later).init_containers
    assert (apply.command, apply.variables) == (("feast", "apply"), (Variable("A", "online"),))
    assert apply.sources == (VariableSource("secret", "s"),)
    assert len(pod(store({**services, "runFeastApplyOnInit": False}), later).init_containers) == 1


def test_the_image_of_init_containers_is_the_one_named_or_the_packaged_one() -> None:
    packaged = {"feastProjectDir": {"packaged": {"image": "baked:1", "featureRepoPath": "/opt/repo"}}}
    assert pod(store({}, **packaged), NEW).init_containers[0].image == "baked:1"
    assert pod(store({"initImage": "init:1"}, **packaged), NEW).init_containers[0].image == "init:1"
    assert pod(store({}), NEW).init_containers[0].image == IMAGES.feature_server


# --- services and CronJob ---------------------------------------------------------------------------------------------


def test_services_lead_to_the_ports_that_are_open() -> None:
    registry = {"local": {"server": {"restAPI": True, "tls": {"secretRef": {"name": "c"}}}}}
    found = pods.services(store({"registry": registry, "onlineStore": {}}), OLD)
    assert [(one.host, one.port, one.target) for one in found] == [
        ("feast-sample-registry.ns.svc.cluster.local", 443, 6571),
        ("feast-sample-registry-rest.ns.svc.cluster.local", 443, 6573),
        ("feast-sample-online.ns.svc.cluster.local", 80, 6566),
    ]


def test_there_is_a_cron_job_even_where_nothing_is_said_of_it() -> None:
    run = pods.cron_run(store(), OLD, IMAGES)
    assert (run.image, run.schedule, run.suspended, run.account) == (IMAGES.cron_job, "@yearly", True, "feast-sample")
    assert run.commands[0] == "feast apply"
    assert run.commands[1].startswith("feast materialize-incremental $(date")


def test_the_cron_job_has_the_image_commands_and_variables_that_it_is_given() -> None:
    configs = {"image": "kubectl:1", "commands": ["feast apply"], "env": [{"name": "A", "value": "1"}]}
    run = pods.cron_run(store(cronJob={"schedule": "@daily", "containerConfigs": configs}), NEW, IMAGES)
    assert (run.image, run.commands, run.account) == ("kubectl:1", ("feast apply",), "feast-sample-cronjob")
    assert run.variables == (Variable("A", "1"),)
    assert not run.suspended


# --- what this program emits ------------------------------------------------------------------------------------------


def emitted() -> Iterator[Any]:
    for name in manifest_cases.TOPOLOGIES:
        for wiring in manifest_cases.WIRINGS:
            for version in manifest_cases.VERSIONS.values():
                yield pytest.param(name, wiring, version, id=f"{name}-{wiring}-{version}")


@pytest.mark.parametrize(("name", "wiring", "version"), list(emitted()))
def test_every_server_of_every_topology_is_led_to_one_repo(name: str, wiring: str, version: str) -> None:
    files = manifest_cases.topology(name, version, wiring)
    documents = [one for text in files.values() for one in yaml.safe_load_all(text)]
    objects = ClusterObjects(
        {one["metadata"]["name"]: one["stringData"] for one in documents if one["kind"] == "Secret"},
        {one["metadata"]["name"]: one.get("data", {}) for one in documents if one["kind"] == "ConfigMap"},
    )
    known = Capabilities.for_version(version)
    found = [one for one in documents if one["kind"] == "FeatureStore"]
    assert found
    for document in found:
        made = pods.pod(document, objects, known, IMAGES)
        for container in made.containers:
            values = kubelet.environment(container.sources, container.variables, objects, made.fields)
            repo = values.get("FEATURE_REPO_DIR_ENV_VAR", container.working_folder)
            file = values.get("FEAST_FS_YAML_FILE_PATH", f"{repo}/feature_store.yaml")
            filled = [init.arguments[0] for init in made.init_containers]
            assert repo == "/opt/feast/feature_repo" or (known.packaged and "packaged" in str(document) and filled)
            if file.startswith("/feast-data"):
                assert wiring == "operator"
                assert filled
            elif wiring == "mounted":
                assert file == "/etc/feast/feature_store.yaml"
                assert "feature-store-yaml" in [mount.volume for mount in container.mounts]
        assert all(mount.volume in made.volumes for one in made.containers for mount in one.mounts)

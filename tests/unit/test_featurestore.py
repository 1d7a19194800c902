"""What each setting of the spec becomes, and which combinations are refused with which reason."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from bundler.errors import SpecError
from bundler.feast.deployment import topology
from bundler.feast.operator import validation
from bundler.feast.operator.capabilities import Capabilities
from bundler.render import manifests
from tests.unit import manifest_cases as cases
from tests.unit.operator_manifests import real_crd

OLD, NEW = "0.61.0", "0.66.0"
FILES = "project: p\nregistry: {path: /data/registry.db}\nonline_store: {path: /data/online.db}\n"
POSTGRES = "offline_store: {type: postgres, host: h, port: 5432}\n"


def store(version: str = NEW, text: str = cases.FEATURE_STORE, **deployment: Any) -> Any:
    """Return the spec of the FeatureStore, which the release's real CRD accepts."""
    resource = yaml.safe_load(cases.render(version, text, **deployment)["featurestore.yaml"])
    release = {known: folder for folder, known in cases.VERSIONS.items()}.get(version)
    if release:
        assert validation.problems(resource, real_crd(release)) == ()
    return resource["spec"]


def refused(version: str = NEW, text: str = cases.FEATURE_STORE, **deployment: Any) -> str:
    with pytest.raises(SpecError) as caught:
        cases.render(version, text, **deployment)
    return "\n".join([caught.value.problem, *caught.value.details])


# --- servers ----------------------------------------------------------------------------------------------------------


def test_every_server_that_is_asked_for_runs_the_same_image_with_the_same_environment() -> None:
    servers = {"offline": {}, "ui": {}, "registry": {"restAPI": True}}
    services = store(OLD, cases.FEATURE_STORE, servers=servers)["services"]
    found = [
        services["registry"]["local"]["server"],
        services["onlineStore"]["server"],
        services["offlineStore"]["server"],
        services["ui"],
    ]
    assert services["registry"]["local"]["server"]["restAPI"] is True
    for key in ("image", "env", "envFrom", "imagePullPolicy"):
        assert all(server[key] == found[0][key] for server in found)


def test_a_server_can_be_left_out() -> None:
    assert "server" not in store(servers={"registry": None})["services"]["registry"]["local"]


def test_settings_of_one_server_are_that_servers() -> None:
    workers = {"workers": -1, "workerConnections": 100, "registryTTLSeconds": 30}
    mounts = [{"name": "models", "mountPath": "/models"}]
    online = {
        "logLevel": "debug",
        "env": {"GREETING": "$(NOT_EXPANDED) $$"},
        "nodeSelector": {"disk": "ssd"},
        "metrics": True,
        "workers": workers,
        "volumeMounts": mounts,
        "resources": {"limits": {"memory": "3Gi"}},
    }
    services = store(
        servers={"online": online},
        resources={"requests": {"cpu": "1"}},
        volumes=[{"name": "models", "emptyDir": {}}],
    )["services"]
    server = services["onlineStore"]["server"]
    assert server["workerConfigs"] == workers
    assert (server["logLevel"], server["metrics"], server["nodeSelector"]) == ("debug", True, {"disk": "ssd"})
    # Kubernetes would expand $(NAME) and halve $$.
    assert server["env"] == [{"name": "GREETING", "value": "$$(NOT_EXPANDED) $$$$"}]
    assert server["volumeMounts"] == mounts
    assert server["resources"] == {"limits": {"memory": "3Gi"}}
    assert services["registry"]["local"]["server"]["resources"] == {"requests": {"cpu": "1"}}
    assert services["volumes"] == [{"name": "models", "emptyDir": {}}]


def test_a_variable_of_the_spec_cannot_lead_a_server_elsewhere() -> None:
    servers = {"online": {"env": {"FEATURE_REPO_DIR_ENV_VAR": "/tmp"}}}
    server = store(OLD, servers=servers)["services"]["onlineStore"]["server"]
    assert server["env"] == [{"name": "FEATURE_REPO_DIR_ENV_VAR", "value": "/opt/feast/feature_repo"}]


# --- pod --------------------------------------------------------------------------------------------------------------


def test_pods_scale_by_number_or_by_load() -> None:
    assert store(scaling={"replicas": 3})["replicas"] == 3
    autoscaling = {"minReplicas": 2, "maxReplicas": 5, "cpuUtilization": 60}
    scaled = store(scaling={"autoscaling": autoscaling}, resources={"requests": {"cpu": "1"}})["services"]["scaling"]
    assert scaled["autoscaling"]["maxReplicas"] == 5
    assert scaled["autoscaling"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 60


def test_an_offline_store_that_is_only_feasts_default_does_not_keep_pods_from_scaling() -> None:
    assert "offlineStore" not in store(scaling={"replicas": 2})["services"]


def test_what_the_newest_release_has_is_passed_on() -> None:
    tolerations = [{"key": "gpu", "operator": "Exists"}]
    spec = store(
        "0.67.0",
        tolerations=tolerations,
        podAnnotations={"team": "a"},
        securityContext={"runAsNonRoot": True},
        disruptionBudget={"maxUnavailable": "50%"},
        scaling={"replicas": 2},
    )
    services = spec["services"]
    assert services["tolerations"] == tolerations
    assert services["podAnnotations"] == {"team": "a"}
    assert services["securityContext"] == {"runAsNonRoot": True}
    assert services["podDisruptionBudgets"] == {"maxUnavailable": "50%"}


def test_a_batch_engine_is_a_config_map() -> None:
    files = cases.render(NEW, batchEngine={"config": {"type": "spark.engine", "partitions": 2}})
    [config_map] = yaml.safe_load_all(files["configmaps.yaml"])
    assert yaml.safe_load(config_map["data"]["config"]) == {"type": "spark.engine", "partitions": 2}
    name = config_map["metadata"]["name"]
    engine = yaml.safe_load(files["featurestore.yaml"])["spec"]["batchEngine"]
    assert engine == {"configMapRef": {"name": name}, "configMapKey": "config"}


def test_the_cron_job_takes_deadlines_history_and_what_to_run() -> None:
    cron = {
        "startingDeadlineSeconds": 60,
        "activeDeadlineSeconds": 600,
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": 3600,
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 2,
        "apply": False,
        "views": ["driver_hourly", "rides"],
        "resources": {"limits": {"memory": "64Mi"}},
    }
    found = store(cronJob=cron)["cronJob"]
    assert found["jobSpec"] == {"activeDeadlineSeconds": 600, "backoffLimit": 0, "ttlSecondsAfterFinished": 3600}
    assert (found["startingDeadlineSeconds"], found["failedJobsHistoryLimit"]) == (60, 2)
    assert found["containerConfigs"]["resources"] == {"limits": {"memory": "64Mi"}}
    [command] = found["containerConfigs"]["commands"]
    assert command.startswith("feast materialize-incremental --views driver_hourly --views rides $(date ")


# --- volumes, TLS, authorization --------------------------------------------------------------------------------------


def test_file_stores_can_lie_on_volumes() -> None:
    claim = {"mountPath": "/data", "size": "5Gi", "storageClass": "fast", "accessModes": ["ReadWriteMany"]}
    services = store(
        text=FILES.replace("/data/registry.db", "/registry/registry.db"),
        onlineStore={"volume": claim},
        registry={"volume": {"mountPath": "/registry", "claim": "mine"}},
    )["services"]
    create = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "5Gi"}},
    }
    assert services["onlineStore"]["persistence"]["file"] == {
        "path": "online.db",
        "pvc": {"mountPath": "/data", "create": create},
    }
    assert services["registry"]["local"]["persistence"]["file"] == {
        "path": "registry.db",
        "pvc": {"mountPath": "/registry", "ref": {"name": "mine"}},
    }
    assert services["securityContext"] == {"fsGroup": 0}


def test_two_stores_need_two_folders() -> None:
    volume = {"volume": {"mountPath": "/data"}}
    assert "/data is named for two stores" in refused(text=FILES, onlineStore=volume, registry=volume)


def test_the_group_of_volumes_may_be_another_and_is_openshifts_own_there() -> None:
    online: dict[str, Any] = {
        "text": FILES.replace("/data/registry.db", "/feast-data/registry.db"),
        "onlineStore": {"volume": {"mountPath": "/data"}},
    }
    context = {"fsGroup": 2000, "runAsNonRoot": True}
    assert store(**online, securityContext=context)["services"]["securityContext"] == context
    assert store(**online, securityContext={"runAsNonRoot": True})["services"]["securityContext"] == {
        "fsGroup": 0,
        "runAsNonRoot": True,
    }
    assert "securityContext" not in store(**online, openshift=True)["services"]


@pytest.mark.parametrize(
    ("budget", "named"),
    [
        ({"minAvailable": 2}, "2 of 2 pods must stay"),
        ({"minAvailable": "100%"}, "100% of 2 pods must stay"),
        ({"minAvailable": "51%"}, "51% of 2 pods must stay"),
        ({"maxUnavailable": 0}, "no pod may ever go"),
        ({"maxUnavailable": "0%"}, "no pod may ever go"),
    ],
)
def test_a_budget_that_never_lets_a_node_be_drained_is_refused(budget: dict[str, Any], named: str) -> None:
    assert named in refused(scaling={"replicas": 2}, disruptionBudget=budget)


@pytest.mark.parametrize("budget", [{"minAvailable": 1}, {"minAvailable": "50%"}, {"maxUnavailable": "1%"}])
def test_a_budget_that_lets_one_go_is_taken(budget: dict[str, Any]) -> None:
    assert store(scaling={"replicas": 2}, disruptionBudget=budget)["services"]["podDisruptionBudgets"] == budget


def test_a_credential_of_the_batch_engine_is_refused_and_its_variable_filled_in() -> None:
    config = {"type": "spark.engine", "spark_conf": {"password": "hunter2"}}
    said = refused(batchEngine={"config": config})
    assert "batchEngine.config.spark_conf.password" in said
    assert "hunter2" not in said
    config["spark_conf"] = {"password": "${SPARK_PASSWORD}"}
    files = cases.render(NEW, batchEngine={"config": config})
    assert "SPARK_PASSWORD" in files["secrets/driver-stats-credentials.yaml"]


def test_two_servers_do_not_answer_for_one_host() -> None:
    hosts = {"online": "f.example", "registry-rest": "f.example"}
    assert "f.example is named for two servers" in refused(
        ingress={"hosts": hosts}, servers={"registry": {"restAPI": True}}
    )


def test_the_sites_secret_is_not_also_one_of_ours() -> None:
    said = refused(
        wiring="operator", credentialsSecret="feast-data-stores", onlineStore={"secret": "feast-data-stores"}
    )
    assert "would both have the Secret feast-data-stores" in said


def test_tls_is_the_sites_certificate_or_openshifts_own() -> None:
    files = cases.render(NEW, tls={})
    server = yaml.safe_load(files["featurestore.yaml"])["spec"]["services"]["onlineStore"]["server"]
    assert server["tls"] == {"secretRef": {"name": "driver-stats-tls"}}
    template = yaml.safe_load(files["secrets/driver-stats-tls.yaml"])
    assert (template["type"], template["stringData"]) == ("kubernetes.io/tls", {"tls.crt": "", "tls.key": ""})
    assert "feast-driver-stats-online.feast.svc.cluster.local" in files["secrets/driver-stats-tls.yaml"]
    assert "tls" not in store(tls={}, openshift=True)["services"]["onlineStore"]["server"]
    assert store(openshift=True)["services"]["onlineStore"]["server"]["tls"] == {"disable": True}


def test_oidc_has_a_secret_to_fill_in_with_what_the_release_needs() -> None:
    text = cases.FEATURE_STORE + "auth: {type: oidc}\n"
    auth = {"type": "oidc", "oidc": {"secret": "provider"}}
    files = cases.render(OLD, text, auth=auth)
    assert yaml.safe_load(files["featurestore.yaml"])["spec"]["authz"] == {"oidc": {"secretRef": {"name": "provider"}}}
    assert list(yaml.safe_load(files["secrets/provider.yaml"])["stringData"]) == [
        "auth_discovery_url",
        "client_id",
        "client_secret",
        "password",
        "username",
    ]
    issuer = {"secret": "provider", "issuerUrl": "https://id.example", "verifySSL": True, "caConfigMap": "ca"}
    newer = cases.render(NEW, text, auth={"type": "oidc", "oidc": issuer})
    assert list(yaml.safe_load(newer["secrets/provider.yaml"])["stringData"]) == ["client_id", "client_secret"]
    assert store(text=text, auth={"type": "oidc", "oidc": issuer})["authz"]["oidc"] == {
        "secretRef": {"name": "provider"},
        "issuerUrl": "https://id.example",
        "verifySSL": True,
        "caCertConfigMap": {"name": "ca", "key": "ca.crt"},
    }


def test_kubernetes_roles_are_named() -> None:
    text = cases.FEATURE_STORE + "auth: {type: kubernetes}\n"
    assert store(text=text, auth={"type": "kubernetes", "roles": ["reader"]})["authz"] == {
        "kubernetes": {"roles": ["reader"]}
    }


# --- network ----------------------------------------------------------------------------------------------------------


def policies(version: str = NEW, **deployment: Any) -> dict[str, Any]:
    files = cases.render(version, **deployment)
    return {
        document["metadata"]["name"].removeprefix("feast-driver-stats-"): document["spec"]
        for document in yaml.safe_load_all(files["networkpolicies.yaml"])
    }


def test_everything_is_denied_and_then_what_feast_needs_is_allowed() -> None:
    stores = [{"cidr": "10.0.0.0/8", "ports": [5432]}, {"ports": [6379]}]
    asked = {"clients": ["scoring"], "stores": stores, "apiServer": ["10.9.0.1/32"]}
    found = policies(networkPolicies=asked, servers={"online": {"metrics": True}})
    assert found["deny-all"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    [clients] = found["clients"]["ingress"]
    assert [port["port"] for port in clients["ports"]] == [6566, 6570, 8000]
    assert clients["from"][1]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "scoring"}
    assert found["stores"]["egress"] == [
        {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"protocol": "TCP", "port": 5432}]},
        {"ports": [{"protocol": "TCP", "port": 6379}]},
    ]
    assert found["api"]["egress"][0]["to"] == [{"ipBlock": {"cidr": "10.9.0.1/32"}}]
    assert {port["port"] for port in found["dns"]["egress"][0]["ports"]} == {53, 5353}


def test_an_ingress_leads_to_the_services_of_the_operator() -> None:
    files = cases.render(NEW, tls={}, ingress={**cases.INGRESS, "annotations": {"a": "b"}})
    [ingress] = yaml.safe_load_all(files["entrances.yaml"])
    [rule] = ingress["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert (rule["host"], backend) == (
        "features.internal.example",
        {"name": "feast-driver-stats-online", "port": {"number": 443}},
    )
    assert ingress["spec"]["tls"] == [{"hosts": ["features.internal.example"], "secretName": "features-tls"}]
    assert ingress["metadata"]["annotations"] == {"a": "b"}


@pytest.mark.parametrize(("tls", "termination"), [({}, "reencrypt"), (None, "edge")])
def test_openshift_has_routes(tls: Any, termination: str) -> None:
    files = cases.render(NEW, tls=tls, openshift=True, ingress=cases.INGRESS)
    [route] = yaml.safe_load_all(files["entrances.yaml"])
    assert route["kind"] == "Route"
    assert route["spec"]["tls"]["termination"] == termination
    assert route["spec"]["to"]["name"] == "feast-driver-stats-online"


def test_prometheus_is_served_by_the_operator_or_before_that_by_a_service_monitor() -> None:
    asked = {"serviceMonitor": True, "openTelemetry": {"endpoint": "http://collector:4317"}}
    old = cases.render(OLD, observability={**asked, "labels": {"release": "prometheus"}})
    [monitor] = yaml.safe_load_all(old["servicemonitor.yaml"])
    assert monitor["metadata"]["labels"] == {"release": "prometheus"}
    assert monitor["spec"]["selector"] == {"matchLabels": {"feast.dev/name": "driver-stats"}}
    new = cases.render(NEW, observability=asked)
    assert "servicemonitor.yaml" not in new
    for files in (old, new):
        server = yaml.safe_load(files["featurestore.yaml"])["spec"]["services"]["onlineStore"]["server"]
        assert server["metrics"] is True
        assert {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4317"} in server["env"]


# --- what cannot work -------------------------------------------------------------------------------------------------

CPU = {"requests": {"cpu": "1"}}
AUTOSCALED = {"autoscaling": {"minReplicas": 2, "maxReplicas": 3}}
TWO_FILES = "project: p\nregistry: {path: /r.db}\nonline_store: {path: /o.db}\noffline_store: {type: duckdb}\n"


@pytest.mark.parametrize(
    ("version", "text", "deployment", "reason"),
    [
        (NEW, TWO_FILES, {"scaling": {"replicas": 2}}, "feature_store.yaml:3: online_store is a file (sqlite)"),
        (NEW, TWO_FILES, {"scaling": {"replicas": 2}}, "feature_store.yaml:4: offline_store is a file (duckdb)"),
        (NEW, TWO_FILES, {"scaling": {"replicas": 2}}, "feature_store.yaml:2: registry is a file (file)"),
        (OLD, cases.FEATURE_STORE.replace("redis\n", "scylladb\n"), {"scaling": {"replicas": 2}}, "cannot be told of"),
        ("0.60.0", cases.FEATURE_STORE, {"scaling": {"replicas": 2}}, "deployment.scaling: this release"),
        ("0.59.0", cases.FEATURE_STORE, {"batchEngine": {"config": {"type": "x"}}}, "deployment.batchEngine: this"),
        (NEW, cases.FEATURE_STORE, {"tolerations": [{"key": "a"}]}, "deployment.tolerations: this release"),
        (OLD, cases.FEATURE_STORE, {"podAnnotations": {"a": "b"}}, "deployment.podAnnotations: this release"),
        (NEW, cases.FEATURE_STORE, {"scaling": AUTOSCALED}, "the server online requests no CPU"),
        (
            NEW,
            cases.FEATURE_STORE,
            {"scaling": AUTOSCALED, "resources": CPU, "disruptionBudget": {"minAvailable": 2}},
            "2 of 2 pods must stay",
        ),
        (
            NEW,
            cases.FEATURE_STORE,
            {"scaling": {"autoscaling": {"minReplicas": 2}}, "resources": CPU},
            "scaling.autoscaling.maxReplicas: is missing",
        ),
        (NEW, cases.FEATURE_STORE, {"disruptionBudget": {"minAvailable": 1}}, "one pod cannot stay"),
        (NEW, FILES, {"onlineStore": {"volume": {"mountPath": "/feast-data"}}}, "does not lie directly in the volume"),
        (
            NEW,
            FILES.replace("/data/", "/feast-data/"),
            {"onlineStore": {"volume": {"mountPath": "/feast-data/"}}},
            "mounts an empty volume at /feast-data itself",
        ),
        (
            NEW,
            FILES.replace("/data/", "/opt/feast/"),
            {"registry": {"volume": {"mountPath": "/opt/feast"}}},
            "would hide the feature repo",
        ),
        (
            NEW,
            cases.FEATURE_STORE,
            {"onlineStore": {"volume": {"mountPath": "/d"}}},
            "a store of type redis is not a file",
        ),
        (
            NEW,
            cases.FEATURE_STORE,
            {"auth": {"type": "kubernetes"}},
            "deployment.auth.type is kubernetes, but feature_store.yaml:1: auth, which counts, is no_auth",
        ),
        (NEW, cases.FEATURE_STORE + "auth: {type: oidc}\n", {}, "names no Secret with the provider's properties"),
        (
            OLD,
            cases.FEATURE_STORE + "auth: {type: oidc}\n",
            {"auth": {"type": "oidc", "oidc": {"secret": "s", "issuerUrl": "https://x"}}},
            "deployment.auth.oidc.issuerUrl: this release",
        ),
        (NEW, cases.FEATURE_STORE, {"topology": "standard"}, "the standard topology is reached from outside"),
        (NEW, cases.FEATURE_STORE, {"networkPolicies": {}}, "no store could be reached"),
        (
            NEW,
            cases.FEATURE_STORE,
            {"networkPolicies": {"stores": [{"ports": [1]}]}, "ingress": cases.INGRESS},
            "name the namespace of the ingress controller",
        ),
        (NEW, cases.FEATURE_STORE, {"ingress": {"hosts": {"ui": "h"}}}, "hosts.ui: there is no such server"),
        (NEW, cases.FEATURE_STORE, {"ingress": {"hosts": {"registry-rest": "h"}}}, "needs servers: {registry:"),
        (
            NEW,
            cases.FEATURE_STORE,
            {"ingress": {"hosts": {"ui": "h"}}, "servers": {"ui": {}}, "openshift": True},
            "the operator makes this Route itself",
        ),
        (NEW, cases.FEATURE_STORE, {"topology": "enterprise-shared"}, "is for tenants, and there are none"),
        (
            NEW,
            cases.FEATURE_STORE,
            {"observability": {"serviceMonitor": True, "labels": {"a": "b"}}},
            "makes the ServiceMonitor itself",
        ),
        (
            NEW,
            cases.FEATURE_STORE.replace("redis\n", "remote\n"),
            {"wiring": "operator"},
            "the operator cannot generate a online store of type remote",
        ),
        (
            NEW,
            cases.FEATURE_STORE.replace("local\n", "aws\n"),
            {"wiring": "operator"},
            "provider: feature_store.yaml has 'aws', the operator generates 'local'",
        ),
        (
            NEW,
            cases.FEATURE_STORE + "flags: {alpha_features: true}\n",
            {"wiring": "operator"},
            "flags: feature_store.yaml has {'alpha_features': True}, the operator generates None",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(
    version: str, text: str, deployment: dict[str, Any], reason: str
) -> None:
    assert reason in refused(version, text, **deployment)


def test_every_reason_is_given_at_once() -> None:
    found = refused(NEW, TWO_FILES, scaling={"replicas": 2}, tolerations=[{"key": "a"}])
    assert "cannot work, for 4 reasons" in found


# --- topologies and tenants -------------------------------------------------------------------------------------------


def deployment(**written: Any) -> Any:
    [member] = topology.members(cases.spec(**written))
    return member.deployment


def test_a_preset_is_overridden_field_by_field() -> None:
    found = deployment(topology="standard", scaling={"autoscaling": {"maxReplicas": 4}})
    assert (found.scaling.autoscaling.min_replicas, found.scaling.autoscaling.max_replicas) == (2, 4)
    assert found.scaling.autoscaling.cpu_utilization == 70
    assert found.disruption_budget.min_available == 1


def test_an_alternative_replaces_what_the_preset_has() -> None:
    found = deployment(topology="standard", scaling={"replicas": 3}, disruptionBudget={"maxUnavailable": 1})
    assert (found.scaling.replicas, found.scaling.autoscaling) == (3, None)
    assert (found.disruption_budget.max_unavailable, found.disruption_budget.min_available) == (1, None)


def test_null_takes_a_part_of_the_preset_away() -> None:
    found = deployment(topology="enterprise-isolated", tls=None, networkPolicies=None, scaling=None)
    assert (found.tls, found.network_policies, found.scaling) == (None, None, None)


def test_the_presets_are_those_of_the_guide() -> None:
    standard, enterprise = (deployment(topology=name) for name in ("standard", "enterprise-isolated"))
    assert [
        (
            one.scaling.autoscaling.min_replicas,
            one.scaling.autoscaling.max_replicas,
            one.scaling.autoscaling.cpu_utilization,
        )
        for one in (standard, enterprise)
    ] == [(2, 10, 70), (3, 20, 65)]
    assert enterprise.disruption_budget.min_available == 2
    assert (enterprise.auth.type, enterprise.network_policies.clients) == ("kubernetes", ())


def test_an_override_that_contradicts_the_preset_is_refused_with_the_place() -> None:
    with pytest.raises(SpecError) as caught:
        deployment(topology="standard", scaling={"autoscaling": {"minReplicas": 11}})
    assert caught.value.details == ("scaling.autoscaling: minReplicas 11 is more than maxReplicas 10",)


def tenants(teams: list[dict[str, Any]], **deployment: Any) -> Any:
    asked = cases.with_tenants(cases.spec(NEW, **deployment), teams)
    return cases.texts(manifests.render(asked, cases.config(), cases.IMAGES, Capabilities.for_version(NEW)))


def test_tenants_take_what_they_do_not_say_from_the_deployment() -> None:
    files = tenants(
        [{"name": "a", "cronJob": {"schedule": "@daily"}}, {"name": "b", "namespace": "both"}],
        imagePullPolicy="Always",
        cronJob={"suspend": True},
    )
    one, other = (yaml.safe_load(files[f"{name}/featurestore.yaml"]) for name in ("a", "b"))
    assert (one["metadata"]["namespace"], other["metadata"]["namespace"]) == ("a", "both")
    assert (one["spec"]["cronJob"]["schedule"], one["spec"]["cronJob"]["suspend"]) == ("@daily", True)
    assert all(x["spec"]["services"]["onlineStore"]["server"]["imagePullPolicy"] == "Always" for x in (one, other))
    assert "secrets/a/a-credentials.yaml" in files
    assert [found["metadata"]["name"] for found in yaml.safe_load_all(files["namespace.yaml"])] == ["a", "both"]


def test_a_shared_registry_has_the_one_ui_and_no_features_of_its_own() -> None:
    files = cases.topology("enterprise-shared", NEW, "mounted")
    registry = yaml.safe_load(files["driver-stats/featurestore.yaml"])["spec"]
    assert registry["services"]["onlineStore"]["disabled"] is True
    assert "ui" in registry["services"]
    assert registry["cronJob"]["suspend"] is True
    for team in cases.TEAMS:
        spec = yaml.safe_load(files[f"{team}/featurestore.yaml"])["spec"]
        assert "ui" not in spec["services"]
        assert spec["services"]["registry"]["remote"]["hostname"] == cases.SHARED_ADDRESS
        assert spec["feastProject"] == team.replace("-", "_")


def test_openshift_injects_the_authority_that_tenants_check_the_registry_with() -> None:
    files = cases.topology("enterprise-shared", NEW, "mounted", openshift=True, tls={"caConfigMap": None})
    [config_map] = yaml.safe_load_all(files["team-a/configmaps.yaml"])
    assert config_map["metadata"]["annotations"] == {"service.beta.openshift.io/inject-cabundle": "true"}
    tls = yaml.safe_load(files["team-a/featurestore.yaml"])["spec"]["services"]["registry"]["remote"]["tls"]
    assert tls == {"configMapRef": {"name": "team-a-service-ca"}, "certName": "service-ca.crt"}


def test_without_tls_tenants_use_the_plain_port() -> None:
    files = cases.topology("enterprise-shared", NEW, "operator", tls=None)
    remote = yaml.safe_load(files["team-a/featurestore.yaml"])["spec"]["services"]["registry"]["remote"]
    assert remote == {"hostname": "feast-driver-stats-registry.feast.svc.cluster.local:80"}


@pytest.mark.parametrize(
    ("teams", "deployment", "reason"),
    [
        ([{"name": "a"}, {"name": "a", "namespace": "other"}], {}, "the name a occurs twice"),
        ([{"name": "driver-stats"}], {"topology": "enterprise-shared"}, "the name driver-stats occurs twice"),
        (
            [{"name": "a", "project": "other"}],
            {},
            "shares the image but not its feature_store.yaml: project would differ",
        ),
        ([{"name": "a", "repo": {"path": "a"}}], {}, "has a repo of its own, which was not built"),
        (
            [{"name": "a", "namespace": "n"}, {"name": "b", "namespace": "n"}],
            {"onlineStore": {"secret": "same"}},
            "a and b would both have the Secret same in n",
        ),
        (
            [{"name": "a", "namespace": "n"}, {"name": "b", "namespace": "n"}],
            {"credentialsSecret": "same"},
            "a and b would both have the Secret same in n",
        ),
    ],
)
def test_tenants_that_would_get_into_each_others_way_are_refused(
    teams: list[dict[str, Any]], deployment: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SpecError) as caught:
        tenants(teams, **deployment)
    assert reason in "\n".join([caught.value.problem, *caught.value.details])


def test_a_tenants_own_file_must_name_the_shared_registry() -> None:
    asked = cases.spec(NEW, topology="enterprise-shared", networkPolicies=None, tls=None)
    spec = cases.with_tenants(asked, [{"name": "a", "repo": {"path": "a"}}])
    own = {"a": manifests.Baked(cases.config(cases.KUBERNETES_AUTH), cases.IMAGES)}
    with pytest.raises(SpecError) as caught:
        manifests.render(
            spec, cases.config(cases.KUBERNETES_AUTH), cases.IMAGES, Capabilities.for_version(NEW), own=own
        )
    [reason] = caught.value.details
    assert reason.endswith(
        "needs {registry_type: remote, path: feast-driver-stats-registry.feast.svc.cluster.local:80}."
    )

"""What a bundle's manifests say, for each release of the operator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.errors import SpecError
from bundler.feast.operator import generated_config as operator_config
from bundler.feast.operator import validation
from bundler.feast.operator.capabilities import Capabilities
from bundler.feast.operator.images import image_references
from bundler.feast.rules import advice
from bundler.model.findings import Status
from bundler.model.reference import ImageRef
from bundler.model.spec import Operator
from bundler.render import manifests
from tests.unit import manifest_cases as cases
from tests.unit.operator_manifests import real_crd
from tests.unit.test_yaml_text import TEXTS

OLM = {"version": "0.66.0", "preinstalled": True}
OLD, NEW = "0.61.0", "0.66.0"


def resource(files: Mapping[str, str]) -> Any:
    return yaml.safe_load(files["featurestore.yaml"])


def servers(store: Any) -> list[Any]:
    services = store["spec"]["services"]
    return [services["registry"]["local"]["server"], services["onlineStore"]["server"]]


GOLDEN = [pytest.param(golden, files, id=f"{golden.parent.name}/{golden.stem}") for golden, files in cases.cases()]


@pytest.mark.parametrize(("golden", "files"), GOLDEN)
def test_the_manifests_are_the_golden_ones(golden: Path, files: Mapping[str, str]) -> None:
    assert cases.joined(files) == golden.read_text(encoding="utf-8"), "see tests/unit/manifest_cases.py"


def feature_stores(files: Mapping[str, str]) -> list[Any]:
    return [yaml.safe_load(text) for path, text in files.items() if path.endswith("featurestore.yaml")]


@pytest.mark.parametrize(("golden", "files"), GOLDEN)
def test_the_real_crd_accepts_them(golden: Path, files: Mapping[str, str]) -> None:
    assert feature_stores(files)
    for store in feature_stores(files):
        assert validation.problems(store, real_crd(golden.stem)) == ()


@pytest.mark.parametrize(("golden", "files"), GOLDEN)
def test_nothing_that_is_known_to_go_wrong_is_in_them(golden: Path, files: Mapping[str, str]) -> None:
    for store in feature_stores(files):
        findings = advice.advise(store, Capabilities.for_version(cases.VERSIONS[golden.stem]))
        assert {finding.check: finding.evidence for finding in findings if finding.status is Status.FAIL} == {}


@pytest.mark.parametrize(("golden", "files"), GOLDEN)
def test_the_operator_generates_from_the_store_secrets_what_is_baked(golden: Path, files: Mapping[str, str]) -> None:
    known = Capabilities.for_version(cases.VERSIONS[golden.stem])
    for path, text in files.items():
        folder, _, name = path.rpartition("/")
        if name != "featurestore.yaml":
            continue
        secrets = {
            secret["metadata"]["name"]: secret["stringData"]
            for secret in yaml.safe_load_all(files.get(f"{folder}/store-secrets.yaml".lstrip("/"), ""))
        }
        generated = operator_config.generate(yaml.safe_load(text), secrets, known)
        baked = yaml.safe_load(cases.baked_text(golden.parent.name, folder))
        assert operator_config.differences(baked, generated) == ()


def test_no_reference_to_another_registry_is_in_any_of_them() -> None:
    for golden, files in cases.cases():
        named = {one for file in cases.parsed(files).values() for one in image_references(file.documents)}
        assert {ImageRef.parse(one).registry for one in named} == {"registry.internal.example:5000"}, golden


# --- wiring: the baked feature_store.yaml is what every server reads --------------------------------------------------


def test_an_old_operators_servers_are_all_led_to_the_baked_repo() -> None:
    store = resource(cases.render(OLD))
    assert store["spec"]["services"]["disableInitContainers"] is True
    for server in servers(store):
        assert server["env"] == [{"name": "FEATURE_REPO_DIR_ENV_VAR", "value": "/opt/feast/feature_repo"}]


def test_a_new_operator_is_told_that_the_repo_is_packaged() -> None:
    store = resource(cases.render(NEW))
    assert store["spec"]["services"]["disableInitContainers"] is True
    assert store["spec"]["feastProjectDir"] == {
        "packaged": {"image": cases.IMAGES.feature_server, "featureRepoPath": "/opt/feast/feature_repo"}
    }
    assert all("env" not in server for server in servers(store))


@pytest.mark.parametrize("version", ["0.59.0", "0.60.0", "0.62.0", "0.65.0", *cases.VERSIONS.values()])
def test_the_project_folder_is_always_said_so_that_no_demo_repo_is_applied(version: str) -> None:
    assert len(resource(cases.render(version))["spec"]["feastProjectDir"]) == 1


@pytest.mark.parametrize("version", cases.VERSIONS.values())
def test_every_server_has_image_by_digest_pull_policy_and_credentials(version: str) -> None:
    for server in servers(resource(cases.render(version, imagePullPolicy="Always"))):
        assert server["image"] == cases.IMAGES.feature_server
        assert server["imagePullPolicy"] == "Always"
        assert server["envFrom"] == [{"secretRef": {"name": "driver-stats-credentials"}}]


def test_authorization_is_explicit_in_the_form_that_the_release_has() -> None:
    assert "authz" not in resource(cases.render(OLD))["spec"]
    assert resource(cases.render(NEW))["spec"]["authz"] == {"noAuth": True}
    text = cases.FEATURE_STORE + "auth:\n  type: kubernetes\n"
    assert resource(cases.render(OLD, text))["spec"]["authz"] == {"kubernetes": {}}


def test_the_cron_job_runs_kubectls_image_and_applies_before_it_materializes() -> None:
    cron = {"schedule": "@daily", "timeZone": "Europe/Berlin", "concurrencyPolicy": "Replace", "suspend": True}
    found = resource(cases.render(cronJob=cron))["spec"]["cronJob"]
    containers = found.pop("containerConfigs")
    assert found == cron
    assert containers["image"] == cases.IMAGES.kubectl
    assert [command.split()[:2] for command in containers["commands"]] == [
        ["feast", "apply"],
        ["feast", "materialize-incremental"],
    ]


# --- accounts and Secrets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "accounts"),
    [(OLD, ["feast-driver-stats"]), (NEW, ["feast-driver-stats", "feast-driver-stats-cronjob"])],
)
def test_every_account_that_starts_pods_has_the_pull_secrets(version: str, accounts: list[str]) -> None:
    found = list(yaml.safe_load_all(cases.render(version)["serviceaccounts.yaml"]))
    assert [account["metadata"]["name"] for account in found] == accounts
    assert all(account["imagePullSecrets"] == [{"name": "registry-credentials"}] for account in found)
    assert manifests.service_accounts(cases.spec(version), Capabilities.for_version(version)) == tuple(accounts)


def test_store_secrets_hold_the_baked_parameters_and_only_placeholders() -> None:
    secrets = {
        secret["metadata"]["name"]: secret["stringData"]
        for secret in yaml.safe_load_all(cases.render()["store-secrets.yaml"])
    }
    baked = yaml.safe_load(cases.FEATURE_STORE)
    assert {name: list(data) for name, data in secrets.items()} == {
        "driver-stats-registry": ["sql"],
        "driver-stats-online-store": ["redis"],
    }
    registry = yaml.safe_load(secrets["driver-stats-registry"]["sql"])
    online = yaml.safe_load(secrets["driver-stats-online-store"]["redis"])
    assert {"registry_type": "sql", **registry} == baked["registry"]
    assert {"type": "redis", **online} == baked["online_store"]


def test_the_secret_to_fill_in_names_every_variable_and_is_not_in_the_kustomization() -> None:
    files = cases.render()
    [path] = [path for path in files if path.startswith("secrets/")]
    assert yaml.safe_load(files[path])["stringData"] == {"DB_PASSWORD": "", "DB_USER": "", "REDIS_PASSWORD": ""}
    assert path not in yaml.safe_load(files["kustomization.yaml"])["resources"]


def test_the_kustomization_makes_the_accounts_before_the_feature_store() -> None:
    resources = yaml.safe_load(cases.render()["kustomization.yaml"])["resources"]
    assert resources == ["namespace.yaml", "serviceaccounts.yaml", "store-secrets.yaml", "featurestore.yaml"]


def test_names_of_secrets_can_be_chosen() -> None:
    files = cases.render(credentialsSecret="creds", onlineStore={"secret": "stores"}, registry={"secret": "stores"})
    assert "secrets/creds.yaml" in files
    [stores] = yaml.safe_load_all(files["store-secrets.yaml"])
    assert (stores["metadata"]["name"], list(stores["stringData"])) == ("stores", ["sql", "redis"])


def test_two_stores_of_one_type_in_one_secret_get_keys_of_their_own() -> None:
    stores = "online_store: {type: postgres, host: a}\noffline_store: {type: postgres, host: b}\n"
    text = f"project: p\nregistry: /r.db\n{stores}"
    files = cases.render(text=text, onlineStore={"secret": "pg"}, offlineStore={"secret": "pg"})
    [secret] = yaml.safe_load_all(files["store-secrets.yaml"])
    assert secret["stringData"] == {"postgres": "host: a\n", "offline.postgres": "host: b\n"}
    offline = resource(files)["spec"]["services"]["offlineStore"]["persistence"]["store"]
    assert offline == {"type": "postgres", "secretRef": {"name": "pg"}, "secretKeyName": "offline.postgres"}


# --- stores -----------------------------------------------------------------------------------------------------------


def test_file_stores_are_said_by_path() -> None:
    text = (
        "project: p\nregistry: {path: s3://bucket/r.db, cache_mode: thread}\nonline_store: {path: /feast-data/o.db}\n"
    )
    services = resource(cases.render(text=text))["spec"]["services"]
    assert services["onlineStore"]["persistence"] == {"file": {"path": "/feast-data/o.db"}}
    assert services["registry"]["local"]["persistence"] == {
        "file": {"path": "s3://bucket/r.db", "cache_mode": "thread"}
    }
    assert "offlineStore" not in services


def test_a_remote_registry_has_no_server_of_its_own() -> None:
    text = "project: p\nregistry: {registry_type: remote, path: host:80}\nonline_store: {path: /feast-data/o.db}\n"
    assert resource(cases.render(text=text))["spec"]["services"]["registry"] == {"remote": {"hostname": "host:80"}}


@pytest.mark.parametrize("kind", ["aerospike", "remote", "my_package.MyStore"])
def test_a_store_that_the_release_cannot_be_told_of_is_left_to_the_baked_file(kind: str) -> None:
    text = f"project: p\nregistry: {{path: /r.db}}\nonline_store: {{type: {kind}}}\n"
    assert "persistence" not in resource(cases.render(OLD, text))["spec"]["services"]["onlineStore"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "registry: data/registry.db\nonline_store: {path: /o.db}",
            "feature_store.yaml:2: registry.path: 'data/registry.db' is relative",
        ),
        (
            "registry: {path: /r.db}\nonline_store: {type: sqlite}",
            "feature_store.yaml:3: online_store.path: 'data/online.db' is relative",
        ),
        ("registry: {path: /r.db}", "feature_store.yaml:1: online_store.path: 'data/online.db' is relative"),
        (
            "registry: /r.db\nonline_store: {path: /o.db}\noffline_store: {type: postgres, port: '5432'}",
            "feature_store.yaml:4: offline_store.port: '5432' is not a number",
        ),
        (
            "registry: {registry_type: remote}\nonline_store: {path: /o.db}",
            "feature_store.yaml:2: registry.path: None does not name",
        ),
        (
            "registry: /r.db\nonline_store: {path: /o.db}\nauth: {type: magic}",
            "feature_store.yaml:4: auth.type: 'magic'",
        ),
        (
            "registry: /r.db\nonline_store:\n  type: redis\n  password: hunter2",
            "feature_store.yaml:5: online_store.password",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_the_place(text: str, problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        cases.render(text=f"project: p\n{text}\n")
    said = "\n".join((caught.value.problem, *caught.value.details))
    assert problem in said
    assert "hunter2" not in said


# --- templates --------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(["driver-stats", "yes", "null", "e1", "on"]), text=TEXTS, key=TEXTS)
def test_no_value_of_a_feature_store_is_changed_by_a_template(kind: str, text: str, key: str) -> None:
    store = {"project": "p", "registry": {"path": "/r.db"}, "online_store": {"type": "redis", key: text}}
    files = cases.render(text=yaml.safe_dump(store), name=kind, namespace=kind)
    assert resource(files)["metadata"] == {"name": kind, "namespace": kind}
    [secret] = yaml.safe_load_all(files["store-secrets.yaml"])
    written = yaml.safe_load(secret["stringData"]["redis"])
    expected = {name: value for name, value in store["online_store"].items() if name != "type"}  # type: ignore[attr-defined]
    assert written == expected


@settings(max_examples=20, deadline=None)
@given(images=st.tuples(TEXTS, TEXTS, TEXTS))
def test_no_reference_is_changed_by_a_template(images: tuple[str, str, str]) -> None:
    for version in (OLD, NEW):
        files = manifests.render(
            cases.spec(version), cases.config(), manifests.DeploymentImages(*images), Capabilities.for_version(version)
        )
        store = resource(cases.texts(files))
        assert servers(store)[0]["image"] == images[0]
        assert store["spec"]["cronJob"]["containerConfigs"]["image"] == images[1]


def test_an_operators_manifest_is_passed_through_and_its_account_gets_the_pull_secret() -> None:
    known = Capabilities.for_version(OLD)
    files = cases.texts(manifests.render(cases.spec(), cases.config(), cases.IMAGES, known, "kind: Namespace\n"))
    assert files["operator/install.yaml"] == "kind: Namespace\n"
    [patch] = yaml.safe_load(files["operator/kustomization.yaml"])["patches"]
    assert yaml.safe_load(patch["patch"])[0]["value"] == [{"name": "registry-credentials"}]
    assert next(iter(files)).startswith("operator/")


def test_an_operator_that_olm_installed_is_told_of_the_images_by_its_subscription() -> None:
    asked = cases.spec(NEW).model_copy(
        update={"operator": Operator.model_validate({**OLM, "subscription": {"name": "feast", "namespace": "olm"}})}
    )
    files = cases.texts(manifests.render(asked, cases.config(), cases.IMAGES, Capabilities.for_version(NEW)))
    patch = yaml.safe_load(files["operator/subscription-patch.yaml"])
    assert patch["metadata"] == {"name": "feast", "namespace": "olm"}
    assert {row["name"]: row["value"] for row in patch["spec"]["config"]["env"]} == {
        "RELATED_IMAGE_FEATURE_SERVER": cases.IMAGES.feature_server,
        "RELATED_IMAGE_CRON_JOB": cases.IMAGES.kubectl,
    }


# --- every template, with texts that YAML reads otherwise -------------------------------------------------------------

MAPPINGS = st.dictionaries(TEXTS, TEXTS, max_size=3)


@settings(max_examples=30, deadline=None)
@given(texts=st.tuples(TEXTS, TEXTS), mapping=MAPPINGS, labels=MAPPINGS)
def test_no_setting_is_changed_by_a_template(
    texts: tuple[str, str], mapping: dict[str, str], labels: dict[str, str]
) -> None:
    one, other = texts
    volume: Any = {"name": one, "configMap": {"name": other, "items": [{"key": one, "path": other}]}}
    deployment: Any = {
        "topology": "enterprise-isolated",
        "wiring": "mounted",
        "networkPolicies": cases.STORES,
        "servers": {"online": {"env": mapping, "volumeMounts": [volume], "nodeSelector": labels}, "ui": {}},
        "podAnnotations": mapping,
        "volumes": [volume],
        "tolerations": [volume],
        "securityContext": volume,
        "batchEngine": {"config": {**mapping, "type": one}},
        "ingress": {**cases.INGRESS, "annotations": mapping},
        "observability": {"openTelemetry": {"endpoint": one, "serviceName": f"x{other}"}},
        "cronJob": {"timeZone": f"x{one}"},
    }
    files = cases.render("0.67.0", cases.KUBERNETES_AUTH, **deployment)
    spec = resource(files)["spec"]
    services = spec["services"]
    server = services["onlineStore"]["server"]
    env = {row["name"]: row["value"].replace("$$", "$") for row in server["env"]}
    assert {name: env[name] for name in mapping} == mapping
    assert services.get("podAnnotations", {}) == mapping
    assert services["volumes"][1:] == services["tolerations"] == server["volumeMounts"][1:] == [volume]
    assert server.get("nodeSelector", {}) == labels
    assert spec["cronJob"]["timeZone"] == f"x{one}"
    [ingress] = yaml.safe_load_all(files["entrances.yaml"])
    assert ingress["metadata"].get("annotations", {}) == mapping
    [engine] = yaml.safe_load_all(files["configmaps.yaml"])
    assert yaml.safe_load(engine["data"]["config"]) == {**mapping, "type": one}


def test_tenants_have_the_topology_of_the_deployment_and_no_host_of_another() -> None:
    teams: list[dict[str, Any]] = [{"name": team} for team in cases.TEAMS]
    asked = cases.spec("0.66.0", wiring="operator", ingress=cases.INGRESS)
    known = Capabilities.for_version("0.66.0")

    def render(tenants: list[dict[str, Any]]) -> None:
        manifests.render(cases.with_tenants(asked, tenants), cases.config(), cases.IMAGES, known)

    with pytest.raises(SpecError, match="team-a and team-b would both have the host"):
        render(teams)
    with pytest.raises(SpecError, match="tenants: team-b: topology: all FeatureStores"):
        render([teams[0], {**teams[1], "topology": "standard"}])
    with pytest.raises(SpecError, match="kubectl: all CronJobs of a bundle"):
        render([teams[0], {**teams[1], "cronJob": {"kubectl": {"debian": "trixie"}}}])
    render([teams[0], {**teams[1], "ingress": None}])

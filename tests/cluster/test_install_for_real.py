"""From the tar in an empty folder to an installed feature store: bundler.pyz on a bare Python, kubectl, a registry.

API server, etcd, kubectl and docker-registry are real, and there is no network but loopback. Operator, controllers and
kubelet are played (tests/support/operator_stand_in.py): no container runs. The CRD is the operator's own without what a
server of 1.20 does not know: CEL rules, and empty texts as defaults.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from bundler.effects.archive.reader import Bundle
from bundler.model import layout
from tests.support import api_server, operator_stand_in, pythons, registries
from tests.support.api_server import BUILT, RunningApi
from tests.support.registries import RunningRegistry
from tests.unit.operator_manifests import real_manifest

VALUES = "".join(
    f"{key}=x-{key.lower()}\n"
    for key in ("POSTGRES_HOST", "POSTGRES_PASSWORD", "POSTGRES_USER", "REDIS_HOST", "REDIS_PASSWORD")
)
# What a site that installs operators of its own has; the only finding of preflight that this server cannot satisfy.
TOO_OLD = "version"


class Site:
    """A person at the bastion host: a folder with the tar and what came out of it, a bare Python, kubectl."""

    def __init__(self, folder: Path, api: RunningApi, registry: RunningRegistry) -> None:
        self.folder, self.api, self.registry = folder, api, registry
        self.python = _oldest()
        (folder / "values.env").write_text(VALUES)
        logins = {registry.address: {"auth": "eDp5"}}
        (folder / "logins.json").write_text(json.dumps({"auths": logins}))

    @property
    def target(self) -> str:
        return f"{self.registry.address}/site/feast"

    def command(self, name: str, version: str, *arguments: str, kubeconfig: Path | None = None) -> list[str]:
        bundle = self.folder / f"driver-stats-{version}.bundle.tar"
        program = self.folder / layout.OFFLINE_PROGRAM
        cluster = [] if name in ("verify", "push") else [f"--kubeconfig={kubeconfig or self.api.kubeconfig}"]
        place = [] if name in ("verify", "uninstall") else ["--registry", self.target]
        return [self.python, "-I", "-S", str(program), name, str(bundle), *place, *cluster, *arguments]

    def run(self, name: str, version: str, *arguments: str, status: int = 0, kubeconfig: Path | None = None) -> Any:
        """Run a command of bundler.pyz with no environment but PATH, and return its JSON."""
        command = self.command(name, version, *arguments, "--output", "json", kubeconfig=kubeconfig)
        done = subprocess.run(
            command, cwd=self.folder, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "x-redis_password" not in done.stdout + done.stderr
        return json.loads(done.stdout)

    @property
    def install_arguments(self) -> list[str]:
        credentials = f"driver-stats-credentials={self.folder / 'values.env'}"
        return ["--secret", credentials, "--secret", f"registry-credentials={self.folder / 'logins.json'}"]


def _oldest() -> str:
    return min((version, program) for version, program in pythons.found().items() if version >= (3, 10))[1]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[RunningApi]:
    with api_server.set_up(tmp_path / "api", BUILT / "kube-apiserver") as api:
        yield api


@pytest.fixture
def site(tmp_path: Path, api: RunningApi) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    for bundle in BUILT.glob("*.bundle.tar"):
        shutil.copy(bundle, folder)
    with Bundle.open(folder / "driver-stats-0.1.0.bundle.tar") as opened:
        (folder / layout.OFFLINE_PROGRAM).write_bytes(opened.read(layout.OFFLINE_PROGRAM))
    with registries.running(tmp_path / "registry") as registry:
        yield Site(folder, api, registry)


def add_definitions(api: RunningApi) -> None:
    documents = yaml.load_all(real_manifest("0.61.0").read_text(), Loader=yaml.CSafeLoader)
    definitions = [one for one in documents if one and one["kind"] == "CustomResourceDefinition"]
    for one in definitions:
        _simplify(one)
    api.apply(*definitions)
    deadline = time.monotonic() + 60
    while not (api.serves("/apis/feast.dev/v1/featurestores") and _is_listed(api)):
        assert time.monotonic() < deadline
        time.sleep(0.3)


def _is_listed(api: RunningApi) -> bool:
    """Tell whether the server also says that it has them, which it does a little later."""
    with suppress(AssertionError):
        return '"featurestores"' in api.kubectl("get", "--raw", "/apis/feast.dev/v1")
    return False


def _simplify(value: Any) -> None:
    if isinstance(value, dict):
        value.pop("x-kubernetes-validations", None)
        if value.get("default") == "" and "type" in value:
            del value["default"]
        for child in value.values():
            _simplify(child)
    elif isinstance(value, list):
        for child in value:
            _simplify(child)


def failed(report: Any) -> set[str]:
    return {
        one["check"] for section in report["sections"] for one in section["findings"] if one["status"] == "fail"
    } - {TOO_OLD}


def store_image(api: RunningApi) -> str:
    store = api.get("featurestores.feast.dev", "driver-stats", "--namespace=feast")
    return str(store["spec"]["services"]["onlineStore"]["server"]["image"])


def installed(api: RunningApi, registry: str = "", instead: str = "") -> dict[str, Any]:
    """Return what an install made: everything that it applies, as the server has it, without what a server adds.

    With ``instead`` in the place of ``registry``.
    """
    kinds = "featurestores.feast.dev,namespaces,serviceaccounts,configmaps,roles,rolebindings,networkpolicies"
    found = {}
    for one in api.get(kinds, "--all-namespaces")["items"]:
        metadata = one["metadata"]
        if not metadata.get("namespace", metadata["name"]).startswith(("kube-", "default")):
            for key in ("uid", "resourceVersion", "creationTimestamp", "managedFields", "selfLink", "generation"):
                metadata.pop(key, None)
            one.pop("status", None)
            found[f"{one['kind']} {metadata.get('namespace')} {metadata['name']}"] = one
    text = json.dumps(found)
    return dict(json.loads(text.replace(registry, instead) if registry else text))


class Script:
    """The same person, who trusts nothing but shell: unpacked bundles and install.sh, a cluster and a registry anew."""

    def __init__(self, folder: Path, api: RunningApi, registry: RunningRegistry) -> None:
        self.folder, self.registry = folder, registry
        self.environment = {
            "PATH": os.environ["PATH"],
            "KUBECTL": f"kubectl --kubeconfig={api.kubeconfig}",
            "SKOPEO_OPTIONS": "--dest-tls-verify=false",
            "TIMEOUT": "60s",
        }
        for version in ("0.1.0", "0.2.0"):
            (folder / version).mkdir(parents=True)
            bundle = BUILT / f"driver-stats-{version}.bundle.tar"
            subprocess.run(["tar", "-xf", bundle, "-C", folder / version], check=True)

    def command(self, version: str) -> list[str]:
        return ["sh", str(self.folder / version / "install.sh"), "all", f"{self.registry.address}/site/feast"]

    def run(self, version: str, status: int = 0) -> str:
        done = subprocess.run(self.command(version), env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        return done.stderr


@pytest.fixture
def script(tmp_path: Path, api: RunningApi) -> Iterator[Script]:
    with registries.running(tmp_path / "registry-of-the-script") as registry:
        yield Script(tmp_path / "unpacked", api, registry)


def fill_in_secrets(api: RunningApi) -> None:
    for secret in ("driver-stats-credentials", "registry-credentials"):
        api.apply({**api_secret(secret), "metadata": {"name": secret, "namespace": "feast"}})


def test_the_script_alone_reaches_the_same_result(tmp_path: Path, site: Site, script: Script, api: RunningApi) -> None:
    with (
        api_server.set_up(tmp_path / "other", BUILT / "kube-apiserver") as other,
        other.running(),
        operator_stand_in.operating(other),
    ):
        add_definitions(other)
        by_program = Site(site.folder, other, site.registry)
        by_program.run("push", "0.1.0", "--plain-http")
        by_program.run("install", "0.1.0", *by_program.install_arguments, "--timeout", "60")
        expected = installed(other)
    assert expected.pop("ConfigMap feast bundler-driver-stats")  # what it notes for status, upgrade and uninstall
    assert {"FeatureStore feast driver-stats", "ServiceAccount feast feast-driver-stats"} <= expected.keys()
    unpacked = script.folder / "0.1.0"
    verifier = subprocess.run([site.python, "-I", unpacked / "verify.py", unpacked], capture_output=True, check=False)
    assert verifier.returncode == 0, verifier.stderr
    with api.running(), operator_stand_in.operating(api):
        add_definitions(api)
        # The Secrets are the site's own; the script says which is missing, and stops before the feature store.
        assert "driver-stats-credentials" in script.run("0.1.0", status=8)
        assert api.get("featurestores.feast.dev", "driver-stats", "--namespace=feast") is None
        fill_in_secrets(api)
        script.run("0.1.0")
        assert script.registry.blobs() == site.registry.blobs()
        assert installed(api, script.registry.address, site.registry.address) == expected
        script.run("0.1.0")  # a second time
        assert installed(api, script.registry.address, site.registry.address) == expected
        script.run("0.2.0")
        assert "feature-server:0.2.0" in store_image(api)
        script.run("0.1.0")  # and back
        assert "feature-server:0.1.0" in store_image(api)
        assert installed(api, script.registry.address, site.registry.address) == expected
        api.kubectl("delete", "-k", str(unpacked / "manifests"), "--wait=false")
        deadline = time.monotonic() + 30
        while api.get("featurestores.feast.dev", "driver-stats", "--namespace=feast") is not None:
            assert time.monotonic() < deadline
            time.sleep(0.2)


@pytest.mark.parametrize("after", [0.3, 1.0, 2.0, 3.0])
def test_a_script_that_is_killed_is_finished_by_the_next(script: Script, api: RunningApi, after: float) -> None:
    with api.running(), operator_stand_in.operating(api):
        add_definitions(api)
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "feast"}})
        fill_in_secrets(api)
        with subprocess.Popen(
            script.command("0.1.0"), env=script.environment, stderr=subprocess.DEVNULL, start_new_session=True
        ) as process:
            time.sleep(after)
            os.killpg(process.pid, signal.SIGKILL)
        script.run("0.1.0")
        assert store_image(api).startswith(f"{script.registry.address}/site/feast/driver-stats-feature-server:0.1.0")


def api_secret(name: str) -> dict[str, Any]:
    if name == "registry-credentials":
        content = {".dockerconfigjson": json.dumps({"auths": {}})}
        return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson", "stringData": content}
    values = dict(line.split("=", 1) for line in VALUES.splitlines())
    return {"apiVersion": "v1", "kind": "Secret", "stringData": values}


@pytest.mark.parametrize("after", [0.2, 0.4, 0.8])
def test_a_push_that_is_killed_is_finished_by_the_next(site: Site, after: float) -> None:
    with subprocess.Popen(site.command("push", "0.1.0", "--plain-http"), stderr=subprocess.DEVNULL) as process:
        time.sleep(after)
        process.kill()
    done = site.run("push", "0.1.0", "--plain-http")
    again = site.run("push", "0.1.0", "--plain-http")
    assert again["bytesSent"] == 0, (done, again)


def test_a_registry_that_stops_in_a_push_is_told_and_the_next_push_completes(site: Site) -> None:
    command = site.command("push", "0.1.0", "--plain-http", "--retry-times", "1")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not site.registry.blobs():
            time.sleep(0.01)
        site.registry.stop()
        _, said = process.communicate(timeout=120)
    assert process.returncode == 7, said
    assert site.registry.address in said
    site.registry.start()
    site.run("push", "0.1.0", "--plain-http")


def test_an_install_needs_no_registry_and_says_what_preflight_sees_without_one(site: Site, api: RunningApi) -> None:
    with api.running(), operator_stand_in.operating(api):
        add_definitions(api)
        site.run("push", "0.1.0", "--plain-http")
        site.registry.stop()
        assert "images" in failed(site.run("preflight", "0.1.0", "--plain-http", *site.install_arguments, status=8))
        site.run("install", "0.1.0", *site.install_arguments, "--timeout", "60")
        assert not site.run("status", "0.1.0")["failed"]


@pytest.mark.parametrize("after", [0.3, 0.7, 1.2])
def test_an_uninstall_that_is_killed_is_finished_by_the_next(site: Site, api: RunningApi, after: float) -> None:
    with api.running(), operator_stand_in.operating(api):
        add_definitions(api)
        site.run("install", "0.1.0", *site.install_arguments, "--timeout", "60")
        with subprocess.Popen(site.command("uninstall", "0.1.0", "--yes"), stderr=subprocess.DEVNULL) as process:
            time.sleep(after)
            process.kill()
        site.run("uninstall", "0.1.0", "--yes")
        assert api.get("featurestores.feast.dev", "driver-stats", "--namespace=feast") is None


def test_from_the_tar_to_an_installed_feature_store_and_away_again(site: Site, api: RunningApi) -> None:
    with api.running():
        assert not site.run("verify", "0.1.0")["failed"]
        assert failed(site.run("preflight", "0.1.0", "--plain-http", status=8)) == {
            *("kinds", "operator", "images", "nodes"),
            *("secret-feast/driver-stats-credentials", "secret-feast/registry-credentials"),
        }
        assert api.get("namespaces", "feast") is None
        add_definitions(api)
        site.run("push", "0.1.0", "--plain-http")
        after = failed(site.run("preflight", "0.1.0", "--plain-http", *site.install_arguments, status=8))
        assert after == {"operator", "nodes"}  # neither is there, and nothing of them is played
        with operator_stand_in.operating(api):
            done = site.run("install", "0.1.0", *site.install_arguments, "--timeout", "60")
            assert store_image(api).startswith(f"{site.target}/driver-stats-feature-server:0.1.0")
            assert len(done["firstRuns"]) == 1
            assert site.run("install", "0.1.0")["unchanged"]
            assert not site.run("status", "0.1.0")["failed"]
            assert site.run("status", "0.2.0", status=8)["failed"]
            site.run("push", "0.2.0", "--plain-http")
            site.run("install", "0.2.0", "--timeout", "60")
            assert "feature-server:0.2.0" in store_image(api)
            assert site.run("status", "0.1.0", status=8)["failed"]
            back = site.run("install", "0.1.0", "--timeout", "60")
            assert "feature-server:0.1.0" in store_image(api)
            assert len(back["firstRuns"]) == 1
            assert not site.run("status", "0.1.0")["failed"]
        claim = {"name": "feast-driver-stats-registry", "namespace": "feast"}
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        api.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": claim, "spec": spec})
        gone = site.run("uninstall", "0.1.0", "--yes")
        assert any("feast-driver-stats-registry" in line for line in gone["kept"])
        assert api.get("featurestores.feast.dev", "driver-stats", "--namespace=feast") is None
        assert api.get("secrets", "driver-stats-credentials", "--namespace=feast") is not None
    assert not (site.folder / ".kube").exists()


@pytest.mark.parametrize("after", [0.3, 0.6, 0.9, 1.2, 1.8, 2.5])
def test_an_install_that_is_killed_is_finished_by_the_next(site: Site, api: RunningApi, after: float) -> None:
    with api.running():
        add_definitions(api)
        with operator_stand_in.operating(api):
            command = site.command("install", "0.1.0", *site.install_arguments, "--timeout", "60")
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                time.sleep(after)
                process.send_signal(signal.SIGKILL)
            site.run("install", "0.1.0", *site.install_arguments, "--timeout", "60")
            assert site.run("install", "0.1.0")["unchanged"]
            assert not site.run("status", "0.1.0")["failed"]
            assert len(api.get("jobs", "--namespace=feast")["items"]) == 1


@pytest.mark.parametrize("after", [0.5, 1.0, 1.8])
def test_an_upgrade_that_is_killed_is_finished_by_the_next(site: Site, api: RunningApi, after: float) -> None:
    with api.running():
        add_definitions(api)
        with operator_stand_in.operating(api):
            site.run("install", "0.1.0", *site.install_arguments, "--timeout", "60")
            command = site.command("install", "0.2.0", "--timeout", "60")
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                time.sleep(after)
                process.kill()
            site.run("install", "0.2.0", "--timeout", "60")
            assert "feature-server:0.2.0" in store_image(api)
            assert site.run("install", "0.2.0")["unchanged"]
            assert not site.run("status", "0.2.0")["failed"]


def test_an_api_server_that_stops_is_reported_and_the_next_install_completes(site: Site, api: RunningApi) -> None:
    with api.running():
        add_definitions(api)
        # Without an operator it waits for the feature store, and there the server goes.
        command = site.command("install", "0.1.0", *site.install_arguments, "--timeout", "60")
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        while api.get("featurestores.feast.dev", "driver-stats", "--namespace=feast") is None:
            time.sleep(0.1)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 8
    assert "The cluster cannot be reached." in said
    with api.running(), operator_stand_in.operating(api):
        site.run("install", "0.1.0", "--timeout", "60")
        assert site.run("install", "0.1.0")["unchanged"]


def test_who_may_nothing_is_told_each_right_and_nothing_changes(site: Site, api: RunningApi) -> None:
    with api.running():
        add_definitions(api)
        report = site.run("preflight", "0.1.0", "--plain-http", status=8, kubeconfig=api.tenant)
        assert {"rights-cluster", "rights-feast"} <= failed(report)
        rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
        rbac = "rbac.authorization.k8s.io"
        metadata = {"name": "tenant", "namespace": "feast"}
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "feast"}})
        api.apply(
            {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
            {
                "apiVersion": f"{rbac}/v1",
                "kind": "RoleBinding",
                "metadata": metadata,
                "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "tenant"},
                "subjects": [{"apiGroup": rbac, "kind": "User", "name": "tenant"}],
            },
        )
        arguments = ("--plain-http", "--part", "tenant", *site.install_arguments)
        # Nothing was pushed; of rights nothing is lacking any more.
        left = failed(site.run("preflight", "0.1.0", *arguments, status=8, kubeconfig=api.tenant))
        assert left == {"images", "pull-secret-feast/registry-credentials"}
        with operator_stand_in.operating(api):
            arguments = ("--part", "tenant", *site.install_arguments, "--timeout", "60")
            site.run("install", "0.1.0", *arguments, kubeconfig=api.tenant)


def test_a_login_that_ended_is_one_finding(site: Site, api: RunningApi) -> None:
    with api.running():
        ended = json.loads(api.tenant.read_text())
        ended["users"][0]["user"]["token"] = "no-longer"
        kubeconfig = site.folder / "ended.kubeconfig"
        kubeconfig.write_text(json.dumps(ended))
        report = site.run("preflight", "0.1.0", "--plain-http", status=8, kubeconfig=kubeconfig)
        assert report["sections"][0]["findings"][0]["evidence"][0].startswith("The cluster rejects your credentials")
        site.run("install", "0.1.0", status=8, kubeconfig=kubeconfig)
        assert api.get("namespaces", "feast") is None


def test_a_cluster_whose_definition_lacks_a_field_is_found_before(site: Site, api: RunningApi) -> None:
    with api.running():
        add_definitions(api)
        definition = api.get("crd", "featurestores.feast.dev")
        for version in definition["spec"]["versions"]:
            spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
            spec["services"]["properties"].pop("disableInitContainers", None)
        api.kubectl("replace", "-f", "-", content=definition)
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "feast"}})
        time.sleep(2)  # until the server reads its definitions again
        assert "definition" in failed(site.run("preflight", "0.1.0", "--plain-http", status=8))

"""Installing applies in the order that works, changes nothing twice, and says why where it waits in vain."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bundler.effects import kubectl
from bundler.effects.archive.reader import Bundle
from bundler.effects.blobs import BlobStore
from bundler.effects.registry.endpoint import Destination
from bundler.errors import (
    BundlerError,
    ClusterError,
    ForbiddenError,
    ToolFailedError,
    UsageError,
    VerificationError,
)
from bundler.kube.objects import KubeObject
from bundler.model.digest import Digest
from bundler.model.findings import Status
from bundler.model.progress import SilentProgress
from bundler.steps.build import pack
from bundler.steps.bundle.images import name as name_of
from bundler.steps.bundle.images import open_images
from bundler.steps.install import online_check, openshift_pull_secrets, readiness, required_secrets, status, uninstall
from bundler.steps.install import plan as install_plan
from bundler.steps.install import run as install
from bundler.steps.install.online_check import FeatureQuery
from bundler.steps.install.release import Release, first_run
from bundler.steps.install.run import InstallOptions
from tests.support.fake_cluster import FakeCluster, named
from tests.unit import packed

ELSEWHERE = "registry.site:5000/feast"
SERVER = f"{packed.REGISTRY}/driver-stats:0.1.0"
CREDENTIALS = ("Secret", "feast", "credentials")


def yaml(*documents: dict[str, Any]) -> bytes:
    return "\n---\n".join(map(json.dumps, documents)).encode()


def core(kind: str, name: str, **rest: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "feast"}, **rest}


STORE: dict[str, Any] = {
    "apiVersion": "feast.dev/v1",
    "kind": "FeatureStore",
    "metadata": {"name": "driver-stats", "namespace": "feast"},
    "spec": {"services": {"onlineStore": {"server": {"image": SERVER}}}},
}
MANIFESTS = {
    "manifests/kustomization.yaml": yaml({"kind": "Kustomization", "resources": ["namespace.yaml", "team"]}),
    "manifests/namespace.yaml": yaml({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "feast"}}),
    "manifests/team/kustomization.yaml": yaml(
        {"kind": "Kustomization", "resources": ["serviceaccounts.yaml", "featurestore.yaml", "entrances.yaml"]}
    ),
    "manifests/team/serviceaccounts.yaml": yaml(
        core("ServiceAccount", "feast-a"), core("Secret", "stores", stringData={"sql": "path: ${X}\n"})
    ),
    "manifests/team/featurestore.yaml": yaml(STORE),
    "manifests/team/entrances.yaml": yaml(core("Ingress", "entrance")),
    "manifests/secrets/credentials.yaml": yaml(core("Secret", "credentials", stringData={"PASSWORD": "", "USER": ""})),
}
OPERATOR = {
    "manifests/operator/kustomization.yaml": yaml(
        {
            "kind": "Kustomization",
            "resources": ["install.yaml"],
            "patches": [
                {
                    "target": {"version": "v1", "kind": "ServiceAccount"},
                    "patch": '[{"op": "add", "path": "/imagePullSecrets", "value": [{"name": "pull"}]}]',
                }
            ],
        }
    ),
    "manifests/operator/install.yaml": yaml(
        core("ServiceAccount", "controller"),
        core("Namespace", "feast") | {"metadata": {"name": "feast"}},
        {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "fs"}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "operator", "namespace": "feast", "generation": 1},
            "spec": {"image": SERVER},
        },
    ),
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("bundle"), MANIFESTS)


def made(folder: Path, documents: dict[str, bytes]) -> Path:
    store = BlobStore(folder / "cache")
    plan = replace(packed.plan(store), documents={**packed.DOCUMENTS, **documents})
    return pack.run(plan, folder, store, progress=SilentProgress()).path


PULL_LOGINS = base64.b64encode(b'{"auths": {}}').decode()
LOGINS = '{"auths": {"registry.site:5000": {"auth": "aHVudGVyMg=="}}}'


@pytest.fixture
def cluster() -> FakeCluster:
    found = FakeCluster()
    found.put(core("Secret", "pull", type="kubernetes.io/dockerconfigjson", data={".dockerconfigjson": PULL_LOGINS}))
    found.put(core("Secret", "credentials", data={"PASSWORD": "eA==", "USER": "eA=="}))
    return found


def options(**settings: Any) -> InstallOptions:
    return InstallOptions(**{"timeout": 0.05, "pause": 0.01, **settings})


def run(bundle: Path, cluster: FakeCluster, registry: str = ELSEWHERE, **settings: Any) -> install.Installed:
    return install.run(Release.of(bundle, registry), options(**settings), cluster, SilentProgress())


def test_images_that_were_pushed_flat_are_found_under_their_flat_names(tmp_path: Path) -> None:
    nested = f"{packed.REGISTRY}/feastdev/feast-operator:0.61.0"
    changed = {**STORE, "spec": {"services": {"onlineStore": {"server": {"image": nested}}}}}
    bundle = made(tmp_path, {**MANIFESTS, "manifests/team/featurestore.yaml": yaml(changed)})
    for place in (ELSEWHERE, packed.REGISTRY):
        [store] = [row for row in Release.of(bundle, place, flat=True).plan.of_stores if row.kind == "FeatureStore"]
        assert f"{place}/feastdev-feast-operator:0.61.0" in str(store)
        with Bundle.open(bundle) as opened:
            destination = replace(Destination.parse(place), flat=True)
            pushed = [name_of(image, packed.REGISTRY, destination).target.tagged for image in open_images(opened)]
        assert f"{place}/feastdev-feast-operator:0.61.0" in pushed, "push and install agree"


def test_everything_is_applied_in_order_and_named_for_the_registry_given(bundle: Path, cluster: FakeCluster) -> None:
    done = run(bundle, cluster)
    assert cluster.applied == [
        ["Namespace"],
        ["ServiceAccount", "Secret"],
        ["FeatureStore"],
        ["Ingress"],
        ["Job"],
        ["ConfigMap"],
    ]
    store = cluster.objects["FeatureStore", "feast", "driver-stats"]
    assert store["spec"]["services"]["onlineStore"]["server"]["image"] == f"{ELSEWHERE}/driver-stats:0.1.0"
    assert len(done.runs) == 1
    assert {row.outcome for row in done.objects} == {"created"}
    record = cluster.objects["ConfigMap", "feast", f"bundler-{done.bundle.split()[0]}"]["data"]
    assert record["digest"] == str(done.digest)
    assert "feast.dev/v1 FeatureStore feast driver-stats\n" in record["objects"]


def test_a_second_install_changes_nothing_and_says_so(bundle: Path, cluster: FakeCluster) -> None:
    run(bundle, cluster)
    before = json.dumps(list(cluster.objects.values()), sort_keys=True)
    again = run(bundle, cluster)
    assert again.unchanged
    assert "nothing changed" in again.summary()
    assert json.dumps(list(cluster.objects.values()), sort_keys=True) == before


def test_what_a_site_filled_in_is_never_overwritten(bundle: Path, cluster: FakeCluster) -> None:
    run(bundle, cluster)
    assert cluster.objects[CREDENTIALS]["data"] == {"PASSWORD": "eA==", "USER": "eA=="}


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (None, "is not there; its template is manifests/secrets/credentials.yaml"),
        ({"USER": "eA=="}, "lacks the key PASSWORD"),
        ({"USER": "eA==", "PASSWORD": ""}, "lacks the key PASSWORD"),
    ],
)
def test_a_secret_that_is_missing_or_lacks_a_key_is_named_before_anything_changes(
    bundle: Path, cluster: FakeCluster, held: dict[str, str] | None, said: str
) -> None:
    cluster.objects.pop(CREDENTIALS)
    if held is not None:
        cluster.put(core("Secret", "credentials", data=held))
    with pytest.raises(ClusterError, match="nothing was changed") as caught:
        run(bundle, cluster)
    assert [said in line for line in caught.value.details] == [True]
    assert cluster.applied == []


def test_a_cluster_without_operator_is_told_before_anything_changes(bundle: Path, cluster: FakeCluster) -> None:
    cluster.served.clear()
    with pytest.raises(ClusterError, match=r"no Feast operator that serves FeatureStores of feast\.dev/v1"):
        run(bundle, cluster)
    assert cluster.applied == []


def test_values_come_from_a_file_of_lines_or_from_a_manifest(bundle: Path, tmp_path: Path) -> None:
    lines, manifest = tmp_path / "values.env", tmp_path / "secret.yaml"
    lines.write_text("# ours\nPASSWORD=a=b #c\nUSER=ada\n")
    manifest.write_text("kind: Secret\ndata: {USER: YWRh}\nstringData: {PASSWORD: 'a=b #c'}\n")
    for argument in (f"credentials={lines}", f"feast/credentials={manifest}"):
        cluster = FakeCluster()
        run(bundle, cluster, secrets=(argument,))
        assert cluster.objects[CREDENTIALS]["data"] == {"PASSWORD": "YT1iICNj", "USER": "YWRh"}
        assert cluster.applied[1] == ["Secret"]


@pytest.mark.parametrize(
    ("argument", "text", "said"),
    [
        ("credentials", "", "the file is missing"),
        ("credential={file}", "", "does not ask for this Secret"),
        ("credentials={file}", "USER=ada\n", "PASSWORD is not there"),
        ("credentials={file}", "USER=ada\nPASSWORD\n", ":2: not of the form KEY=VALUE"),
        ("credentials={file}", "kind: ConfigMap\n", "not the manifest of a Secret"),
        ("credentials={file}", "kind: Secret\ndata: {USER: '%'}\n", "not base64"),
        ("credentials={file}.not", "", "Cannot read"),
    ],
)
def test_a_wrong_file_of_values_is_refused(  # noqa: PLR0917  (three are cases)
    bundle: Path, cluster: FakeCluster, tmp_path: Path, argument: str, text: str, said: str
) -> None:
    file = tmp_path / "values"
    file.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        run(bundle, cluster, secrets=(argument.format(file=file),))
    assert "ada" not in str(caught.value)
    assert cluster.applied == []


def test_the_operator_comes_first_with_its_definitions_and_pull_secret(tmp_path: Path, cluster: FakeCluster) -> None:
    cluster.served.clear()
    run(made(tmp_path, MANIFESTS | OPERATOR), cluster)
    assert cluster.applied[:3] == [
        ["Namespace", "CustomResourceDefinition"],
        ["ServiceAccount", "Deployment"],
        ["Namespace"],
    ]
    assert cluster.objects["ServiceAccount", "feast", "controller"]["imagePullSecrets"] == [{"name": "pull"}]
    assert "imagePullSecrets" not in cluster.objects["ServiceAccount", "feast", "feast-a"]
    assert cluster.objects["Deployment", "feast", "operator"]["spec"]["image"] == f"{ELSEWHERE}/driver-stats:0.1.0"


def test_admin_and_tenant_share_the_work(tmp_path: Path, cluster: FakeCluster) -> None:
    bundle = made(tmp_path, MANIFESTS | OPERATOR)
    credentials = cluster.objects.pop(CREDENTIALS)
    cluster.served.clear()
    with pytest.raises(ClusterError, match="no Feast operator") as caught:
        run(bundle, cluster, part="tenant")
    assert "--part admin" in caught.value.remedy
    done = run(bundle, cluster, part="admin")  # needs no Secret of the tenant
    assert {row.identity.kind for row in done.objects} == {
        "Namespace",
        "CustomResourceDefinition",
        "ServiceAccount",
        "Deployment",
    }
    assert "admin part is installed" in done.summary()
    cluster.served.add("feast.dev/v1")
    cluster.put(credentials)
    before = len(cluster.applied)
    run(bundle, cluster, part="tenant")
    kinds = {kind for call in cluster.applied[before:] for kind in call}
    assert kinds.isdisjoint({"Namespace", "CustomResourceDefinition", "Deployment"})
    assert run(bundle, cluster).unchanged


def test_a_secret_that_images_are_pulled_with_must_be_there_or_be_given(tmp_path: Path, cluster: FakeCluster) -> None:
    bundle = made(tmp_path, MANIFESTS | OPERATOR)
    del cluster.objects["Secret", "feast", "pull"]
    with pytest.raises(ClusterError) as caught:
        run(bundle, cluster)
    assert caught.value.details == ("Secret feast/pull is not there; images are pulled with it (skopeo login)",)
    assert cluster.applied == []
    file = tmp_path / "auth.json"
    file.write_text('{"no": "logins"}')
    with pytest.raises(UsageError, match="no logins of registries"):
        run(bundle, cluster, secrets=(f"pull={file}",))
    file.write_text(LOGINS)
    run(bundle, cluster, secrets=(f"pull={file}",))
    given = cluster.objects["Secret", "feast", "pull"]
    assert given["type"] == "kubernetes.io/dockerconfigjson"
    assert base64.b64decode(given["data"][".dockerconfigjson"]).decode() == LOGINS
    assert cluster.applied[1:3] == [["Secret"], ["ServiceAccount", "Deployment"]]


def test_a_dry_run_changes_nothing_and_waits_for_nothing(bundle: Path, cluster: FakeCluster) -> None:
    done = run(bundle, cluster, dry_run=True)
    assert cluster.applied == []
    assert {kind for kind, _, _ in cluster.objects} == {"Secret"}
    assert not done.unchanged
    assert "dry run" in done.summary()


def test_waiting_in_vain_tells_the_operators_message_and_the_containers_last_words(
    bundle: Path, cluster: FakeCluster
) -> None:
    cluster.set(operates=False, logs_of={"online": ("Can't find feature repo configuration file",)})
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}
    ended = {"waiting": {"reason": "CrashLoopBackOff"}}, {"terminated": {"exitCode": 1, "reason": "Error"}}
    rows = [
        {"name": "registry", "state": waiting},
        {"name": "online", "state": ended[0], "lastState": ended[1]},
        {"name": "starting", "state": {"waiting": {"reason": "ContainerCreating"}}},
    ]
    pod = named("v1", "Pod", "p", "feast", {"status": {"containerStatuses": rows}}, labels={"app": "driver-stats"})
    cluster.put(pod)
    with pytest.raises(ClusterError, match="feature store driver-stats ready") as caught:
        run(bundle, cluster)
    assert caught.value.details == ()  # no Deployment yet, so nothing is known
    cluster.operate(cluster.objects["FeatureStore", "feast", "driver-stats"], phase="Pending", availableReplicas=0)
    with pytest.raises(ClusterError) as caught:
        run(bundle, cluster)
    assert caught.value.details == (
        "FeatureStore is Unknown: Deployment is not available",
        "pod p, container registry: ImagePullBackOff: not found",
        "pod p, container online: exit code 1 Error",
        "  Can't find feature repo configuration file",
    )
    assert "run the same command again" in caught.value.remedy


@pytest.mark.parametrize(
    "status",
    [{"observedGeneration": 0}, {"updatedReplicas": 0}, {"availableReplicas": 0}, {"replicas": 2}],
)
def test_a_phase_of_ready_is_not_believed_while_pods_are_old_or_missing(
    bundle: Path, cluster: FakeCluster, status: dict[str, Any]
) -> None:
    cluster.set(operates=False)
    with pytest.raises(ClusterError):
        run(bundle, cluster)
    cluster.operate(cluster.objects["FeatureStore", "feast", "driver-stats"], **status)
    with pytest.raises(ClusterError, match="feature store driver-stats ready"):
        run(bundle, cluster)


def test_a_phase_of_ready_is_not_believed_while_the_deployment_has_the_images_of_before(
    bundle: Path, cluster: FakeCluster
) -> None:
    run(bundle, cluster, registry="older.site:5000/feast")
    cluster.set(operates=False)
    with pytest.raises(ClusterError, match="feature store driver-stats ready"):
        run(bundle, cluster)


def test_a_first_run_that_fails_is_told_at_once_with_its_log(bundle: Path, cluster: FakeCluster) -> None:
    cluster.set(job_condition="Failed", logs_of={"apply": ("no such table",)})
    with pytest.raises(ClusterError, match="The first run failed") as caught:
        run(bundle, cluster, timeout=60)
    assert caught.value.details == (
        "Failed is True: of the controller",
        "pod job-pod, container apply: exit code 1 Error",
        "  no such table",
    )


def test_a_first_run_that_failed_is_run_anew(bundle: Path, cluster: FakeCluster) -> None:
    cluster.set(job_condition="Failed")
    with pytest.raises(ClusterError):
        run(bundle, cluster)
    cluster.set(job_condition="Complete")
    assert len(run(bundle, cluster).runs) == 1
    assert run(bundle, cluster).unchanged


def test_the_first_run_is_left_out_where_asked(bundle: Path, cluster: FakeCluster) -> None:
    assert run(bundle, cluster, first_run=False).runs == ()
    assert ["Job"] not in cluster.applied


@pytest.mark.parametrize("step", range(6))
def test_broken_off_before_any_step_the_same_command_completes(bundle: Path, cluster: FakeCluster, step: int) -> None:
    calls = iter(range(100))

    def break_off(_kinds: list[str]) -> None:
        if next(calls) == step:
            raise ClusterError("The cluster cannot be reached.")

    cluster.set(before_apply=break_off)
    with pytest.raises(ClusterError):
        run(bundle, cluster)
    run(bundle, cluster)
    assert run(bundle, cluster).unchanged


def test_a_damaged_bundle_is_not_installed(bundle: Path, cluster: FakeCluster, tmp_path: Path) -> None:
    damaged = tmp_path / bundle.name
    damaged.write_bytes(
        bundle.read_bytes().replace(b"kind: Namespace", b"kind: namespace").replace(b'"feast"', b'"feasT"')
    )
    with pytest.raises(VerificationError):
        run(damaged, cluster)
    assert cluster.applied == []


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "Kustomization", "resources": [], "helmCharts": []},
        {"kind": "Kustomization", "resources": ["absent.yaml"]},
        {"kind": "Kustomization", "resources": [], "patches": [{"path": "x.yaml"}]},
        {"kind": None, "resources": []},  # left out it means Kustomization, to kubectl, too
    ],
)
def test_a_kustomization_that_no_bundle_has_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(VerificationError):
        install_plan.plan({"kustomization.yaml": json.dumps(document)})


def test_a_job_is_what_the_cron_job_would_start() -> None:
    spec = {"jobTemplate": {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}, "spec": {"backoffLimit": 0}}}
    job = readiness.job_of(KubeObject(named("batch/v1", "CronJob", "feast-a", "feast", {"spec": spec})), "first")
    assert job.content == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "first",
            "namespace": "feast",
            "labels": {"a": "b"},
            "annotations": {"c": "d", "cronjob.kubernetes.io/instantiate": "manual"},
        },
        "spec": {"backoffLimit": 0},
    }


def said_by_kubectl() -> Iterator[tuple[str, str]]:
    yield "error: You must be logged in to the server (Unauthorized)", "rejects your credentials"
    yield 'Error from server (Forbidden): secrets is forbidden: User "u" cannot list resource', "does not let you"
    yield "The connection to the server h:6443 was refused - did you specify the right host or port?", "be reached"
    yield "Unable to connect to the server: x509: certificate signed by unknown authority", "be reached"
    yield 'error: Apply failed with 1 conflict: conflict with "helm": .spec.replicas', "Another field manager owns"
    yield 'error: no matches for kind "FeatureStore" in version "feast.dev/v1"', "does not serve a kind"


@pytest.mark.parametrize(("line", "sentence"), list(said_by_kubectl()))
def test_what_kubectl_says_becomes_a_sentence_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, line: str, sentence: str
) -> None:
    def fail(*_args: object, **_settings: object) -> None:
        raise ToolFailedError("kubectl failed", details=(line,))

    monkeypatch.setattr("bundler.effects.process.run", fail)
    with pytest.raises(ClusterError, match=sentence) as caught:
        kubectl.Kubectl("sh").get("pods", "a")
    assert caught.value.remedy
    assert caught.value.details == (line,)


def test_where_a_definition_is_gone_so_are_all_of_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_settings: object) -> None:
        raise ToolFailedError("kubectl failed", details=('error: no matches for kind "FeatureStore" in version "v1"',))

    monkeypatch.setattr("bundler.effects.process.run", fail)
    program = kubectl.Kubectl("sh")
    assert program.delete([KubeObject(STORE)], timeout=1) == ()
    with pytest.raises(ClusterError):
        program.delete([KubeObject(STORE)] * 2, timeout=1)


def test_secrets_go_to_kubectl_on_standard_input_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[str], bytes]] = []

    def record(command: list[str], *, stdin: bytes, **_settings: object) -> object:
        seen.append((command, stdin))
        return type("Done", (), {"stdout": ""})

    monkeypatch.setattr("bundler.effects.process.run", record)
    kubectl.Kubectl("sh").apply([KubeObject(core("Secret", "s", data={"k": "aHVudGVyMg=="}))])
    ((command, stdin),) = seen
    assert b"aHVudGVyMg==" in stdin
    assert "aHVudGVyMg==" not in " ".join(command)


def test_without_kubectl_or_oc_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BundlerError, match="Neither kubectl nor oc"):
        kubectl.Kubectl.find().get("pods", "a")
    with pytest.raises(BundlerError, match="k3s is not on PATH"):
        kubectl.Kubectl.find("k3s").get("pods", "a")
    (tmp_path / "oc").touch(mode=0o755)
    assert kubectl.Kubectl.find(context="site").options == ("--context=site",)
    assert kubectl.Kubectl.find().program == "oc"


def test_without_a_home_kubectl_keeps_its_cache_out_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "kubectl"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kubectl.Kubectl.find().options == ()
    monkeypatch.delenv("HOME")
    (option,) = kubectl.Kubectl.find().options
    folder = Path(option.removeprefix("--cache-dir="))
    assert folder.is_dir()
    assert tmp_path not in (folder, *folder.parents)


# --- status and uninstall ---------------------------------------------------------------------------------------------


def statuses(bundle: Path, cluster: FakeCluster, registry: str = ELSEWHERE) -> dict[str, Status]:
    return {found.check: found.status for found in status.run(Release.of(bundle, registry), cluster).findings}


def test_after_an_install_everything_is_well(bundle: Path, cluster: FakeCluster) -> None:
    run(bundle, cluster)
    assert statuses(bundle, cluster) == dict.fromkeys(("record", "serving", "cron-job"), Status.PASS)


def test_before_an_install_nothing_is(bundle: Path, cluster: FakeCluster) -> None:
    found = status.run(Release.of(bundle, ELSEWHERE), cluster)
    assert found.failed
    assert "no install was completed" in found.findings[0].evidence[0]
    assert "no Deployment yet" in found.findings[1].evidence[0]


def test_a_slash_too_many_is_no_other_registry(bundle: Path, cluster: FakeCluster) -> None:
    run(bundle, cluster, registry=f"{ELSEWHERE}/")
    assert statuses(bundle, cluster)["record"] == Status.PASS


def test_feature_stores_whose_long_names_begin_alike_get_runs_of_their_own() -> None:
    digest = Digest.of(b"bundle")
    names = {first_run("a" * 50 + end, digest) for end in ("b", "c")}
    assert len(names) == 2
    assert all(len(name) <= 63 for name in names)


def test_another_bundle_or_registry_is_told_apart(bundle: Path, cluster: FakeCluster) -> None:
    run(bundle, cluster)
    found = statuses(bundle, cluster, "third.site/feast")
    assert (found["record"], found["serving"]) == (Status.FAIL, Status.FAIL)
    cluster.objects["ConfigMap", "feast", "bundler-driver-stats"]["data"]["digest"] = "sha256:" + "0" * 64
    assert statuses(bundle, cluster)["record"] == Status.FAIL


def test_a_cron_job_that_succeeded_by_itself_counts_and_one_that_never_did_does_not(
    bundle: Path, cluster: FakeCluster
) -> None:
    run(bundle, cluster, first_run=False)
    assert statuses(bundle, cluster)["cron-job"] == Status.FAIL
    cluster.objects["CronJob", "feast", "feast-driver-stats"]["status"] = {"lastSuccessfulTime": "2026-01-01T00:00:00Z"}
    assert statuses(bundle, cluster)["cron-job"] == Status.PASS
    del cluster.objects["CronJob", "feast", "feast-driver-stats"]
    assert statuses(bundle, cluster)["cron-job"] == Status.NOT_APPLICABLE


def test_uninstalling_deletes_what_the_bundle_brought_and_nothing_of_the_sites(
    tmp_path: Path, cluster: FakeCluster
) -> None:
    bundle = made(tmp_path, MANIFESTS | OPERATOR)
    run(bundle, cluster)
    asked = uninstall.plan(Release.of(bundle))
    assert [line.partition("/")[0] for line in asked.lines()] == [
        "Ingress",
        "FeatureStore",
        "Job",
        "Secret",
        "ServiceAccount",
        "ConfigMap",
    ]
    done = uninstall.run(asked, cluster, SilentProgress(), timeout=1)
    assert len(done.deleted) == 6
    left = {kind for kind, _, name in cluster.objects if name != "feast-driver-stats"}
    assert left == {"Secret", "Namespace", "CustomResourceDefinition", "Deployment", "ServiceAccount", "Pod"}
    assert CREDENTIALS in cluster.objects
    assert uninstall.run(asked, cluster, SilentProgress(), timeout=1).deleted == ()


ONLINE = {"serviceHostnames": {"onlineStore": "feast-driver-stats-online.feast.svc.cluster.local:80"}}
SERVED = {"status": 200, "statuses": {"driver_id": "PRESENT", "conv_rate": "PRESENT"}}


def with_online(cluster: FakeCluster, **answers: Any) -> FakeCluster:
    """Let the operator name an online server that answers so."""
    operate = cluster.operate

    def named_operate(found: dict[str, Any], **status: object) -> None:
        operate(found, **status)  # type: ignore[arg-type]
        store = cluster.objects["FeatureStore", "feast", "driver-stats"]
        store["status"] = {**store["status"], **ONLINE}

    return cluster.set(operate=named_operate, answers={key.replace("_", "-"): one for key, one in answers.items()})


READ = FeatureQuery(("driver_hourly_stats:conv_rate",), {"driver_id": 1001})


def test_features_are_read_through_the_online_server_at_the_end(bundle: Path, cluster: FakeCluster) -> None:
    with_online(cluster, get_online_features=json.dumps(SERVED))
    done = run(bundle, cluster, query=READ)
    assert done.answers == (
        "feast/driver-stats: health: it answers",
        "feast/driver-stats: driver_hourly_stats:conv_rate: it answers",
    )
    body = {"features": ["driver_hourly_stats:conv_rate"], "entities": {"driver_id": [1001]}}
    question = {"url": "http://127.0.0.1:6566/get-online-features", "body": body}
    assert cluster.executed[-1] == ("feast/deployments/feast-driver-stats/online", question)
    assert run(bundle, cluster, query=READ).unchanged


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (json.dumps({"status": 200, "statuses": {"conv_rate": "NOT_FOUND"}}), "conv_rate is NOT_FOUND"),
        (json.dumps({"status": 200, "statuses": {}}), "conv_rate is not in the answer"),
        (json.dumps({"status": 404}), "HTTP 404"),
        (json.dumps({"error": "Connection refused"}), "Connection refused"),
        ("<html>", "the probe printed '<html>'"),
        (ClusterError("No.", details=('exec: "python3": not found',)), '"python3": not found'),
    ],
)
def test_an_install_whose_features_are_not_served_fails_and_keeps_what_was_applied(
    bundle: Path, cluster: FakeCluster, answer: str | ClusterError, said: str
) -> None:
    with_online(cluster, get_online_features=answer)
    with pytest.raises(ClusterError, match="features of driver-stats served") as caught:
        run(bundle, cluster, query=READ)
    assert said in str(caught.value)
    with_online(cluster, get_online_features=json.dumps(SERVED))
    assert run(bundle, cluster, query=READ).answers


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (ForbiddenError("No.", details=("cannot create pods/exec",)), "cannot create pods/exec"),
        (json.dumps({"status": 401}), "the server requires a login (HTTP 401)"),
    ],
)
def test_what_may_not_be_asked_is_said_and_fails_nothing(
    bundle: Path, cluster: FakeCluster, answer: str | ClusterError, why: str
) -> None:
    with_online(cluster, health=answer, get_online_features=answer)
    assert run(bundle, cluster, query=READ).answers == (
        f"feast/driver-stats: health: not asked: {why}",
        f"feast/driver-stats: driver_hourly_stats:conv_rate: not asked: {why}",
    )


def test_a_server_with_tls_is_asked_by_https(bundle: Path, cluster: FakeCluster) -> None:
    with_online(cluster, get_online_features=json.dumps(SERVED))
    run(bundle, cluster)
    status = cluster.objects["FeatureStore", "feast", "driver-stats"]["status"]
    status["serviceHostnames"] = {"onlineStore": "feast-driver-stats-online.feast.svc.cluster.local:443"}
    assert online_check.serves_features(cluster, KubeObject(STORE), READ)().reached
    assert [question["url"] for _, question in cluster.executed[-1:]] == ["https://127.0.0.1:6567/get-online-features"]


@pytest.mark.parametrize(
    ("features", "entity", "said"),
    [
        (["conv_rate"], ["driver_id=1"], "not VIEW:FEATURE"),
        (["a:b"], ["driver_id"], "not JOIN_KEY=VALUE"),
        (["a:b"], [], "Give both"),
        ([], ["driver_id=1"], "Give both"),
    ],
)
def test_what_to_read_is_checked(features: list[str], entity: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        FeatureQuery.parse(features, entity)


def test_entities_are_numbers_or_texts() -> None:
    found = FeatureQuery.parse(["a:b"], ["n=7", "t=x7", 's="7"', "l=[7]"])
    assert found is not None
    assert found.entity == {"n": 7, "t": "x7", "s": "7", "l": "[7]"}


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A later bundle: another Ingress leads to the feature store, and another account is there."""
    changed = {
        **MANIFESTS,
        "manifests/team/serviceaccounts.yaml": yaml(core("ServiceAccount", "feast-b")),
        "manifests/team/entrances.yaml": yaml(core("Ingress", "front")),
    }
    return made(tmp_path_factory.mktemp("newer"), changed)


def names(cluster: FakeCluster, kind: str) -> set[str]:
    return {name for have, _, name in cluster.objects if have == kind}


def test_an_upgrade_removes_what_only_the_older_bundle_had_and_a_rollback_what_only_the_newer(
    bundle: Path, newer: Path, cluster: FakeCluster
) -> None:
    run(bundle, cluster)
    done = run(newer, cluster)
    assert set(done.removed) == {"ServiceAccount/feast/feast-a", "Secret/feast/stores", "Ingress/feast/entrance"}
    assert (names(cluster, "ServiceAccount"), names(cluster, "Ingress")) == ({"feast-b"}, {"front"})
    assert names(cluster, "Secret") == {"credentials", "pull"}
    assert run(newer, cluster).unchanged
    back = run(bundle, cluster)
    assert (names(cluster, "ServiceAccount"), names(cluster, "Ingress")) == ({"feast-a"}, {"entrance"})
    # The registry has what the newer one applied: the older one's run of before counts for nothing.
    assert len(back.runs) == 1
    assert run(bundle, cluster).unchanged


def test_a_dry_run_says_what_would_be_removed(bundle: Path, newer: Path, cluster: FakeCluster) -> None:
    run(bundle, cluster)
    before = json.dumps(list(cluster.objects.values()), sort_keys=True)
    assert "Ingress/feast/entrance" in run(newer, cluster, dry_run=True).removed
    assert json.dumps(list(cluster.objects.values()), sort_keys=True) == before


def test_a_feature_store_that_is_not_in_the_newer_bundle_stays(bundle: Path, cluster: FakeCluster) -> None:
    run(bundle, cluster)
    record = next(found for (kind, _, _), found in cluster.objects.items() if kind == "ConfigMap")
    record["data"]["objects"] += "feast.dev/v1 FeatureStore feast other\nv1 PersistentVolumeClaim feast data\n"
    for kind, name in (("FeatureStore", "other"), ("PersistentVolumeClaim", "data")):
        cluster.put(core(kind, name))
    assert run(bundle, cluster).removed == ()
    assert names(cluster, "FeatureStore") == {"driver-stats", "other"}
    assert names(cluster, "PersistentVolumeClaim") == {"data"}


@pytest.mark.parametrize("line", ["v1 Secret kube-system token", "v1 Secret", "", "v1 Secret  nowhere", "x" * 99])
def test_a_record_that_somebody_wrote_into_deletes_nothing_elsewhere(
    bundle: Path, cluster: FakeCluster, line: str
) -> None:
    run(bundle, cluster)
    cluster.put(named("v1", "Secret", "token", "kube-system", {}))
    record = next(found for (kind, _, _), found in cluster.objects.items() if kind == "ConfigMap")
    record["data"]["objects"] += f"{line}\n"
    assert run(bundle, cluster).removed == ()
    assert ("Secret", "kube-system", "token") in cluster.objects


@pytest.mark.parametrize("delete_volumes", [False, True])
def test_uninstalling_keeps_the_volumes_that_the_operator_made_unless_asked(
    bundle: Path, cluster: FakeCluster, *, delete_volumes: bool
) -> None:
    run(bundle, cluster)
    claim = core("PersistentVolumeClaim", "feast-driver-stats-registry")
    claim["metadata"]["ownerReferences"] = [{"kind": "FeatureStore", "name": "driver-stats"}]
    cluster.put(claim)
    asked = uninstall.plan(Release.of(bundle))
    done = uninstall.run(asked, cluster, SilentProgress(), timeout=1, delete_volumes=delete_volumes)
    assert names(cluster, "PersistentVolumeClaim") == (set() if delete_volumes else {"feast-driver-stats-registry"})
    assert any("feast-driver-stats-registry" in line for line in done.kept) is not delete_volumes
    assert names(cluster, "FeatureStore") == set()


def test_of_several_feature_stores_none_is_applied_before_the_accounts_and_secrets_of_all() -> None:
    files = {
        "kustomization.yaml": yaml({"kind": "Kustomization", "resources": ["a.yaml", "b.yaml"]}).decode(),
        **{
            f"{team}.yaml": yaml(
                core("ServiceAccount", f"feast-{team}"),
                core("Secret", f"stores-{team}"),
                core("NetworkPolicy", f"deny-{team}"),
                named("feast.dev/v1", "FeatureStore", team, "feast", {}),
                core("Ingress", f"entrance-{team}"),
                core("ServiceMonitor", f"watch-{team}"),
            ).decode()
            for team in "ab"
        },
    }
    found = install_plan.plan(files)
    assert [one.kind for one in found.before] == ["ServiceAccount", "Secret", "NetworkPolicy"] * 2
    assert [one.name for one in found.stores] == ["a", "b"]
    assert [one.kind for one in found.after] == ["Ingress", "ServiceMonitor"] * 2


def test_a_pull_secret_of_another_type_is_found(cluster: FakeCluster) -> None:
    wanted = install_plan.RequiredSecret("feast", "pull", install_plan.PULL_TYPE, (install_plan.PULL_KEY,))
    assert not [*required_secrets.lacking(cluster, wanted)]
    cluster.objects["Secret", "feast", "pull"]["type"] = "Opaque"
    (line,) = required_secrets.lacking(cluster, wanted)
    assert "is of the type Opaque" in line


def test_a_first_run_stays_until_it_was_seen_to_end() -> None:
    template = {"spec": {"ttlSecondsAfterFinished": 0, "backoffLimit": 2}}
    cron_job = named("batch/v1", "CronJob", "feast-a", "feast", {"spec": {"jobTemplate": template}})
    assert readiness.job_of(KubeObject(cron_job), "run").get("spec") == {"backoffLimit": 2}


@pytest.mark.parametrize(
    ("applied", "reached"),
    [
        ({}, True),
        ({"cron": "* * *", "services": {"rows": ["a"], "memory": "1Gi", "more": "a default"}}, True),
        ({"cron": "0 0 *", "services": {"rows": ["a"], "memory": "1Gi"}}, False),
        ({"cron": "* * *", "services": {"rows": ["b"], "memory": "1Gi"}}, False),
        ({"cron": "* * *", "services": {"rows": []}}, False),
        ({"cron": "* * *"}, False),
    ],
)
def test_a_feature_store_serves_once_the_operator_has_seen_what_it_says_now(
    bundle: Path,
    cluster: FakeCluster,
    applied: dict[str, Any],
    reached: bool,  # noqa: FBT001
) -> None:
    run(bundle, cluster)
    found = cluster.objects["FeatureStore", "feast", "driver-stats"]
    asked = json.loads(json.dumps(found))
    found["spec"] |= {"cron": "* * *", "services": {"rows": ["a"], "memory": "1024Mi", "off": False, "none": ""}}
    found["status"]["applied"] = applied
    assert readiness.serving(cluster, KubeObject(asked))().reached is reached


def test_what_openshift_lets_an_account_pull_with_stays(cluster: FakeCluster) -> None:
    asked = [core("ServiceAccount", "feast-a", imagePullSecrets=[{"name": "pull"}]), core("Secret", "x")]

    def kept() -> list[Any]:
        return [one.content for one in openshift_pull_secrets.kept(cluster, [*map(KubeObject, asked)])]

    assert kept() == asked
    given = [{"name": "feast-a-dockercfg-x7k2p"}, {"name": "pull"}, {"name": "of-an-older-bundle"}]
    cluster.put(core("ServiceAccount", "feast-a", imagePullSecrets=given))
    account, other = kept()
    assert account["imagePullSecrets"] == given[:2]
    assert other == asked[1]
    asked[0]["imagePullSecrets"] = [{"name": "another"}]
    assert kept()[0]["imagePullSecrets"] == [given[0], {"name": "another"}]


REFUSED = {
    "type": "ReplicaFailure",
    "status": "True",
    "reason": "FailedCreate",
    "message": 'pods "a" is forbidden: quota',
}


def test_pods_that_the_cluster_refuses_to_create_are_the_reason_in_install_and_status(
    bundle: Path, cluster: FakeCluster
) -> None:
    run(bundle, cluster)
    store = cluster.objects["FeatureStore", "feast", "driver-stats"]
    cluster.set(operates=False)
    cluster.operate(store, phase="Pending", availableReplicas=0, conditions=[REFUSED])
    with pytest.raises(ClusterError, match="the cluster refuses to create pods \\(FailedCreate\\)") as caught:
        run(bundle, cluster)
    reason = 'Deployment feast-driver-stats: FailedCreate: pods "a" is forbidden: quota'
    assert reason in caught.value.details
    findings = status.run(Release.of(bundle, ELSEWHERE), cluster).findings
    assert reason in next(finding for finding in findings if finding.check == "serving").evidence


def test_a_replica_failure_of_the_past_is_no_reason(cluster: FakeCluster) -> None:
    past = {**REFUSED, "status": "False"}
    cluster.put(named("apps/v1", "Deployment", "a", "feast", {"status": {"conditions": [past]}}))
    state = readiness.rolled_out(cluster, "feast", "a")()
    assert "refuses" not in state.seen
    assert [*state.explain()] == []


def test_uninstalling_with_volumes_names_the_claims_that_an_earlier_uninstall_kept(
    bundle: Path, cluster: FakeCluster
) -> None:
    run(bundle, cluster)
    cluster.put(core("PersistentVolumeClaim", "feast-driver-stats-online"))
    planned = uninstall.plan(Release.of(bundle))
    done = uninstall.run(planned, cluster, SilentProgress(), timeout=1, delete_volumes=True)
    (line,) = [line for line in done.kept if "feast-driver-stats-online" in line]
    assert "kubectl --namespace=feast delete persistentvolumeclaim feast-driver-stats-online" in line


def test_uninstalling_names_the_cluster_roles_that_the_operator_leaves(bundle: Path, cluster: FakeCluster) -> None:
    run(bundle, cluster)
    group = "rbac.authorization.k8s.io/v1"
    cluster.put(named(group, "ClusterRoleBinding", "feast-driver-stats-cluster-binding", "", {}))
    cluster.put(named(group, "ClusterRole", "feast-token-review-cluster-role", "", {}))
    done = uninstall.run(uninstall.plan(Release.of(bundle)), cluster, SilentProgress(), timeout=1)
    commands = [line.partition("kubectl ")[2] for line in done.kept if line.startswith("ClusterRole")]
    assert commands == [
        "delete clusterrolebinding feast-driver-stats-cluster-binding",
        "delete clusterrole feast-token-review-cluster-role",
    ]

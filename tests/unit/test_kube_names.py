from __future__ import annotations

import pytest

from bundler.effects.kubectl import Kubectl
from bundler.errors import ClusterError, VerificationError
from bundler.kube import names
from bundler.kube.names import ApiVersion, DnsLabel, DnsSubdomain, Kind, PathSegment
from bundler.kube.objects import KubeObject
from bundler.model.descriptor import Json
from bundler.steps.install import plan as install_plan

EVIL = (
    "",
    "-A",
    "--kubeconfig=evil",
    "a b",
    "a\nb",
    "a/../b",
    "..",
    ".",
    "a;touch pwned",
    "$(touch pwned)",
    "a\x1b[2J",
    "a\u202e",
    "a%2fb",
    "\u00e9",
    "a" * 254,
    "a\n",
)


@pytest.mark.parametrize("text", EVIL)
@pytest.mark.parametrize("form", [DnsLabel, DnsSubdomain, PathSegment, Kind, ApiVersion])
def test_nothing_that_could_be_an_option_a_path_or_a_program_is_a_name(form: type[str], text: str) -> None:
    with pytest.raises(ValueError, match="is not a Kubernetes"):
        form(text)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (DnsLabel, "feast"),
        (DnsLabel, "a" * 63),
        (DnsSubdomain, "featurestores.feast.dev"),
        (PathSegment, "system:node-proxier"),
        (PathSegment, "v1beta1.metrics.k8s.io"),
        (Kind, "ConfigMap"),
        (ApiVersion, "v1"),
        (ApiVersion, "rbac.authorization.k8s.io/v1"),
        (ApiVersion, "feast.dev/v1alpha1"),
    ],
)
def test_names_are_names(form: type[str], text: str) -> None:
    assert form(text) == text


def test_each_name_of_an_object_is_held_to_its_type() -> None:
    assert not list(names.faults(KubeObject.named("v1", "ConfigMap", "feast", "a.b")))
    assert not list(names.faults(KubeObject.named("rbac.authorization.k8s.io/v1", "ClusterRole", "", "a:b")))
    evil = KubeObject(
        {
            "apiVersion": "v1/../..",
            "kind": "\x1b[2K\rConfigMap",
            "metadata": {"name": "--kubeconfig=evil", "namespace": ""},
            "imagePullSecrets": [{"name": "-A"}, {"name": "good"}],
        }
    )
    assert len(list(names.faults(evil))) == 5


@pytest.mark.parametrize(
    "text",
    [
        'apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: "--kubeconfig=evil", namespace: feast}\n',
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, namespace: feast}\nimagePullSecrets: [{name: -A}]\n",
        'apiVersion: v1\nkind: "\\e[2K\\rConfigMap"\nmetadata: {name: x, namespace: feast}\n',
        'apiVersion: v1\nkind: ClusterRoleBinding\nmetadata: {name: "evil\\e[1A\\e[2K"}\n',
        "apiVersion: ../../v1\nkind: ConfigMap\nmetadata: {name: x, namespace: feast}\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: a/b}\n",
    ],
)
def test_a_bundle_with_such_a_name_is_refused_when_it_is_read(text: str) -> None:
    manifests = {"kustomization.yaml": "kind: Kustomization\nresources: [z.yaml]\n", "z.yaml": text}
    with pytest.raises(VerificationError, match="names that a cluster does not accept"):
        install_plan.plan(manifests)


def test_a_secrets_template_with_such_a_name_is_refused_too() -> None:
    manifests = {
        "kustomization.yaml": "kind: Kustomization\nresources: []\n",
        "secrets/z.yaml": "kind: Secret\nmetadata: {name: -A, namespace: feast}\nstringData: {a: b}\n",
    }
    with pytest.raises(VerificationError, match="names that a cluster does not accept"):
        install_plan.plan(manifests)


class Recorder(Kubectl):
    """Notes what kubectl would be asked."""

    def _run(self, arguments, **_):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN003, ANN202
        self.__dict__.setdefault("asked", []).append(list(arguments))
        return "{}"


def test_names_are_operands_behind_the_dashes() -> None:
    kubectl = Recorder("kubectl")
    kubectl.get("pods", "a", "n")
    kubectl.listed("pods", None)
    kubectl.logs("a", "c", "n", previous=True)
    kubectl.disown("persistentvolumeclaims", "a", "n")
    for arguments in kubectl.__dict__["asked"]:
        begin = arguments.index("--")
        assert not [text for text in arguments[begin + 1 :] if text.startswith("-")]
        assert not [text for text in arguments[1:begin] if not text.startswith("--")]


@pytest.mark.parametrize("name", ["--kubeconfig=evil", "../../../api/v1/secrets", "a b"])
def test_a_server_cannot_choose_an_option_or_a_path(name: str) -> None:
    kubectl = Recorder("kubectl")
    for asked in (
        lambda: kubectl.get("pods", name, "n"),
        lambda: kubectl.get("pods", "a", name),
        lambda: kubectl.logs(name, "c", "n", previous=False),
        lambda: kubectl.execute(f"deployments/{name}", "c", "n", ["true"], b""),
        lambda: kubectl.execute("a", name, "n", ["true"], b""),
        lambda: kubectl.resources(name),
        lambda: kubectl.disown("persistentvolumeclaims", name, "n"),
    ):
        with pytest.raises(ClusterError, match="Kubernetes does not allow"):
            asked()
    assert not kubectl.__dict__.get("asked")


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "ConfigMap", "items": [{"kind": "Namespace"}]},
        {"kind": "ConfigMap", "items": None},
        {"kind": "ConfigMapList", "items": []},
        {"kind": "List"},
        {"kind": "NamespaceList"},
    ],
)
def test_a_list_is_not_an_object_whatever_it_is_called(content: dict[str, Json]) -> None:
    resource = KubeObject({"apiVersion": "v1", "metadata": {"name": "x", "namespace": "y"}, **content})
    assert any("is a list of objects" in fault for fault in names.faults(resource))

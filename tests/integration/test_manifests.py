"""Manifests under the real kubectl and under the published schemas of Kubernetes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from bundler.feast.emulation import image_check
from bundler.feast.operator.capabilities import Capabilities
from bundler.feast.operator.images import image_references
from bundler.kube import kustomize as kustomized
from bundler.kube import yaml_values
from bundler.model.findings import Status
from bundler.model.reference import ImageRef
from bundler.oci import references, relocation
from bundler.render import manifests
from tests.integration import discovery_api
from tests.unit import manifest_cases as cases
from tests.unit.operator_manifests import real_manifest

pytestmark = pytest.mark.integration

KUBERNETES = "1.32"
# Kinds that Kubernetes itself does not know: their schemas are in CRDs.
FOREIGN = frozenset({"FeatureStore", "Route", "ServiceMonitor", "Kustomization"})
GOLDEN = [pytest.param(golden, files, id=f"{golden.parent.name}/{golden.stem}") for golden, files in cases.cases()]


@dataclass(frozen=True)
class Kubectl:
    """kubectl with a home of its own, so that no configuration or cache of this machine plays a part."""

    program: str
    home: Path
    api: str

    def kustomize(self, folder: Path) -> str:
        return self._run("kustomize", str(folder))

    def would_apply(self, *what: str) -> str:
        # Validation by schemas is left to those of Kubernetes and of the CRD, in other tests.
        return self._run("apply", "--dry-run=client", "--validate=false", f"--server={self.api}", *what)

    def _run(self, *arguments: str) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "KUBECONFIG": "/dev/null"}
        command = (self.program, *arguments)
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    found = shutil.which("kubectl")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("kubectl is missing, and CI must have it")
        pytest.skip("kubectl is not on PATH")
    with discovery_api.serving() as address:
        yield Kubectl(found, tmp_path_factory.mktemp("home"), address)


def written(files: Mapping[str, str], folder: Path) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def documents(files: Mapping[str, str]) -> list[Any]:
    return [document for text in files.values() for document in yaml.safe_load_all(text)]


@pytest.mark.parametrize(("golden", "files"), GOLDEN)
def test_kustomize_builds_every_object(
    golden: Path, files: Mapping[str, str], kubectl: Kubectl, tmp_path: Path
) -> None:
    built = kubectl.kustomize(written(files, tmp_path))
    applied = {path: text for path, text in files.items() if not path.startswith("secrets/")}
    expected = [document for document in documents(applied) if document["kind"] != "Kustomization"]
    assert sorted(map(identity, yaml.safe_load_all(built))) == sorted(map(identity, expected))


def identity(resource: Any) -> tuple[str, str, str]:
    metadata = resource["metadata"]
    return resource["kind"], metadata.get("namespace", ""), metadata["name"]


@pytest.mark.parametrize(("golden", "files"), GOLDEN)
def test_kubectl_would_apply_them(golden: Path, files: Mapping[str, str], kubectl: Kubectl, tmp_path: Path) -> None:
    folder = written(files, tmp_path)
    output = kubectl.would_apply("--kustomize", str(folder))
    output += kubectl.would_apply("--recursive", "--filename", str(folder / "secrets"))
    applied = [document for document in documents(files) if document["kind"] != "Kustomization"]
    assert output.count(" created (dry run)") == len(applied)


@pytest.mark.parametrize(("golden", "files"), GOLDEN)
def test_an_install_applies_what_kustomize_would(
    golden: Path, files: Mapping[str, str], kubectl: Kubectl, tmp_path: Path
) -> None:
    listed = yaml_values.read(kubectl.kustomize(written(files, tmp_path)), "kustomize")
    assert in_any_order(one.content for one in kustomized.objects(files)) == in_any_order(listed)


def in_any_order(objects: Iterable[Any]) -> list[str]:
    """Return objects as texts: kustomize sorts them by kind."""
    return sorted(json.dumps(one, sort_keys=True) for one in objects)


@pytest.mark.parametrize(("golden", "files"), GOLDEN)
def test_kubernetes_schemas_accept_every_core_object(golden: Path, files: Mapping[str, str]) -> None:
    core = [document for document in documents(files) if document["kind"] not in FOREIGN]
    assert core
    for document in core:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


@pytest.mark.parametrize("release", ["0.61.0", "0.66.0", "head"])
def test_the_operator_is_relocated_whole_and_pulls_with_the_secret(
    release: str, kubectl: Kubectl, tmp_path: Path
) -> None:
    text = real_manifest(release).read_text(encoding="utf-8")
    registry = cases.spec().registry
    digest = f"@sha256:{'3' * 64}"
    mapping = {
        source: f"{relocation.relocate(ImageRef.parse(source), registry)}{digest}"
        for source in image_references(yaml_values.read(text, release))
    }
    relocated, _ = references.relocate_text(text, mapping)
    known = Capabilities.for_version(cases.VERSIONS[release])
    rendered = manifests.render(cases.spec(), cases.config(), cases.IMAGES, known, relocated)
    internal = [*mapping.values(), cases.IMAGES.feature_server, cases.IMAGES.kubectl]
    assert image_check.check(rendered.values(), internal).status is Status.PASS

    files = cases.texts(rendered)
    folder = written(files, tmp_path) / "operator"
    built = kubectl.kustomize(folder)
    ours = in_any_order(one.content for one in kustomized.objects(files, "operator"))
    assert ours == in_any_order(yaml_values.read(built, "kustomize"))
    resources: Any = yaml_values.read(built, "kustomize")
    objects = {identity(resource)[0]: resource for resource in resources}
    assert objects["ServiceAccount"]["imagePullSecrets"] == [{"name": "registry-credentials"}]
    container = objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    images = {
        container["image"],
        *(row["value"] for row in container["env"] if row["name"].startswith("RELATED_IMAGE")),
    }
    assert images == set(mapping.values())
    assert kubectl.would_apply("--kustomize", str(folder)).count(" created (dry run)") == len(resources)

"""examples/official builds from a mirror that holds stand-ins under the public names, for two platforms."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.effects.blobs import BlobStore
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.oci import graph
from bundler.oci.config import ImageConfig
from bundler.oci.image import Image
from bundler.oci.index import Index
from tests.e2e.conftest import ROOT, Built, build, bundler, copy_example, run
from tests.support import registries
from tests.support.registries import RunningRegistry

pytestmark = pytest.mark.e2e

INSTALL = ROOT.parent / "shared/feast-operator/0.61.0/install.yaml"
STAND_INS = {
    "feastdev/feature-server:0.61.0": "feature-server",  # has Python and Feast, as the real one
    "feastdev/feast-operator:0.61.0": "kubectl",
    "openshift/origin-cli:4.17": "kubectl",
}


def both_platforms(role: str, built: Built, folder: Path) -> Path:
    """Write an OCI layout of an index: the image of a role, and the same as if it were for arm64."""
    row = next(row for row in built.result["images"] if row["role"] == role)  # type: ignore[attr-defined]
    store = BlobStore(built.cache)
    amd64 = Image.from_blobs(Descriptor.from_json(row["root"]), store.read)
    document = {**amd64.config.document, "architecture": "arm64"}
    arm64 = replace(amd64, config=ImageConfig(document), original=None)
    index = Index((amd64.descriptor, arm64.descriptor))
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)
    for content in (arm64.config_bytes(), arm64.manifest_bytes(), index.to_bytes()):
        (blobs / Digest.of(content).hex).write_bytes(content)
    for blob in graph.below(amd64.descriptor, lambda found: store.read(found.digest)).blobs:
        (blobs / blob.digest.hex).symlink_to(store.path(blob.digest))
    entry = {**index.descriptor.to_json(), "annotations": {"org.opencontainers.image.ref.name": "x"}}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


@pytest.fixture(scope="module")
def mirror(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A registry with the stand-ins."""
    folder = tmp_path_factory.mktemp("mirror")
    with registries.running(folder / "registry") as registry:
        for name, role in STAND_INS.items():
            layout = folder / role
            if not layout.exists():
                both_platforms(role, built, layout)
            target = f"docker://{registry.address}/{name}"
            run(["skopeo", "copy", "-q", "--all", "--dest-tls-verify=false", f"oci:{layout}:x", target])
        yield registry


@pytest.fixture(scope="module")
def official(built: Built, mirror: RunningRegistry, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The bundle of examples/official, built for two platforms out of the mirror."""
    if not INSTALL.exists():
        pytest.skip("the operator's install.yaml is not beside the checkout")
    folder = tmp_path_factory.mktemp("official")
    copy_example(folder)
    project = copy_example(folder, "official")
    spec = (project / "bundle.yaml").read_text()
    spec = spec.replace("  - linux/amd64\n", "  - linux/amd64\n  - linux/arm64\n")
    spec = spec.replace("manifest: operator/install.yaml", f"manifest: {INSTALL}")
    spec += f"mirrors:\n  - source: quay.io\n    location: {mirror.address}\n    insecure: true\n"
    (project / "bundle.yaml").write_text(spec)
    return build(project, built.cache, folder / "dist")


def test_every_image_of_the_deployment_is_in_the_bundle_for_both_platforms(official: Built) -> None:
    shown = json.loads(bundler("inspect", official.bundle, "--output", "json").stdout)
    images = {image["reference"]: image for image in shown["images"]}
    assert set(images) == {
        "registry.internal.example:5000/feast/driver-stats-official-feature-server:0.1.0",
        *(f"quay.io/{name}" for name in STAND_INS),
    }
    assert {tuple(image["platforms"]) for image in images.values()} == {("linux/amd64", "linux/arm64")}
    assert bundler("verify", official.bundle).status == 0


def test_what_the_base_holds_is_not_installed_again(official: Built) -> None:
    lock = json.loads((official.project / "bundle.lock").read_text())
    wheels = {
        row["platform"]: {wheel["name"]: wheel["filename"] for wheel in row["wheels"]} for row in lock["platforms"]
    }
    # The stand-in holds Feast, haversine and rapidfuzz already.
    assert wheels == {"linux/amd64": {}, "linux/arm64": {}}


def test_no_registry_outside_is_named_in_any_manifest(official: Built) -> None:
    with tarfile.open(official.bundle) as archive:
        names = [name for name in archive.getnames() if name.startswith("manifests/")]
        texts = {name: archive.extractfile(name).read().decode() for name in names}  # type: ignore[union-attr]
    assert "manifests/operator/install.yaml" in texts
    assert [name for name, text in texts.items() if "quay.io" in text] == []
    internal = "registry.internal.example:5000/feast/feastdev/feature-server:0.61.0@sha256:"
    assert internal in texts["manifests/operator/install.yaml"]


def test_the_lock_names_no_host_of_an_index(official: Built, built: Built) -> None:
    for project in (official.project, built.project):
        text = (project / "bundle.lock").read_text()
        assert "//" not in text.replace("https://git.", "")


def test_a_moved_tag_is_not_built_from_the_lock(official: Built, mirror: RunningRegistry, tmp_path: Path) -> None:
    target = f"docker://{mirror.address}/openshift/origin-cli:4.17"
    other = f"docker://{mirror.address}/feastdev/feature-server:0.61.0"
    run(["skopeo", "copy", "-q", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", other, target])
    again = build(official.project, official.cache, tmp_path / "dist", "--locked")
    assert again.result["digest"] == official.result["digest"]


def test_a_dry_run_lists_the_images_and_their_bytes_and_builds_nothing(official: Built, tmp_path: Path) -> None:
    place: list[str | Path] = [
        "-f",
        official.project / "bundle.yaml",
        "-o",
        tmp_path / "dist",
        "--cache-dir",
        tmp_path / "cache",
    ]
    ran = bundler("build", *place, "--dry-run", "--output", "json")
    assert ran.status == 0, ran.stderr
    planned = json.loads(ran.stdout)
    sizes = {image["reference"].partition("@")[0]: image["bytesToFetch"] for image in planned["images"]}
    assert set(sizes) == {f"quay.io/{name}" for name in STAND_INS}
    # Blobs that images share are fetched once.
    assert max(sizes.values()) < planned["bytesToFetch"] < sum(sizes.values())
    assert not (tmp_path / "dist").exists()


def test_skopeo_as_the_engine_builds_the_same_bundle(official: Built, tmp_path: Path) -> None:
    again = build(official.project, tmp_path / "cache", tmp_path / "dist", "--locked", "--reader", "skopeo")
    assert again.result["digest"] == official.result["digest"]

"""What a push believes, and what becomes of the others where one image fails: real and made-up registries."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import urllib3

from bundler.errors import ExitCode, RegistryError, VerificationError
from bundler.model.digest import Digest
from bundler.model.progress import SilentProgress
from bundler.steps.transport import push, push_by_skopeo
from bundler.steps.transport.push_failures import exit_code
from bundler.steps.transport.push_plan import Receipt
from tests.support import artifacts, memory_registry, pushing, registries, sample_bundles
from tests.support.memory_registry import MemoryRegistry, Reply, error
from tests.support.registries import RunningRegistry
from tests.support.sample_bundles import SampleLayer

pytestmark = pytest.mark.integration

LAYERS = [SampleLayer.of(seed, 4000) for seed in (51, 52, 53)]
APP, OTHER = sample_bundles.image(LAYERS[:2]), sample_bundles.image(LAYERS[1:])
SUBJECT = f"sha256-{APP.root.digest.hex}"
IMAGES = {
    f"team/app:{SUBJECT}.sig": artifacts.signature("ours"),
    f"team/app:{SUBJECT}": artifacts.referrers(artifacts.referrer(APP, "ours")),
    "team/app:1.0": APP,
    "team/other:1.0": OTHER,
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_bundles.write(tmp_path_factory.mktemp("bundle") / "sample.bundle.tar", IMAGES)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without artifacts."""
    images = {name: IMAGES[name] for name in ("team/app:1.0", "team/other:1.0")}
    return sample_bundles.write(tmp_path_factory.mktemp("plain") / "sample.bundle.tar", images)


def run(bundle: Path, address: str, **more: object) -> Receipt:
    return push.run(bundle, pushing.options(address, **more), SilentProgress())


def pull(address: str, name: str, folder: Path) -> None:
    """Let skopeo read all of an image."""
    command = [registries.require("skopeo"), "copy", "--all", "--src-tls-verify=false"]
    subprocess.run([*command, f"docker://{address}/{name}", f"dir:{folder / 'pulled'}"], check=True)


# What a registry says that it has.


@contextmanager
def caching(folder: Path) -> Iterator[RunningRegistry]:
    """A real registry that keeps in memory which blobs it has, as most installations do."""
    with registries.running(folder) as registry:
        registry.stop()
        config = json.loads((folder / "config.yml").read_text())
        config["storage"]["cache"] = {"blobdescriptor": "inmemory"}
        (folder / "config.yml").write_text(json.dumps(config))
        registry.start()
        yield registry


@pytest.mark.parametrize("force", [False, True])
def test_blobs_that_a_garbage_collection_took_are_sent_again(plain: Path, tmp_path: Path, force: bool) -> None:  # noqa: FBT001
    with caching(tmp_path / "registry") as registry:
        run(plain, registry.address)
        for name, image in (("team/app", APP), ("team/other", OTHER)):
            urllib3.request("DELETE", f"http://{registry.address}/v2/{name}/manifests/{image.root.digest}")
        collect = [registries.PROGRAM, "garbage-collect", str(registry.folder / "config.yml")]
        subprocess.run(collect, check=True, capture_output=True)

        receipt = run(plain, registry.address, force=force)

        assert receipt.blobs_sent
        assert run(plain, registry.address).unchanged
        for name in ("team/app:1.0", "team/other:1.0"):
            pull(registry.address, name, tmp_path)


def test_a_manifest_that_is_refused_for_a_lost_blob_is_healed(plain: Path) -> None:
    store = MemoryRegistry(claims={str(layer_digest(LAYERS[0])), str(layer_digest(LAYERS[1]))})
    with memory_registry.running(store) as address:
        receipt = run(plain, address)
        assert {name for name, _ in store.manifests} == {"team/app", "team/other"}
        assert all(("team/app", str(layer_digest(layer))) in store.blobs for layer in LAYERS[:2])
        assert not receipt.failed


def layer_digest(layer: SampleLayer) -> Digest:
    return Digest.of(layer.content)


def test_force_sends_what_is_there(plain: Path) -> None:
    store = MemoryRegistry()
    with memory_registry.running(store) as address:
        first = run(plain, address)
        assert run(plain, address).unchanged
        before = store.body_bytes
        again = run(plain, address, force=True)
        assert (again.blobs_sent, again.bytes_sent) == (first.blobs_sent, first.bytes_sent)
        assert store.body_bytes == 2 * before
        assert again.manifests_put == 2


def test_a_tag_that_is_not_kept_is_an_error(plain: Path) -> None:
    class Forgetful(MemoryRegistry):
        def _manifest(self, *request: object) -> memory_registry.Reply:
            reply = super()._manifest(*request)  # type: ignore[arg-type]
            self.manifests.pop(("team/app", "1.0"), None)
            return reply

    with (
        memory_registry.running(Forgetful()) as address,
        pytest.raises(RegistryError, match="has nothing under"),
    ):
        run(plain, address)


# Artifacts.


def test_a_registry_that_refuses_artifacts_gets_every_image(bundle: Path, tmp_path: Path) -> None:
    store = MemoryRegistry(refuses=lambda _name, content: b"simplesigning" in content or b"subject" in content)
    with memory_registry.running(store) as address:
        receipt = run(bundle, address)
        assert {image.image for image in receipt.images} == {"quay.example/team/app:1.0", "quay.example/team/other:1.0"}
        assert len(receipt.failed) == 2
        assert all(failed.artifact for failed in receipt.failed)
        assert exit_code(receipt.failed) is ExitCode.ARTIFACTS

        target = tmp_path / "receipt.json"
        command = [sys.executable, "-m", "bundler", "push", str(bundle), "--registry", address, "--plain-http"]
        done = subprocess.run([*command, "--receipt", target], capture_output=True, text=True, check=False)
        assert done.returncode == ExitCode.ARTIFACTS
        assert f"{SUBJECT}.sig was not pushed" in done.stderr
        assert "MANIFEST_INVALID" in done.stderr
        assert [failed["code"] for failed in json.loads(target.read_text())["failed"]] == [7, 7]


@pytest.mark.parametrize("status", [403, 404, 405, 415, 422, 500])
def test_however_a_registry_refuses_artifacts_it_gets_every_image(status: int, bundle: Path) -> None:
    def refused(method: str, target: str, _headers: Mapping[str, str]) -> Reply | None:
        return error(status, "UNSUPPORTED") if method == "PUT" and f"/manifests/{SUBJECT}" in target else None

    store = MemoryRegistry(before=refused)
    with memory_registry.running(store) as address:
        receipt = run(bundle, address, connection=replace(pushing.ALONE, attempts=1))
    assert {("team/app", "1.0"), ("team/other", "1.0")} <= store.manifests.keys()
    assert exit_code(receipt.failed) is ExitCode.ARTIFACTS


def test_rows_of_the_site_that_we_cannot_read_stay_in_its_index(bundle: Path) -> None:
    theirs = artifacts.referrers(artifacts.referrer(APP, "site"))
    value = json.loads(theirs.blobs[theirs.root.digest])
    value["manifests"].insert(0, {**value["manifests"][0], "digest": f"sha512:{'1' * 128}"})
    store = MemoryRegistry()
    store.add("team/app", "site", theirs)
    # A real registry has what its index names.
    store.manifests["team/app", f"sha512:{'1' * 128}"] = store.manifests["team/app", "site"]
    store.manifests["team/app", SUBJECT] = ("application/vnd.oci.image.index.v1+json", json.dumps(value).encode())
    with memory_registry.running(store) as address:
        receipt = run(bundle, address)
    assert not receipt.failed
    rows = json.loads(store.manifests["team/app", SUBJECT][1])["manifests"]
    assert [row["digest"] for row in rows[:2]] == [row["digest"] for row in value["manifests"]]
    assert rows[2]["digest"] == str(artifacts.referrer(APP, "ours").root.digest)


def test_signatures_of_the_site_stay_beside_ours(bundle: Path, tmp_path: Path) -> None:
    site = {
        f"team/app:{SUBJECT}.sig": artifacts.signature("site", "other"),
        f"team/app:{SUBJECT}": artifacts.referrers(artifacts.referrer(APP, "site")),
        "team/app:1.0": APP,
    }
    theirs = sample_bundles.write(tmp_path / "site.bundle.tar", site)
    with registries.running(tmp_path / "registry") as registry:
        run(theirs, registry.address)
        receipt = run(bundle, registry.address)
        held = json.loads(registry.manifest("team/app", f"{SUBJECT}.sig"))
        assert [layer["annotations"]["signature"] for layer in held["layers"]] == [
            "site",
            "other",
            "ours",
        ]
        config = urllib3.request("GET", f"http://{registry.address}/v2/team/app/blobs/{held['config']['digest']}")
        assert config.json()["rootfs"]["diff_ids"] == [held["layers"][2]["digest"]]
        listed = json.loads(registry.manifest("team/app", SUBJECT))["manifests"]
        assert [one["digest"] for one in listed] == [
            str(artifacts.referrer(APP, name).root.digest) for name in ("site", "ours")
        ]
        assert all(one["artifactType"] == artifacts.KIND for one in listed)
        digests = {image.reference.rpartition(":")[2]: image.digest for image in receipt.images}
        assert digests[SUBJECT] == Digest.of(registry.manifest("team/app", SUBJECT))

        assert run(bundle, registry.address).unchanged
        assert run(theirs, registry.address).unchanged

        skopeo = push_by_skopeo.run(bundle, pushing.options(registry.address), SilentProgress())
        assert len(skopeo.failed) == 2
        assert "merges them" in skopeo.failed[0].error.remedy
        assert Digest.of(registry.manifest("team/app", SUBJECT)) == digests[SUBJECT]


# One image that cannot be pushed.


def test_one_bad_image_does_not_stop_the_others(plain: Path) -> None:
    def refused(_reference: str, content: bytes) -> bool:
        return Digest.of(content) == APP.root.digest

    store = MemoryRegistry(refuses=refused)
    with memory_registry.running(store) as address:
        with pytest.raises(RegistryError, match="answered 400"):
            run(plain, address)
        receipt = run(plain, address, keep_going=True)
        [failed] = receipt.failed
        assert failed.image == "quay.example/team/app:1.0"
        assert [image.image for image in receipt.images] == ["quay.example/team/other:1.0"]
        assert ("team/other", "1.0") in store.manifests
        assert exit_code(receipt.failed) is ExitCode.REGISTRY
        assert not receipt.unchanged


def test_skopeo_keeps_going_too(plain: Path) -> None:
    store = MemoryRegistry(refuses=lambda _reference, content: Digest.of(content) == APP.root.digest)
    with memory_registry.running(store) as address:
        receipt = push_by_skopeo.run(plain, pushing.options(address, keep_going=True), SilentProgress())
    assert [failed.image for failed in receipt.failed] == ["quay.example/team/app:1.0"]
    assert [image.image for image in receipt.images] == ["quay.example/team/other:1.0"]
    assert exit_code(receipt.failed) is ExitCode.REGISTRY


def test_a_damaged_blob_stops_its_own_images_only(plain: Path, tmp_path: Path) -> None:
    content = plain.read_bytes()
    at = content.index(LAYERS[0].content) + 50
    damaged = tmp_path / "damaged.bundle.tar"
    damaged.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    with memory_registry.running(MemoryRegistry()) as address:
        with pytest.raises(VerificationError):
            run(damaged, address)
        receipt = run(damaged, address, keep_going=True)
    assert [failed.image for failed in receipt.failed] == ["quay.example/team/app:1.0"]
    assert exit_code(receipt.failed) is ExitCode.VERIFICATION
    assert [image.image for image in receipt.images] == ["quay.example/team/other:1.0"]


def test_a_registry_that_is_gone_ends_even_a_push_that_keeps_going(plain: Path) -> None:
    asked = pushing.options("127.0.0.1:9", keep_going=True, connection=replace(pushing.ALONE, attempts=1))
    with pytest.raises(RegistryError, match="Cannot connect"):
        push.run(plain, asked, SilentProgress())

"""A delta leaves layers to the bundle before it: pushed after that one it is whole, and before it nothing is sent."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.effects.archive.reader import Bundle
from bundler.effects.blobs import BlobStore
from bundler.effects.registry.repository import Repository, UploadBegun
from bundler.errors import BundlerError, RegistryError, SpecError, UsageError, VerificationError
from bundler.model import layout
from bundler.model.digest import Digest
from bundler.model.findings import Status
from bundler.model.manifest import BundleManifest
from bundler.model.progress import SilentProgress
from bundler.steps.build import pack
from bundler.steps.build.pack import ImageToPack
from bundler.steps.bundle import delta, verify
from bundler.steps.bundle import images as bundled_images
from bundler.steps.bundle import summary as inspect
from bundler.steps.rehearsal import run as rehearse
from bundler.steps.rehearsal.options import RehearseOptions
from bundler.steps.transport import load, push, push_by_skopeo, serve
from bundler.steps.transport.load import LoadOptions
from bundler.steps.transport.serve import ServeOptions
from tests.integration.test_push import options
from tests.support import pushing, registries
from tests.support.programs import require
from tests.support.registries import RunningRegistry
from tests.unit import packed

pytestmark = pytest.mark.integration
SHARED = {"usr/bin/tool": b"#!/bin/sh\necho tool\n" * 500}


def next_version(folder: Path, base: Path, version: str, *more: str) -> Path:
    """Pack the sample bundle with another feature repo as a delta; ``more`` are further names of its image."""
    store = BlobStore(folder / "cache")
    plan = packed.plan(store)
    root = packed.image(store, SHARED, {"opt/feast/feature_repo/feature_store.yaml": version.encode()})
    names = [f"{packed.REGISTRY}/{name}:{version}" for name in ("driver-stats", *more)]
    images = (*(ImageToPack(name, "feature-server", root, name) for name in names), *plan.images[1:])
    known = delta.base_of(base, "driver-stats", version)
    left = delta.left_to(known, pack.describe(images, store).layers)
    made = replace(plan, version=version, images=images, base=left)
    return pack.run(made, folder / "dist", store, progress=SilentProgress()).path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed.bundle(tmp_path_factory.mktemp("bundles")).path


@pytest.fixture(scope="module")
def newer(base: Path) -> Path:
    return next_version(base.parents[1], base, "0.2.0")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with registries.running(tmp_path / "registry") as running:
        yield running


def needed(path: Path) -> set[Digest]:
    """Return what the images of a bundle need: configs and layers."""
    with Bundle.open(path) as bundle:
        return {blob.digest for image in bundled_images.open_images(bundle) for blob in image.blobs}


def test_it_holds_what_the_base_has_not_and_every_document(base: Path, newer: Path) -> None:
    with Bundle.open(newer) as bundle, Bundle.open(base) as other:
        [left] = bundle.manifest.left_out
        assert layout.blob(left) in other.members
        assert layout.blob(left) not in bundle.members
        assert bundle.manifest.base
        assert (str(bundle.manifest.base), bundle.manifest.base.digest) == (
            "driver-stats 0.1.0",
            Digest.of(other.read(layout.MANIFEST)),
        )
        held = {layout.blob_digest(name) for name in bundle.members} - {None}
        assert needed(newer) - held == {left}
        assert b"**This is a delta.** 1 layers" in bundle.read(layout.README)
    assert inspect.run(newer).to_json()["base"]["blobs"] == 1  # type: ignore[index,call-overload]
    assert inspect.run(base).to_json()["base"] is None
    assert BundleManifest.parse(inspect.run(newer).manifest.to_bytes()) == inspect.run(newer).manifest


def test_it_is_verified_with_what_is_left_out_said(newer: Path) -> None:
    report = verify.run(newer, progress=SilentProgress())
    assert not report.failed
    [said] = [one for one in report.findings if one.check == "base"]
    assert said.status is Status.MANUAL
    assert "It is a delta: 1 blobs" in said.title
    [server] = [one for one in report.findings if "driver-stats:0.2.0 is complete" in one.title]
    assert server.evidence[0].endswith("; 1 of the blobs are those of the base")


def test_after_its_base_it_sends_what_is_new_and_the_images_are_whole(
    base: Path, newer: Path, registry: RunningRegistry, tmp_path: Path
) -> None:
    asked = options(registry)
    push.run(base, asked, SilentProgress())
    planned = push.plan(newer, asked, SilentProgress())
    receipt = push.run(newer, asked, SilentProgress())
    assert receipt.blobs_sent == 2, "a layer and a config"
    assert receipt.bytes_sent == planned.bytes_to_send < 2000
    assert push.run(newer, asked, SilentProgress()).unchanged
    skopeo = [require("skopeo"), "copy", "--src-tls-verify=false", "--all"]
    for image in receipt.images:
        subprocess.run([*skopeo, f"docker://{image.reference}", f"dir:{tmp_path / 'x'}"], check=True)


def test_before_its_base_nothing_is_sent(newer: Path, registry: RunningRegistry) -> None:
    for attempt in (push.plan, push.run):
        with pytest.raises(
            RegistryError, match=r"lacks 1 blobs that this delta leaves to driver-stats 0\.1\.0"
        ) as error:
            attempt(newer, options(registry), SilentProgress())
        assert "Push driver-stats 0.1.0 there first (bundle.json sha256:" in error.value.remedy
        assert len(error.value.details) == 1
    assert not registry.blobs()


def test_what_is_left_out_is_taken_over_into_new_repositories(base: Path, registry: RunningRegistry) -> None:
    both = next_version(base.parents[1], base, "0.3.0", "another-name")
    push.run(base, options(registry), SilentProgress())
    receipt = push.run(both, options(registry), SilentProgress())
    assert receipt.blobs_mounted == 3, "the base's layer, and what was sent to the other name"
    assert registry.manifest("site/feast/another-name", "0.3.0")


def test_what_is_left_out_is_found_where_the_base_brought_it(base: Path, registry: RunningRegistry) -> None:
    renamed = next_version(base.parents[1], base, "0.5.0", "another-name")
    push.run(base, options(registry), SilentProgress())
    only = options(registry, only=("feast/another-name",))
    receipt = push.run(renamed, only, SilentProgress())
    assert receipt.blobs_mounted == 1
    assert registry.manifest("site/feast/another-name", "0.5.0")


def _begins_an_upload(repository: Repository, digest: Digest, source: str) -> UploadBegun:
    return UploadBegun(repository.begin_upload())


def test_a_registry_that_mounts_nothing_is_read_and_gets_the_blob_itself(
    base: Path, registry: RunningRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    renamed = next_version(base.parents[1], base, "0.6.0", "another-name")
    push.run(base, options(registry), SilentProgress())
    monkeypatch.setattr(Repository, "mount", _begins_an_upload)
    receipt = push.run(renamed, options(registry, only=("feast/another-name",)), SilentProgress())
    assert receipt.blobs_mounted == 0
    [image] = receipt.images
    skopeo = [require("skopeo"), "copy", "--src-tls-verify=false", "--all"]
    subprocess.run([*skopeo, f"docker://{image.reference}", f"dir:{tmp_path / 'x'}"], check=True)


def test_a_delta_is_a_base_too(base: Path, newer: Path, registry: RunningRegistry) -> None:
    third = next_version(base.parents[1], newer, "0.4.0")
    with Bundle.open(third) as bundle, Bundle.open(newer) as before:
        assert bundle.manifest.left_out.keys() == before.manifest.left_out.keys()
        assert str(bundle.manifest.base) == "driver-stats 0.2.0"
    for one in (base, newer, third):
        push.run(one, options(registry), SilentProgress())
    assert registry.manifest("site/feast/driver-stats", "0.4.0")


def test_a_base_that_is_the_bundle_itself_is_refused(base: Path) -> None:
    with pytest.raises(SpecError, match=r"is driver-stats 0\.1\.0 itself"):
        next_version(base.parents[1], base, "0.1.0")


def test_a_base_with_nothing_in_common_makes_no_delta(base: Path) -> None:
    known = delta.base_of(base, "driver-stats", "9")
    assert delta.left_to(known, {Digest.of(b"another")}) is None


@pytest.mark.parametrize(
    "read",
    [
        lambda bundle: serve.run(bundle, ServeOptions("127.0.0.1:0"), SilentProgress()),
        lambda bundle: load.run(bundle, LoadOptions("podman"), SilentProgress()),
        lambda bundle: rehearse.run(bundle, RehearseOptions("docker", {}), SilentProgress()),
        lambda bundle: push_by_skopeo.run(
            bundle, pushing.options("127.0.0.1:9"), SilentProgress()
        ),
    ],
)  # fmt: skip
def test_what_must_read_whole_images_refuses_it(read: object, newer: Path) -> None:
    assert callable(read)
    with pytest.raises(UsageError, match=r"is a delta: 1 blobs of its images are only in driver-stats 0\.1\.0"):
        read(newer)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda value: value["base"]["blobs"].append(
                {"digest": f"sha256:{'f' * 64}", "size": 1, "repository": "a"}
            ),
            "no image",
        ),
        (lambda value: value["base"]["blobs"].clear(), "is missing"),
        (lambda value: value["base"]["blobs"][0].update(size=1), "has 1 bytes, its descriptor says"),
        (lambda value: value["base"]["blobs"][0].update(digest="sha256:x"), "sha256:x"),
        (lambda value: value["base"]["blobs"][0].update(repository="../x"), "not a blob of the base"),
        (lambda value: value["base"]["blobs"][0].update(size=10**19), "not a blob of the base"),
        (lambda value: value["base"].pop("digest"), "not the base bundle of a delta"),
        (lambda value: value["base"].update(version="1; rm -rf"), "not the name and version of a bundle"),
        (lambda value: value["base"].update(name="\x1b[31m"), "not the name and version of a bundle"),
        (lambda value: value.pop("base"), "canonical form"),
        (lambda value: value.update(format=1), "canonical form"),
        (lambda value: value["base"]["blobs"].append(dict(value["base"]["blobs"][0])), "unsorted or repeated"),
        (
            lambda value: value["base"]["blobs"].insert(
                0, {"digest": value["images"][0]["root"]["digest"], "size": 1, "repository": "a"}
            )
            or value["base"]["blobs"].sort(key=lambda one: one["digest"]),
            "as a file, and as a blob that the base bundle brings",
        ),
    ],
)  # fmt: skip
def test_a_base_that_does_not_fit_is_found(change: object, said: str, newer: Path, tmp_path: Path) -> None:
    with Bundle.open(newer) as bundle:
        value = json.loads(bundle.read(layout.MANIFEST))
    assert callable(change)
    change(value)
    content = (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
    assert said in " ".join(faults(newer, content))


def faults(bundle: Path, content: bytes) -> list[str]:
    """Return what is wrong with a bundle whose ``bundle.json`` somebody with the key wrote anew."""
    try:
        manifest = BundleManifest.parse(content)
    except VerificationError as error:
        return [error.problem]
    with Bundle.open(bundle) as opened:
        _ = opened.members
        opened._manifest = manifest
        report = verify.check(opened, progress=SilentProgress())
    return [line for one in report.findings if one.status is Status.FAIL for line in (one.title, *one.evidence)]


def test_the_script_pushes_it_after_its_base(
    base: Path, newer: Path, registry: RunningRegistry, tmp_path: Path
) -> None:
    def by_script(bundle: Path) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / bundle.stem
        folder.mkdir(exist_ok=True)
        subprocess.run(["tar", "-xf", bundle, "-C", folder], check=True)
        checked = subprocess.run(["sh", folder / "install.sh", "verify"], capture_output=True, text=True, check=True)
        assert ("only in the bundle driver-stats 0.1.0\n" in checked.stderr) == (bundle == newer)
        seen = subprocess.run(
            [sys.executable, folder / "verify.py", bundle], capture_output=True, text=True, check=True
        )
        assert ("a delta: layers of its images are only in the bundle driver-stats 0.1.0, " in seen.stdout) == (
            bundle == newer
        )
        command = ["sh", str(folder / "install.sh"), "push", f"{registry.address}/site/feast"]
        environment = {"PATH": "/usr/bin:/bin", "SKOPEO_OPTIONS": "--dest-tls-verify=false"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    alone = by_script(newer)
    assert alone.returncode == 7
    assert "this is a delta: push the bundle driver-stats 0.1.0 before it" in alone.stderr
    assert by_script(base).returncode == 0
    assert by_script(newer).returncode == 0
    assert registry.manifest("site/feast/driver-stats", "0.2.0")


def test_a_base_that_is_not_there_is_an_error_of_the_program(newer: Path) -> None:
    with pytest.raises(BundlerError):
        delta.base_of(newer.parent / "none", "driver-stats", "9")

"""What an upgrade brings is said from two bundles: images, packages, the feature repo, manifests, and bytes to send."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.cli import diff as command_line
from bundler.cli import program
from bundler.effects.archive.reader import Bundle
from bundler.effects.blobs import BlobStore
from bundler.errors import UsageError, VerificationError
from bundler.model import layout
from bundler.model.delta import BaseBundle, LeftOut
from bundler.model.digest import Digest
from bundler.model.manifest import BundleManifest
from bundler.model.progress import SilentProgress
from bundler.model.reference import ImageRef
from bundler.render.sbom import BakedImage, ComponentFile, DebianPackage, PythonPackage, RepoComponent, cyclonedx
from bundler.steps.build import pack
from bundler.steps.build.pack import ImageToPack
from bundler.steps.bundle import diff
from bundler.steps.bundle.diff import Change, Difference, Side
from tests.unit import packed

BILL = "sbom/driver-stats-linux-amd64.cdx.json"


def bill(version: str, libc: str, definitions: bytes, *more: PythonPackage) -> bytes:
    image = BakedImage(
        ImageRef.parse(f"{packed.REGISTRY}/driver-stats:1"),
        Digest.of(b"image"),
        packed.AMD64,
        "2023-11-14T22:13:20Z",
        "bundler",
        "1",
        complete=True,
    )
    files = (ComponentFile("definitions.py", Digest.of(definitions)), ComponentFile("same.py", Digest.of(b"same")))
    return cyclonedx(
        image,
        python=[PythonPackage("feast", version), PythonPackage("six", "1.17.0"), *more],
        debian=[DebianPackage("libc6", libc, "amd64", "bookworm")],
        repo=RepoComponent("driver_stats", Digest.of(b"repo" + definitions), files),
    ).encode()


def bundle(folder: Path, version: str, documents: Mapping[str, bytes], repo: bytes, *images: str) -> Path:
    """Pack the sample bundle in another version: with other documents, another feature repo, further images."""
    store = BlobStore(folder / "cache")
    plan = packed.plan(store)
    shared = {"usr/bin/tool": b"#!/bin/sh\necho tool\n" * 500}
    root = packed.image(store, shared, {"opt/feast/feature_repo/feature_store.yaml": repo})
    name = f"{packed.REGISTRY}/driver-stats:{version}"
    more = tuple(ImageToPack(one, "extra", root, f"{packed.REGISTRY}/{one.partition('/')[2]}") for one in images)
    own = ImageToPack(name, "feature-server", root, name)
    plan = replace(
        plan, version=version, images=(own, *plan.images[1:], *more), documents={**packed.DOCUMENTS, **documents}
    )
    return pack.run(plan, folder / "dist", store, progress=SilentProgress()).path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    old = {
        BILL: bill("0.61.0", "2.36-9", b"old"),
        "manifests/featurestore.yaml": b"kind: FeatureStore\nimage: a\n",
        "manifests/gone.yaml": b"kind: Gone\n",
    }
    new = {
        BILL: bill("0.62.0", "2.36-10", b"new", PythonPackage("haversine", "2.9.0")),
        "manifests/featurestore.yaml": "kind: FeatureStore\nimage: \N{RIGHT-TO-LEFT OVERRIDE}b\n".encode(),
    }
    first = bundle(folder, "0.1.0", old, b"project: x\n", "quay.example/redis:7")
    return first, bundle(folder, "0.2.0", new, b"project: x # 2\n", "quay.example/valkey:8")


def test_what_changed_is_named_with_both_sides(pair: tuple[Path, Path]) -> None:
    found = diff.run(*pair)
    assert [(one.mark, one.name) for one in found.images] == [("~", "driver-stats"), ("-", "redis"), ("+", "valkey")]
    assert found.images[0].old.startswith("0.1.0@sha256:")
    assert found.images[0].new.startswith("0.2.0@sha256:")
    [(name, changes)] = found.packages.items()
    assert name == "driver-stats-linux-amd64"
    assert changes == (
        Change("deb/debian/libc6", "2.36-9", "2.36-10"),
        Change("feature-repo:driver_stats", f"{Digest.of(b'repoold')}", f"{Digest.of(b'reponew')}"),
        Change("feature-repo:driver_stats/definitions.py", f"{Digest.of(b'old')}", f"{Digest.of(b'new')}"),
        Change("pypi/feast", "0.61.0", "0.62.0"),
        Change("pypi/haversine", "", "2.9.0"),
    )
    assert [(one.mark, one.name, one.added, one.removed) for one in found.texts] == [
        ("~", "manifests/featurestore.yaml", 1, 1),
        ("-", "manifests/gone.yaml", 0, 1),
    ]
    assert not found.files


def test_the_blobs_that_are_new_are_what_a_push_would_send(pair: tuple[Path, Path]) -> None:
    found = diff.run(*pair)
    blobs = []
    for path in pair:
        with Bundle.open(path) as opened:
            blobs.append({name: one.size for name, one in opened.members.items() if name.startswith(layout.BLOBS)})
    assert found.new_blobs == {name: size for name, size in blobs[1].items() if name not in blobs[0]}
    assert len(found.new_blobs) == 3, "a layer, a config, a manifest"


def test_two_tags_of_one_image_and_two_versions_of_one_package_are_both_named(tmp_path: Path) -> None:
    two = PythonPackage("feast", "0.62.0")
    old = bundle(tmp_path, "0.1.0", {BILL: bill("0.61.0", "1", b"")}, b"x", "quay.example/redis:7")
    new = bundle(
        tmp_path, "0.2.0", {BILL: bill("0.61.0", "1", b"", two)}, b"x", *(f"quay.example/redis:{n}" for n in "78")
    )
    found = diff.run(old, new)
    redis = next(one for one in found.images if one.name == "redis")
    assert redis.new == f"{redis.old}, {redis.old.replace('7@', '8@')}"
    assert found.packages["driver-stats-linux-amd64"] == (Change("pypi/feast", "0.61.0", "0.61.0, 0.62.0"),)


def test_another_wheel_of_the_same_version_is_seen(tmp_path: Path) -> None:
    wheels = [
        PythonPackage("own", "1.0", "own-1.0-py3-none-any.whl", Digest.of(content).hex) for content in (b"a", b"b")
    ]
    paths = [
        bundle(tmp_path, version, {BILL: bill("0.61.0", "1", b"", one)}, b"x")
        for version, one in zip(("0.1.0", "0.2.0"), wheels, strict=True)
    ]
    changes = diff.run(paths[0], paths[1]).packages["driver-stats-linux-amd64"]
    assert changes == (Change("pypi/own", f"1.0 {Digest.of(b'a')}", f"1.0 {Digest.of(b'b')}"),)


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (b"a\r\n", b"a\n", ["-a\r", "+a"]),
        (b"a", b"a\n", ["-a", "\\ No newline at end of file", "+a"]),
        (b"a: \xff\n", b"a: \xfe\n", ["-a: \\xff", "+a: \\xfe"]),
    ],
)
def test_every_change_of_a_text_is_in_its_patch(tmp_path: Path, old: bytes, new: bytes, lines: list[str]) -> None:
    path = "build/notes"
    paths = [bundle(tmp_path, version, {path: text}, b"x") for version, text in (("0.1.0", old), ("0.2.0", new))]
    [change] = diff.run(paths[0], paths[1]).texts
    assert list(change.patch[3:]) == lines
    assert (change.added, change.removed) == (1, 1)


def test_a_delta_on_another_bundle_than_the_old_one_cannot_follow_it() -> None:
    layer = Digest.of(b"a layer")
    left = BaseBundle("other", "9", Digest.of(b"its bundle.json"), {layer: LeftOut(1000, "other")})
    old, new = (
        Side(Path(version), Digest.of(version.encode()), BundleManifest("s", version, "t", 0, (), (), "r/x", base))
        for version, base in (("1", None), ("2", left))
    )
    found = Difference(old, new, images=(), packages={}, texts=(), files=())
    assert found.lacking == {layout.blob(layer): 1000}
    assert not found.new_blobs
    text = "\n".join(command_line._lines(found, patch=False))
    assert "a delta: without 1 blobs, 1.0 kB, that are in other 9, sha256:" in text
    assert "1 of these are not in OLD, so NEW cannot be pushed after it" in text


def said(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    with pytest.raises(SystemExit) as ended:
        program.main(["diff", *map(str, arguments)])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_people_get_lines_that_steer_no_terminal(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, *pair)
    assert text.startswith("driver-stats 0.1.0 -> driver-stats 0.2.0\n  3 of 9 blobs are new: ")
    assert "  ~ pypi/feast  0.61.0 -> 0.62.0\n" in text
    assert "  + pypi/haversine  2.9.0\n" in text
    assert "  ~ manifests/featurestore.yaml  +1 -1 lines\n" in text
    assert "image: a" not in text
    patched = said(capsys, *pair, "--patch")
    assert "      -image: a\n      +image: \\u202eb\n" in patched
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in patched


def test_scripts_get_all_of_it(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    value = json.loads(said(capsys, *pair, "--output", "json"))
    assert (value["old"]["version"], value["new"]["version"], value["identical"]) == ("0.1.0", "0.2.0", False)
    assert value["packages"]["driver-stats-linux-amd64"][-1] == {"name": "pypi/haversine", "old": "", "new": "2.9.0"}
    assert value["texts"][0]["patch"].startswith("--- a/manifests/featurestore.yaml\n+++ b/manifests/")
    assert value["newBlobsSize"] == sum(diff.run(*pair).new_blobs.values())


def test_a_bundle_does_not_differ_from_itself(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, pair[0], pair[0]) == "driver-stats 0.1.0 -> driver-stats 0.1.0\n  the same bundle\n"
    found = diff.run(pair[0], pair[0])
    assert [*found.images, *found.packages, *found.texts, *found.files, *found.new_blobs] == []


def test_what_was_altered_on_its_way_is_not_compared(pair: tuple[Path, Path], tmp_path: Path) -> None:
    altered = tmp_path / pair[1].name
    altered.write_bytes(pair[1].read_bytes().replace(b"0.62.0", b"0.63.0"))
    with pytest.raises(VerificationError, match="is damaged or was altered") as refused:
        diff.run(pair[0], altered)
    assert any(BILL in line for line in refused.value.details)
    with pytest.raises(UsageError):
        diff.run(pair[0], tmp_path / "none")


@pytest.mark.parametrize("text", [b"[]", b"not JSON", b"[" * 100_000])
def test_a_bill_that_is_none_is_named_before_it_is_packed(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(VerificationError) as refused:
        bundle(tmp_path, "0.3.0", {BILL: text}, b"project: x\n")
    assert any(f"{BILL} cannot be read" in line for line in refused.value.details)

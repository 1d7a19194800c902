"""What a build does is known from the spec alone, before anything is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bundler.effects.blobs import BlobStore
from bundler.errors import SpecError
from bundler.model.digest import Digest
from bundler.model.lock import BundleLock, LockedPlatform, LockedWheel
from bundler.model.spec import BundleSpec
from bundler.steps.build.plan import BuildPlan, PackagePlan
from bundler.steps.build.steps import StepKind, engine_of, steps
from bundler.steps.sources.mirror import MirrorPlan
from tests.unit.manifest_cases import spec


def _spec(**changes: Any) -> BundleSpec:
    return BundleSpec.model_validate({**spec().model_dump(by_alias=True, exclude_unset=True), **changes})


def test_a_build_goes_from_the_inputs_to_the_packed_bundle() -> None:
    kinds = [step.kind for step in steps(_spec())]
    assert kinds == [kind for kind in StepKind if kind not in (StepKind.REHEARSE, StepKind.SIGN_IMAGES)]


def test_images_are_signed_before_the_manifests_and_rehearsed_before_the_checklist_that_tells_of_it() -> None:
    assert [step.kind for step in steps(_spec(), rehearse=True, sign_images=True)] == list(StepKind)


@pytest.mark.parametrize(
    ("options", "kind", "title"),
    [
        ({}, StepKind.LOCK, "resolve and write bundle.lock"),
        ({"has_lock": True}, StepKind.LOCK, "check bundle.lock against what was found"),
        ({}, StepKind.BAKE, "bake the feature server's image without a container engine"),
        ({"engine": "podman"}, StepKind.BAKE, "bake the feature server's image with podman"),
        ({}, StepKind.PACK, "pack and verify the bundle"),
        ({"signed": True}, StepKind.PACK, "pack, sign and verify the bundle"),
    ],
)
def test_titles_say_what_this_build_does(options: dict[str, Any], kind: StepKind, title: str) -> None:
    assert [step.title for step in steps(_spec(), **options) if step.kind is kind] == [title]


@pytest.mark.parametrize(
    ("base", "title"),
    [
        ({"debian": "bookworm"}, "gather the base image for linux/amd64: make it from packages of Debian bookworm"),
        ({"image": "r.example/base:1"}, "gather the base image for linux/amd64: pull r.example/base:1"),
    ],
)
def test_the_base_image_says_where_it_comes_from(base: dict[str, str], title: str) -> None:
    assert title in [step.title for step in steps(_spec(base=base))]


def test_scripts_get_a_stable_name_for_each_step() -> None:
    assert steps(_spec())[0].to_json() == {"name": "check-inputs", "title": "check the inputs and the output folder"}


def test_the_option_comes_before_the_engine_of_the_spec() -> None:
    assert engine_of(_spec(engine="docker"), None) == "docker"
    assert engine_of(_spec(engine="docker"), "podman") == "podman"
    assert engine_of(_spec(engine="docker"), "none") is None


def test_source_distributions_need_an_engine() -> None:
    with pytest.raises(SpecError, match="only a container engine builds them"):
        engine_of(_spec(sdists=["a==1.0"]), "none")


def _lock(*contents: bytes) -> BundleLock:
    wheels = tuple(
        LockedWheel(
            name=f"w{number}",
            version="1",
            filename=f"w{number}-1-py3-none-any.whl",
            size=len(content),
            sha256=Digest.of(content).hex,
        )
        for number, content in enumerate(contents)
    )
    digest = f"sha256:{'0' * 64}"
    rows = tuple(
        LockedPlatform(
            platform=name, python="3.11.2", glibc="2.36", base_digest=digest, base_packages={}, wheels=wheels
        )
        for name in ("linux/amd64", "linux/arm64")
    )
    return BundleLock(
        tool="t", created=0, spec=digest, repo=digest, compressor="c", constraints="", platforms=rows, images=()
    )


def test_a_dry_run_counts_the_packages_of_the_lock_each_file_once(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    store.put(b"here")
    planned = BuildPlan((), MirrorPlan((), 1000), PackagePlan.of(_lock(b"here", b"is missing"), store))
    assert planned.lines() == (
        "     10 B of      14 B  2 Python packages",
        "   1.0 kB to fetch, without Debian packages",
    )
    assert planned.to_json()["packages"] == {"count": 2, "size": 14, "bytesToFetch": 10}


def test_a_dry_run_without_a_lock_says_what_it_does_not_know() -> None:
    (line,) = BuildPlan((), MirrorPlan((), 0), None).lines()
    assert line.endswith("to fetch, without Python packages (there is no bundle.lock yet) and Debian packages")

"""Images of uncommon shapes: indexes in indexes, entries without a platform, foreign layers, other digests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundler.effects.blobs import BlobStore
from bundler.effects.registry.endpoint import Access
from bundler.errors import SpecError
from bundler.model.companions import ImageWish
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.model.progress import SilentProgress
from bundler.oci import index
from bundler.steps.sources import mirror
from tests.support import artifacts, memory_registry, sample_bundles
from tests.support.memory_registry import MemoryRegistry
from tests.support.pushing import ALONE
from tests.support.sample_bundles import AMD64, ARM64, SampleImage, SampleLayer

pytestmark = pytest.mark.integration

AMD = sample_bundles.image([SampleLayer.of(81, 2000)])
ARM = sample_bundles.image([SampleLayer.of(82, 2000)], ARM64)
BOTH = sample_bundles.index([AMD, ARM])
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


def changed(image: SampleImage, change: Callable[[dict[str, Any]], object]) -> SampleImage:
    value = json.loads(image.blobs[image.root.digest])
    change(value)
    content = json.dumps(value).encode()
    root = Descriptor(image.root.media_type, Digest.of(content), len(content), image.root.platform)
    return SampleImage(root, {**image.blobs, root.digest: content}, image.platforms)


def nested(image: SampleImage, times: int = 1) -> SampleImage:
    for _ in range(times):
        entry = image.root.to_json()
        outer = changed(BOTH, lambda value, entry=entry: value.update(manifests=[entry]))  # type: ignore[misc]
        image = SampleImage(outer.root, {**image.blobs, outer.root.digest: outer.blobs[outer.root.digest]})
    return image


def without_platforms(image: SampleImage) -> SampleImage:
    return changed(image, lambda value: [entry.pop("platform") for entry in value["manifests"]])


class Telling(SilentProgress):
    def __init__(self, said: list[str]) -> None:
        self.said = said

    def say(self, text: str) -> None:
        self.said.append(text)


def pull(
    image: SampleImage,
    folder: Path,
    *platforms: Platform,
    all_platforms: bool = False,
    said: list[str] | None = None,
) -> tuple[Descriptor, BlobStore]:
    registry, store = MemoryRegistry(), BlobStore(folder)
    registry.add("team/app", "1.0", image)
    wish = ImageWish(all_platforms=all_platforms)
    with memory_registry.running(registry) as address:
        access = Access(ALONE, plain_http=True)
        reference, progress = f"{address}/team/app:1.0", Telling([] if said is None else said)
        found = mirror.pull(reference, platforms, store, progress=progress, access=access, wish=wish)
    return found.root, store


@pytest.mark.parametrize("image", [nested(BOTH), nested(BOTH, 2), without_platforms(BOTH)])
def test_an_index_that_does_not_name_its_platforms_is_looked_into(image: SampleImage, tmp_path: Path) -> None:
    whole, _ = pull(image, tmp_path / "whole", AMD64, ARM64)
    assert whole.digest == image.root.digest

    root, store = pull(image, tmp_path / "part", ARM64)
    kept = index.parse(store.read(root.digest), root.media_type)
    assert [(entry.digest, entry.platform) for entry in kept.manifests] == [(ARM.root.digest, ARM64)]


def test_indexes_that_are_nested_too_deep_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="nested too deep"):
        pull(nested(BOTH, 3), tmp_path, AMD64)


def test_a_missing_platform_is_told_with_those_that_were_found(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no image for linux/s390x; there are: linux/amd64, linux/arm64"):
        pull(nested(without_platforms(BOTH)), tmp_path, Platform("linux", "s390x"))


@pytest.mark.parametrize("media_type", [FOREIGN, "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"])
def test_a_foreign_layer_is_named_before_anything_is_fetched(media_type: str, tmp_path: Path) -> None:
    row = {"mediaType": media_type, "digest": f"sha256:{'1' * 64}", "size": 9, "urls": ["https://maker.example/layer"]}
    image = changed(AMD, lambda value: value["layers"].insert(0, row))
    with pytest.raises(
        SpecError, match=r"foreign layer, sha256:1+, which lies at https://maker\.example/layer"
    ) as caught:
        pull(image, tmp_path, AMD64)
    assert "Mirror an image without such layers" in caught.value.remedy


def test_a_foreign_layer_that_its_registry_holds_is_taken(tmp_path: Path) -> None:
    image = changed(AMD, lambda value: value["layers"][0].update(mediaType=FOREIGN, urls=["https://maker.example/x"]))
    root, _ = pull(image, tmp_path, AMD64)
    assert root.digest == image.root.digest


@pytest.mark.parametrize("image", [changed(AMD, lambda value: value["layers"][0].update(digest=f"sha512:{'1' * 128}"))])
def test_a_part_that_is_named_by_another_digest_is_told(image: SampleImage, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"not a sha256 digest: 'sha512:1+") as caught:
        pull(image, tmp_path, AMD64)
    assert "SHA-256" in caught.value.remedy


SHA512 = f"sha512:{'1' * 128}"


def renamed(image: SampleImage, platform: Platform | None) -> SampleImage:
    """Name the entry for a platform by SHA-512; None: one that says no platform."""

    def rename(value: dict[str, Any]) -> None:
        for entry in value["manifests"]:
            if entry.get("platform", {}).get("architecture") == (platform.architecture if platform else None):
                entry["digest"] = SHA512

    return changed(image, rename)


OTHER_ARM = renamed(BOTH, ARM64)
OTHER_BELOW = changed(
    BOTH,
    lambda value: value.update(
        manifests=[AMD.root.to_json(), changed(ARM, lambda arm: arm["layers"][0].update(digest=SHA512)).root.to_json()]
    ),
)


@pytest.mark.parametrize("image", [OTHER_ARM, nested(OTHER_ARM), OTHER_BELOW])
def test_another_digest_matters_only_where_its_platform_is_wanted(image: SampleImage, tmp_path: Path) -> None:
    root, store = pull(image, tmp_path, AMD64)
    kept = index.parse(store.read(root.digest), root.media_type)
    assert [entry.digest for entry in kept.manifests] == [AMD.root.digest]


@pytest.mark.parametrize("image", [OTHER_ARM, nested(OTHER_ARM), renamed(without_platforms(BOTH), None)])
def test_a_wanted_platform_of_another_digest_is_told(image: SampleImage, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot be used: not a sha256 digest: 'sha512:1+") as caught:
        pull(image, tmp_path, ARM64)
    assert "SHA-256" in caught.value.remedy
    assert "platforms: all" not in caught.value.remedy


@pytest.mark.parametrize("image", [OTHER_ARM, nested(OTHER_ARM)])
def test_another_digest_is_told_where_all_platforms_are_wanted(image: SampleImage, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot be used: .*not a sha256 digest: 'sha512:1+") as caught:
        pull(image, tmp_path, all_platforms=True)
    assert "SHA-256" in caught.value.remedy
    assert "leave out 'platforms: all'" in caught.value.remedy


def test_an_attestation_of_another_digest_is_left_out_and_said(tmp_path: Path) -> None:
    whole = artifacts.attested(AMD)
    image = changed(whole, lambda value: value["manifests"][1].update(digest=SHA512))
    said: list[str] = []
    root, store = pull(image, tmp_path, AMD64, said=said)
    assert [entry.digest for entry in index.parse(store.read(root.digest)).manifests] == [AMD.root.digest]
    assert any("an attestation is left out: not a sha256 digest" in line for line in said)


def test_a_reference_of_another_digest_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected a digest as sha256:"):
        mirror.pull(f"r.example/app@sha512:{'1' * 128}", [AMD64], BlobStore(tmp_path), progress=SilentProgress())

"""What comes along with an image, what does not and why: registries that answer as some do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bundler.effects.blobs import BlobStore
from bundler.effects.registry.mirrors import Location, Rule
from bundler.effects.registry.pull import PullSettings
from bundler.errors import SpecError
from bundler.model import limits, media_types
from bundler.model.companions import CompanionPolicy, ImageWish
from bundler.model.digest import Digest
from bundler.model.progress import SilentProgress
from bundler.steps.sources import mirror
from bundler.steps.sources.mirror import MirroredImage, MirrorOptions
from tests.support import artifacts, memory_registry, sample_bundles
from tests.support.memory_registry import MemoryRegistry, Reply
from tests.support.pushing import ALONE
from tests.support.sample_bundles import AMD64, ARM64, SampleImage, SampleLayer

pytestmark = pytest.mark.integration

AMD = sample_bundles.image([SampleLayer.of(91, 500)], AMD64)
ARM = sample_bundles.image([SampleLayer.of(92, 500)], ARM64)
MULTI = sample_bundles.index([AMD, ARM])
NAME = "quay.example/team/app:1.0"


class Telling(SilentProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@dataclass
class Source:
    registry: MemoryRegistry
    address: str
    folder: Path

    def mirror(self, **wish: object) -> tuple[MirroredImage, list[str]]:
        progress = Telling()
        rules = (Rule("quay.example", (Location(self.address, insecure=True),), Location("quay.example")),)
        settings = PullSettings(rules=rules, connection=replace(ALONE, attempts=1))
        asked = MirrorOptions((AMD64,), settings, {NAME: ImageWish(**wish)})  # type: ignore[arg-type]
        [image] = mirror.run([NAME], asked, BlobStore(self.folder), progress)
        return image, progress.said

    def sign(self, subject: Digest) -> str:
        self.put(f"sha256-{subject.hex}.sig", artifacts.signature("x"))
        return f"sha256-{subject.hex}.sig"

    def put(self, tag: str, image: SampleImage) -> None:
        self.registry.add("team/app", tag, image)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    registry = MemoryRegistry()
    with memory_registry.running(registry) as address:
        yield Source(registry, address, tmp_path / "cache")


def subject_tag(image: SampleImage) -> str:
    return f"sha256-{image.root.digest.hex}"


def tags(image: MirroredImage) -> list[str]:
    return [companion.reference.rpartition(":")[2] for companion in image.companions]


def test_a_signature_of_a_filtered_index_is_looked_for_and_said(source: Source) -> None:
    source.put("1.0", MULTI)
    tag = source.sign(MULTI.root.digest)
    image, said = source.mirror()
    assert tags(image) == []
    assert [line for line in said if tag in line and "is left out" in line and "platforms: all" in line] == said
    with pytest.raises(SpecError, match="has no signature") as caught:
        source.mirror(companions=CompanionPolicy.REQUIRED)
    assert tag in caught.value.details[0]

    whole, said = source.mirror(companions=CompanionPolicy.REQUIRED, all_platforms=True)
    assert (tags(whole), said, whole.root.digest) == ([tag], [], MULTI.root.digest)


def test_a_filtered_index_whose_signature_is_not_known_is_said(source: Source) -> None:
    source.put("1.0", MULTI)
    source.registry.before = lambda _method, target, _headers: (
        Reply(403) if f"sha256-{MULTI.root.digest.hex}." in target else None
    )
    image, said = source.mirror()
    assert tags(image) == []
    assert any("it is not known whether something is beside it" in line and "403" in line for line in said)


def test_signatures_of_the_images_in_a_filtered_index_hold(source: Source) -> None:
    source.put("1.0", MULTI)
    tag = source.sign(AMD.root.digest)
    image, said = source.mirror(companions=CompanionPolicy.REQUIRED)
    assert (tags(image), said) == ([tag], [])


def test_what_is_not_wanted_is_not_looked_for(source: Source) -> None:
    source.put("1.0", AMD)
    source.sign(AMD.root.digest)
    assert tags(source.mirror(companions=CompanionPolicy.UNWANTED)[0]) == []
    assert not any("sha256-" in path for _, path in source.registry.requests)


@pytest.mark.parametrize("status", [401, 403, 405, 501])
def test_a_head_that_is_filtered_is_asked_again_by_get(source: Source, status: int) -> None:
    def filtered(method: str, target: str, _headers: Mapping[str, str]) -> Reply | None:
        return Reply(status) if method == "HEAD" and "/manifests/sha256-" in target else None

    source.put("1.0", AMD)
    tag = source.sign(AMD.root.digest)
    source.registry.before = filtered
    image, said = source.mirror()
    assert (tags(image), said) == ([tag], [])


def test_what_the_registry_does_not_say_is_not_known(source: Source) -> None:
    def filtered(_method: str, target: str, _headers: Mapping[str, str]) -> Reply | None:
        return Reply(403) if "/manifests/sha256-" in target or "/referrers/" in target else None

    source.put("1.0", AMD)
    source.registry.before = filtered
    image, said = source.mirror()
    assert tags(image) == []
    assert any("it is not known whether something is beside it: " in line and "403" in line for line in said)
    with pytest.raises(SpecError) as caught:
        source.mirror(companions=CompanionPolicy.REQUIRED)
    assert any("403" in line for line in caught.value.details)


def test_a_referrers_api_that_is_broken_is_borne(source: Source) -> None:
    source.put("1.0", AMD)
    source.registry.before = lambda _method, target, _headers: Reply(500) if "/referrers/" in target else None
    image, said = source.mirror()
    assert image.root.digest == AMD.root.digest
    assert any("500" in line for line in said)


@pytest.mark.parametrize("other", [AMD, MULTI])
def test_an_image_under_the_tag_of_a_digest_is_not_a_companion(source: Source, other: SampleImage) -> None:
    source.put("1.0", AMD)
    source.put(f"sha256-{AMD.root.digest.hex}", other)
    source.put(f"sha256-{AMD.root.digest.hex}.sig", AMD)
    image, said = source.mirror()
    assert (tags(image), said) == ([], [])


def test_the_index_of_referrers_tells_their_types(source: Source) -> None:
    ours = [artifacts.referrer(AMD, name) for name in ("a", "b")]
    foreign, lost = artifacts.referrer(ARM, "another subject"), artifacts.referrer(AMD, "gone")
    source.put("1.0", AMD)
    source.put(f"sha256-{AMD.root.digest.hex}", artifacts.referrers(*ours, foreign, lost, types=False))
    del source.registry.manifests["team/app", str(lost.root.digest)]
    image, said = source.mirror()
    [companion] = image.companions
    kept = json.loads(BlobStore(source.folder).read(companion.root.digest))["manifests"]
    assert {one["digest"] for one in kept} == {str(one.root.digest) for one in ours}
    assert {(one["artifactType"], one["annotations"]["by"]) for one in kept} == {
        (artifacts.KIND, "a"),
        (artifacts.KIND, "b"),
    }
    assert len(said) == 1, "one that is listed is not there"


@pytest.mark.parametrize("by_tag", [False, True])
def test_a_signature_of_a_bill_of_materials_comes_along(source: Source, by_tag: bool) -> None:  # noqa: FBT001
    bill = artifacts.referrer(AMD, "bill")
    signed = artifacts.signature("of the bill") if by_tag else artifacts.referrer(bill, "notation")
    source.put("1.0", AMD)
    source.put(subject_tag(AMD), artifacts.referrers(bill))
    tag = subject_tag(bill) + (".sig" if by_tag else "")
    source.put(tag, signed if by_tag else artifacts.referrers(signed))

    image, said = source.mirror()

    assert (tags(image), said) == ([subject_tag(AMD), tag], [])
    store = BlobStore(source.folder)
    assert all(store.has(digest) for digest in (*bill.blobs, *signed.blobs))
    assert source.mirror()[0] == image, "also from the record of the cache"


def test_what_refers_to_each_other_without_end_is_said(source: Source) -> None:
    source.put("1.0", AMD)
    subject = AMD
    for level in range(limits.COMPANION_DEPTH + 1):
        signed = artifacts.referrer(subject, f"level {level}")
        source.put(subject_tag(subject), artifacts.referrers(signed))
        subject = signed
    image, said = source.mirror()
    assert len(tags(image)) == limits.COMPANION_DEPTH
    assert any("only 4 levels" in line for line in said)


@pytest.mark.parametrize("by_api", [False, True])
def test_a_referrer_of_another_digest_is_said_and_the_others_come(source: Source, by_api: bool) -> None:  # noqa: FBT001
    ours = artifacts.referrer(AMD, "ours")
    listed = json.loads(artifacts.referrers(ours).blobs[artifacts.referrers(ours).root.digest])
    listed["manifests"].insert(0, {**listed["manifests"][0], "digest": f"sha512:{'1' * 128}"})
    source.put("1.0", AMD)
    source.put("ours", ours)
    content = json.dumps(listed).encode()
    if by_api:
        source.registry.before = lambda _method, target, _headers: (
            Reply(200, {}, content) if f"/referrers/{AMD.root.digest}" in target else None
        )
    else:
        source.registry.manifests["team/app", subject_tag(AMD)] = (media_types.OCI_INDEX, content)
    image, said = source.mirror()
    assert tags(image) == [subject_tag(AMD)]
    assert [line for line in said if "not a sha256 digest: 'sha512:1" in line] == said


def test_what_buildx_attests_stays_in_the_index(source: Source) -> None:
    whole = artifacts.attested(AMD, ARM)
    source.put("1.0", whole)
    image, said = source.mirror()
    kept = json.loads(BlobStore(source.folder).read(image.root.digest))["manifests"]
    assert [one.get("annotations", {}).get("vnd.docker.reference.digest") for one in kept] == [
        None,
        str(AMD.root.digest),
    ]
    assert BlobStore(source.folder).has(Digest.of(b'{"_type": "https://in-toto.io/Statement/v0.1"}'))
    assert said == []

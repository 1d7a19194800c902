"""What a push will do, decided from the bundle and from what is there."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from bundler.effects.archive.reader import Bundle
from bundler.effects.registry import parallel
from bundler.effects.registry.endpoint import Destination
from bundler.effects.registry.meter import Meter
from bundler.effects.registry.retry import Cancellation, CancelledError
from bundler.errors import RegistryError, UsageError, VerificationError
from bundler.model.digest import Digest
from bundler.steps.bundle import verify
from bundler.steps.bundle.images import NamedImage, choose, name, open_images
from bundler.steps.transport import push_plan
from bundler.steps.transport.push_plan import ContentKind, PushPlan, Question
from tests.support import sample_bundles
from tests.support.sample_bundles import REGISTRY, SampleImage, SampleLayer

LAYERS = [SampleLayer.of(seed, size) for seed, size in ((1, 9000), (2, 100), (3, 5000))]
APP = sample_bundles.image(LAYERS[:2])
OTHER = sample_bundles.image(LAYERS[1:])
SITE = Destination("registry.site:5000", "a/b")


def named(tmp_path: Path, images: dict[str, SampleImage], destination: Destination = SITE) -> tuple[NamedImage, ...]:
    with Bundle.open(sample_bundles.write(tmp_path / "x.bundle.tar", images)) as bundle:
        return tuple(name(image, REGISTRY, destination) for image in open_images(bundle))


def plan(images: tuple[NamedImage, ...], *there: Question) -> PushPlan:
    return push_plan.make(images, there, SITE)


def test_names_keep_what_follows_the_registry_of_the_bundle(tmp_path: Path) -> None:
    images = named(tmp_path, {"team/app:1.0": APP, "other:2": OTHER})
    assert [str(image.target) for image in images] == [
        "registry.site:5000/a/b/team/app:1.0",
        "registry.site:5000/a/b/other:2",
    ]
    plain = named(tmp_path, {"team/app:1.0": APP}, Destination("registry"))
    assert str(plain[0].target) == "registry/team/app:1.0"


def test_names_are_made_flat_for_a_registry_without_nested_paths(tmp_path: Path) -> None:
    flat = Destination("registry.site:5000", "a", flat=True)
    images = named(tmp_path, {"team/app:1.0": APP, "other:2": OTHER}, flat)
    assert [str(image.target) for image in images] == [
        "registry.site:5000/a/team-app:1.0",
        "registry.site:5000/a/other:2",
    ]
    with pytest.raises(UsageError, match="would both become"):
        plan(named(tmp_path, {"a/b-c:1": APP, "a-b/c:1": OTHER}, flat))


def test_an_image_without_a_tag_gets_one(tmp_path: Path) -> None:
    images = named(tmp_path, {f"team/app@{APP.root.digest}": APP})
    assert images[0].target.tag == f"sha256-{APP.root.digest.short}"
    assert images[0].target.digest is None


def test_everything_is_missing_at_an_empty_registry(tmp_path: Path) -> None:
    found = plan(named(tmp_path, {"app:1": APP, "other:1": OTHER}))

    assert [blob.descriptor.size for blob in found.blobs] == sorted(
        (blob.descriptor.size for blob in found.blobs), reverse=True
    )
    shared = next(blob for blob in found.blobs if blob.descriptor.digest == Digest.of(LAYERS[1].content))
    assert shared.missing == ("a/b/app", "a/b/other")
    assert found.bytes_to_send == sum(blob.descriptor.size for blob in found.blobs)
    assert [len(image.manifests) for image in found.images] == [1, 1]


def test_a_blob_that_another_repository_has_costs_nothing(tmp_path: Path) -> None:
    digest = Digest.of(LAYERS[1].content)
    images = named(tmp_path, {"app:1": APP, "other:1": OTHER})
    found = plan(images, Question(ContentKind.BLOB, "a/b/other", digest))

    shared = next(blob for blob in found.blobs if blob.descriptor.digest == digest)
    assert (shared.present, shared.missing, shared.bytes_to_send) == (("a/b/other",), ("a/b/app",), 0)
    assert found.bytes_present == len(LAYERS[1].content)


def test_nothing_is_left_to_do_when_all_is_there(tmp_path: Path) -> None:
    images = named(tmp_path, {"app:1": APP, "multi:1": sample_bundles.index([APP, OTHER])})
    found = plan(images, *push_plan.questions(images))
    assert found.bytes_to_send == 0
    assert not any(blob.missing for blob in found.blobs)
    assert not any(image.manifests for image in found.images)


def test_each_question_is_asked_once(tmp_path: Path) -> None:
    images = named(tmp_path, {"app:1": APP, "app:2": APP, "multi:1": sample_bundles.index([APP, OTHER])})
    questions = push_plan.questions(images)
    assert len(set(questions)) == len(questions)
    assert {question.tag for question in questions if question.kind is ContentKind.TAG} == {"1", "2"}
    assert sum(question.kind is ContentKind.MANIFEST for question in questions) == 2


def test_children_come_before_their_index(tmp_path: Path) -> None:
    multi = sample_bundles.index([APP, OTHER])
    image = plan(named(tmp_path, {"multi:1": multi})).images[0]
    assert [manifest.descriptor.digest for manifest in image.manifests] == [
        APP.root.digest,
        OTHER.root.digest,
        multi.root.digest,
    ]


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    images = named(tmp_path, {"app:1": APP, "other:1": OTHER})
    clash = NamedImage(images[1].opened, images[0].target)
    with pytest.raises(UsageError, match="would both become"):
        plan((images[0], clash))


@pytest.mark.parametrize(
    "wanted", ["quay.example/team/app:1.0", "quay.example/team/app", "team/app:1.0", f"{REGISTRY}/team/app:1.0"]
)
def test_an_image_can_be_called_by_any_of_its_names(wanted: str, tmp_path: Path) -> None:
    with Bundle.open(sample_bundles.write(tmp_path / "x.tar", {"team/app:1.0": APP, "other:1": OTHER})) as bundle:
        images = open_images(bundle)
    assert [image.image.root for image in choose(images, (wanted,))] == [APP.root]
    assert choose(images, ()) == images


def test_sound_metadata_is_accepted_and_extra_files_are_not(tmp_path: Path) -> None:
    path = sample_bundles.write(tmp_path / "x.tar", {"app:1": APP})
    with Bundle.open(path) as bundle:
        verify.require_metadata(bundle)


def test_altered_metadata_is_named_with_both_digests(tmp_path: Path) -> None:
    path = sample_bundles.write(tmp_path / "x.tar", {"app:1": APP})
    content = path.read_bytes()
    path.write_bytes(content.replace(b"kind: FeatureStore", b"kind: FeatureSt0re"))
    with Bundle.open(path) as bundle, pytest.raises(VerificationError) as caught:
        verify.require_metadata(bundle)
    assert "manifests/featurestore.yaml" in caught.value.details[0]
    assert caught.value.details[0].count("sha256:") == 2


def test_results_come_in_the_order_of_the_items() -> None:
    def work(item: int) -> int:
        time.sleep(0.002 * (5 - item))
        return item * 10

    assert parallel.each(range(5), work, workers=5, cancellation=Cancellation()) == (0, 10, 20, 30, 40)
    assert parallel.each([], work, workers=5, cancellation=Cancellation()) == ()


def test_few_begin_and_the_others_join_while_there_is_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_RAMP", 0.2)
    together = threading.Barrier(4)
    begun: list[float] = []

    def work(_: int) -> None:
        begun.append(time.monotonic())
        together.wait(5)  # until all four work at once

    start = time.monotonic()
    parallel.each(range(4), work, workers=4, cancellation=Cancellation(), at_first=2)
    assert begun[2] - start >= 0.2
    assert begun[3] - start >= 0.4


def test_what_few_have_done_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_RAMP", 60.0)
    assert parallel.each(range(9), lambda item: item, workers=8, cancellation=Cancellation(), at_first=1) == tuple(
        range(9)
    )
    with pytest.raises(ZeroDivisionError):
        parallel.each(range(9), lambda item: 1 // item, workers=8, cancellation=Cancellation(), at_first=1)


def test_the_first_error_calls_the_rest_off() -> None:
    cancellation = Cancellation()
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        if item == 1:
            raise RegistryError("no")
        cancellation.sleep(5)

    begin = time.monotonic()
    with pytest.raises(RegistryError, match="no"):
        parallel.each(range(100), work, workers=2, cancellation=cancellation)
    assert time.monotonic() - begin < 2
    assert len(begun) == 2
    with pytest.raises(CancelledError):
        cancellation.check()


class _Counting:
    def __init__(self) -> None:
        self.steps: list[int] = []

    def advance(self, amount: int) -> None:
        self.steps.append(amount)

    def note(self, text: str) -> None:
        pass


def test_the_meter_never_goes_back() -> None:
    task = _Counting()
    meter = Meter(task)
    for position in (10, 30, 0, 20, 31):
        meter.reached("a", position)
    threads = [threading.Thread(target=meter.reached, args=("b", 5)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert task.steps == [10, 20, 1, 5]

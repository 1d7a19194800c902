"""Every kind of image through every part of its way: mirrored, packed, verified, pushed, pulled back, served, cut.

One source registry, one bundle, one target registry; each test looks at one kind after one step.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bundler.effects.archive.reader import Bundle
from bundler.effects.blobs import BlobStore
from bundler.effects.registry.mirrors import Location, Rule
from bundler.effects.registry.pull import PullSettings
from bundler.effects.registry_server.server import serving
from bundler.model import layout
from bundler.model.companions import ImageWish
from bundler.model.digest import Digest
from bundler.model.findings import Report, Status
from bundler.model.progress import SilentProgress
from bundler.oci import graph
from bundler.oci import index as oci_index
from bundler.steps.build import pack
from bundler.steps.build.pack import ImageToPack
from bundler.steps.bundle import delta, verify
from bundler.steps.bundle import summary as inspect
from bundler.steps.bundle.images import open_images
from bundler.steps.sources import mirror
from bundler.steps.sources.mirror import MirroredImage, MirrorOptions
from bundler.steps.transport import push, serve
from bundler.steps.transport.push_plan import Receipt
from tests.support import artifacts, pushing, registries, sample_bundles, validate
from tests.support.registries import RunningRegistry
from tests.support.sample_bundles import AMD64, ARM64, SampleImage, SampleLayer
from tests.unit import packed

pytestmark = pytest.mark.integration


def image(seed: int, **more: object) -> SampleImage:
    layers = [SampleLayer.of(seed + number, 700) for number in range(2)]
    return sample_bundles.image(layers, **more)  # type: ignore[arg-type]


def index(seed: int, **more: object) -> SampleImage:
    return sample_bundles.index([image(seed), image(seed + 10, platform=ARM64)], **more)  # type: ignore[arg-type]


SIGNED = image(400)
SUBJECT = f"sha256-{SIGNED.root.digest.hex}"
BILL = artifacts.referrer(SIGNED, "oras")
BILL_SUBJECT = f"sha256-{BILL.root.digest.hex}"
KINDS: Mapping[str, Mapping[str, SampleImage]] = {
    "docker-schema-2": {"1.0": image(100, docker=True)},
    "docker-list": {"1.0": sample_bundles.index([image(150, docker=True)], docker=True)},
    "oci": {"1.0": image(200)},
    "index": {"1.0": index(250)},
    "nested-index": {"1.0": sample_bundles.index([index(300), index(350)])},
    "artifact": {"1.0": artifacts.signature("an artifact of its own")},
    "signed": {
        "1.0": SIGNED,
        f"{SUBJECT}.sig": artifacts.signature("one", "two"),
        SUBJECT: artifacts.referrers(artifacts.referrer(SIGNED, "notation"), BILL),
        BILL_SUBJECT: artifacts.referrers(artifacts.referrer(BILL, "signature of the bill")),
        f"{BILL_SUBJECT}.sig": artifacts.signature("signature of the bill, by tag"),
    },
    "attested": {"1.0": artifacts.attested(image(500), image(550, platform=ARM64))},
}
LISTS = (SUBJECT, BILL_SUBJECT)
SOURCES = [f"quay.example/team/{kind}:1.0" for kind in KINDS]
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


@dataclass(frozen=True)
class Way:
    """All that was made of the images, once."""

    mirrored: Mapping[str, MirroredImage]
    store: BlobStore
    whole: Path
    volumes: Path
    delta: Path
    report: Report
    target: RunningRegistry
    receipts: Mapping[str, Receipt]

    def images(self, kind: str) -> Mapping[str, MirroredImage]:
        """Return tag -> image of a kind, companions too."""
        root = self.mirrored[kind]
        return {one.reference.rpartition(":")[2]: one for one in (root, *root.companions)}


def mirror_from(address: str, store: BlobStore, prefix: str = "") -> tuple[MirroredImage, ...]:
    location = Location(f"{address}{prefix}", insecure=True)
    rules = (Rule("quay.example", (location,), Location("quay.example")),)
    wishes = {source: ImageWish(all_platforms=True) for source in SOURCES}
    settings = PullSettings(rules=rules, connection=pushing.ALONE)
    return mirror.run(SOURCES, MirrorOptions((AMD64,), settings, wishes), store, SilentProgress())


def named(images: Mapping[str, MirroredImage], prefix: str = "") -> tuple[ImageToPack, ...]:
    every = [one for image in images.values() for one in (image, *image.companions)]
    return tuple(
        ImageToPack(one.reference, "extra", one.root, f"{packed.REGISTRY}/{prefix}{one.reference.partition('/')[2]}")
        for one in every
    )


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    folder = tmp_path_factory.mktemp("way")
    sources = {f"team/{kind}:{tag}": one for kind, images in KINDS.items() for tag, one in images.items()}
    with registries.running(folder / "source") as source, registries.running(folder / "target") as target:
        made = sample_bundles.write(folder / "source.bundle.tar", sources)
        push.run(made, pushing.options(source.address), SilentProgress())
        store = BlobStore(folder / "cache")
        mirrored = dict(zip(KINDS, mirror_from(source.address, store), strict=True))
        plan = replace(packed.plan(store), images=named(mirrored))
        whole = pack.run(plan, folder / "whole", store, progress=SilentProgress()).path
        cut = pack.run(
            plan, folder / "volumes", store, progress=SilentProgress(), volume_size=whole.stat().st_size // 3
        )
        base = pack.run(
            replace(plan, version="0.0.9", images=named(mirrored, "before/")),
            folder / "base",
            store,
            progress=SilentProgress(),
        ).path
        known = delta.base_of(base, plan.name, plan.version)
        left = delta.left_to(known, pack.describe(plan.images, store).layers)
        small = pack.run(replace(plan, base=left), folder / "delta", store, progress=SilentProgress()).path
        receipts = {
            name: push.run(path, pushing.options(f"{target.address}/{name}"), SilentProgress())
            for name, path in (("whole", whole), ("volumes", cut.path))
        }
        push.run(base, pushing.options(f"{target.address}/delta"), SilentProgress())
        receipts["delta"] = push.run(small, pushing.options(f"{target.address}/delta"), SilentProgress())
        report = verify.run(whole, progress=SilentProgress())
        yield Way(mirrored, store, whole, cut.path, small, report, target, receipts)


@EVERY_KIND
def test_it_is_mirrored_byte_for_byte(kind: str, way: Way) -> None:
    images = way.images(kind)
    assert images.keys() == KINDS[kind].keys()
    for tag, one in images.items():
        assert way.store.read(one.root.digest)
        if tag not in LISTS:  # the index of referrers is made here, of what the registry lists
            assert one.root.digest == KINDS[kind][tag].root.digest
        assert validate.validate(one.root, way.store.open) == ()


@EVERY_KIND
def test_it_is_packed_and_listed(kind: str, way: Way) -> None:
    contents = inspect.run(way.whole)
    listed = {one.reference: one for one in contents.manifest.images}
    for one in way.images(kind).values():
        bundled = listed[one.reference]
        assert bundled.root == replace(one.root, annotations={})
        every = graph.below(one.root, lambda entry: way.store.read(entry.digest))
        assert bundled.size == every.size
        assert {layout.blob(blob.digest) for blob in every.blobs} <= contents.manifest.blobs.keys()


@EVERY_KIND
def test_it_is_verified(kind: str, way: Way) -> None:
    assert not way.report.failed
    titles = {finding.title for finding in way.report.findings if finding.status is Status.PASS}
    for one in way.images(kind).values():
        assert f"The image {one.reference} is complete" in titles


@EVERY_KIND
@pytest.mark.parametrize("bundle", ["whole", "volumes", "delta"])
def test_it_is_pushed_with_every_manifest_as_it_was(kind: str, bundle: str, way: Way) -> None:
    pushed = {one.image: one for one in way.receipts[bundle].images}
    assert not way.receipts[bundle].failed
    for tag, one in way.images(kind).items():
        assert pushed[one.reference].digest == one.root.digest
        repository = f"{bundle}/team/{kind}"
        assert way.target.manifest(repository, tag) == way.store.read(one.root.digest)
        for raw in graph.below(one.root, lambda entry: way.store.read(entry.digest)).manifests:
            assert way.target.manifest(repository, str(raw.descriptor.digest)) == raw.content


@EVERY_KIND
@pytest.mark.parametrize("bundle", ["whole", "delta"])
def test_it_is_pulled_back_by_skopeo(kind: str, bundle: str, way: Way, tmp_path: Path) -> None:
    skopeo = [registries.require("skopeo"), "copy", "--all", "--preserve-digests", "--src-tls-verify=false"]
    for tag, one in way.images(kind).items():
        for reference, digest in pullable(kind, tag, one, way).items():
            source = f"docker://{way.target.address}/{bundle}/team/{kind}{reference}"
            folder = tmp_path / digest.hex
            done = subprocess.run([*skopeo, source, f"dir:{folder}"], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert (folder / "manifest.json").read_bytes() == way.store.read(digest)


def pullable(kind: str, tag: str, one: MirroredImage, way: Way) -> Mapping[str, Digest]:
    """Return what skopeo can copy, by how it is named: an index of indexes it cannot, nor (1.9) one of artifacts."""
    if kind != "nested-index" and tag not in LISTS:
        return {f":{tag}": one.root.digest}
    entries = oci_index.parse(way.store.read(one.root.digest)).manifests
    return {f"@{entry.digest}": entry.digest for entry in entries}


@contextmanager
def served(bundle: Path) -> Iterator[str]:
    with Bundle.open(bundle) as opened, serving(serve.catalog(open_images(opened)), "127.0.0.1:0") as server:
        yield server.address


@pytest.fixture(scope="module")
def from_served(way: Way, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, MirroredImage]:
    """The images, pulled from the volumes that are served, into a cache of their own."""
    with served(way.volumes) as address:
        prefix = "/" + packed.REGISTRY.partition("/")[2]
        pulled = mirror_from(address, BlobStore(tmp_path_factory.mktemp("again")), prefix)
    return dict(zip(KINDS, pulled, strict=True))


@EVERY_KIND
def test_it_is_served_with_all_that_belongs_to_it(
    kind: str, way: Way, from_served: Mapping[str, MirroredImage]
) -> None:
    before, after = way.mirrored[kind], from_served[kind]
    assert after.root == before.root
    assert {one.reference: one.root for one in after.companions} == {
        one.reference: one.root for one in before.companions
    }


@EVERY_KIND
def test_a_delta_leaves_its_layers_out(kind: str, way: Way) -> None:
    with Bundle.open(way.delta) as bundle:
        left_out, held = bundle.manifest.left_out, bundle.manifest.blobs
    for one in way.images(kind).values():
        every = graph.below(one.root, lambda entry: way.store.read(entry.digest))
        assert every.layers <= left_out.keys()
        assert {layout.blob(blob.digest) for blob in every.blobs if blob.digest not in every.layers} <= held.keys()

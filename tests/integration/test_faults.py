"""Pushing and mirroring over a network that breaks: every run ends complete and correct, or with a clear error."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundler.effects.blobs import BlobStore
from bundler.effects.registry.endpoint import Connection
from bundler.effects.registry.mirrors import Location, Rule
from bundler.effects.registry.pull import PullSettings
from bundler.errors import RegistryError, VerificationError
from bundler.model.digest import Digest
from bundler.model.progress import SilentProgress
from bundler.steps.sources import mirror
from bundler.steps.sources.mirror import MirrorOptions
from bundler.steps.transport import push
from bundler.steps.transport.push import PushOptions
from bundler.steps.transport.push_plan import Receipt
from tests.support import fault_proxy, memory_registry, pushing, registries, sample_bundles
from tests.support.fault_proxy import Fault, FaultProxy, Kind
from tests.support.memory_registry import MemoryRegistry
from tests.support.registries import RunningRegistry
from tests.support.sample_bundles import AMD64, SampleLayer

pytestmark = pytest.mark.integration

SIZE = 12_000_000
LAYERS = [SampleLayer.of(7, SIZE), SampleLayer.of(8, 3_000_000), SampleLayer.of(9, 40_000)]
IMAGES = {"team/app:1.0": sample_bundles.image(LAYERS), "team/other:1.0": sample_bundles.image(LAYERS[1:])}
BLOBS = "/blobs/uploads/"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_bundles.write(tmp_path_factory.mktemp("bundle") / "sample.bundle.tar", IMAGES)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with registries.running(tmp_path / "registry") as running:
        yield running


@pytest.fixture
def proxy(registry: RunningRegistry) -> Iterator[FaultProxy]:
    with fault_proxy.running(registry.address) as running:
        yield running


def options(address: str, **more: object) -> PushOptions:
    connection = Connection(environment={}, timeout=3, completing=3, parallel=4)
    return pushing.options(address, **{"connection": connection, **more})


def run(bundle: Path, asked: PushOptions) -> Receipt:
    return push.run(bundle, asked, SilentProgress())


def check_complete(registry: RunningRegistry) -> None:
    for name, image in IMAGES.items():
        repository, _, tag = name.partition(":")
        assert registry.manifest(repository, tag) == image.blobs[image.root.digest]
    assert registry.blobs() == {digest.hex for image in IMAGES.values() for digest in image.blobs}
    for hexadecimal in registry.blobs():
        path = registry.data / "docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"
        assert any(path.read_bytes() == image.blobs.get(d) for image in IMAGES.values() for d in image.blobs)


FAULTS = {
    "resets while sending": [Fault(Kind.RESET_REQUEST, "PUT", BLOBS, times=3, after=1_000_000)],
    "a reset before the first byte": [Fault(Kind.RESET_REQUEST, "POST", BLOBS, times=2)],
    "an answer that is cut off in its head": [Fault(Kind.RESET_ANSWER, "PUT", BLOBS, times=2, after=20)],
    "cut off answers to everything else": [Fault(Kind.RESET_ANSWER, "HEAD|POST", times=4, after=5)],
    "a burst of 503": [Fault(Kind.ANSWER, ".*", BLOBS, times=4, status=503)],
    "a burst of 500 for manifests": [Fault(Kind.ANSWER, "PUT", "/manifests/", times=3, status=500)],
    "too many requests": [Fault(Kind.ANSWER, ".*", times=5, status=429, headers={"Retry-After": "0"})],
    "a request timeout": [Fault(Kind.ANSWER, "PUT", times=2, status=408)],
    "a stalled socket": [Fault(Kind.STALL, "PUT", BLOBS, after=500_000)],
    "a lost upload": [Fault(Kind.ANSWER, "PUT", BLOBS, times=2, status=404)],
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_push_survives(name: str, bundle: Path, registry: RunningRegistry, proxy: FaultProxy) -> None:
    proxy.faults = [Fault(**vars(fault)) for fault in FAULTS[name]]

    receipt = run(bundle, options(proxy.address))

    assert proxy.happened == sum(fault.times for fault in FAULTS[name])
    assert len(receipt.images) == len(IMAGES)
    check_complete(registry)


@pytest.mark.parametrize("seed", range(3))
def test_a_push_survives_resets_at_random_places(
    seed: int, bundle: Path, registry: RunningRegistry, proxy: FaultProxy
) -> None:
    chance = random.Random(seed)  # noqa: S311  (places, not secrets)
    proxy.faults = [
        Fault(
            chance.choice([Kind.RESET_REQUEST, Kind.RESET_ANSWER]),
            chance.choice(["PUT", "POST", "PATCH", "HEAD"]),
            after=chance.randrange(4_000_000) if number % 2 else chance.randrange(300),
        )
        for number in range(8)
    ]
    run(bundle, options(proxy.address, chunk_size=5_000_000))
    check_complete(registry)


def test_a_registry_that_stays_broken_gives_a_clear_error_and_no_tag(
    bundle: Path, registry: RunningRegistry, proxy: FaultProxy
) -> None:
    proxy.faults = [Fault(Kind.ANSWER, "PUT", BLOBS, times=1000, status=500)]
    with pytest.raises(RegistryError, match="answered 500 while sending the blob"):
        run(bundle, options(proxy.address, connection=Connection(environment={}, attempts=2)))
    assert registry.tags("team/app") == registry.tags("team/other") == set()


@pytest.mark.parametrize("path", [BLOBS, "/manifests/"])
def test_a_wrong_digest_in_an_answer_is_an_error(
    path: str, bundle: Path, registry: RunningRegistry, proxy: FaultProxy
) -> None:
    wrong = {"Docker-Content-Digest": f"sha256:{'0' * 64}"}
    proxy.faults = [Fault(Kind.REWRITE, "PUT", path, times=1000, headers=wrong)]
    with pytest.raises(RegistryError, match="sha256:0000"):
        run(bundle, options(proxy.address))
    assert registry.tags("team/app") == set() or path == "/manifests/"


def test_a_registry_that_is_restarted_in_the_middle_gets_everything(
    bundle: Path, registry: RunningRegistry, proxy: FaultProxy
) -> None:
    def restart() -> None:
        while proxy.body_bytes < SIZE // 4:
            time.sleep(0.002)
        registry.stop()
        time.sleep(0.5)
        registry.start()

    thread = threading.Thread(target=restart, daemon=True)
    thread.start()
    run(bundle, options(proxy.address))
    thread.join()
    check_complete(registry)


def test_a_proxy_that_limits_requests_gets_smaller_ones(bundle: Path) -> None:
    store = MemoryRegistry(most_bytes=2_000_000)
    with memory_registry.running(store) as address:
        run(bundle, options(address))
    assert ("team/app", str(IMAGES["team/app:1.0"].root.digest)) in store.manifests


def test_what_the_registry_has_kept_is_not_sent_again(bundle: Path) -> None:
    store = MemoryRegistry()
    with memory_registry.running(store) as address, fault_proxy.running(address) as proxy:
        proxy.faults = [
            Fault(Kind.RESET_REQUEST, "PUT", BLOBS, after=2_000_000),
            Fault(Kind.RESET_REQUEST, "PATCH", BLOBS, times=2, after=2_000_000),
        ]
        one_by_one = Connection(environment={}, parallel=1)  # so that it is the big blob that is broken
        receipt = run(bundle, options(proxy.address, connection=one_by_one))

    assert proxy.happened == 3
    assert store.body_bytes == sum(len(blob) for (_, digest), blob in _unique(store).items())
    assert receipt.bytes_sent == store.body_bytes


def _unique(store: MemoryRegistry) -> dict[tuple[str, str], bytes]:
    by_digest = {digest: (name, digest) for name, digest in store.blobs}
    return {key: store.blobs[key] for key in by_digest.values()}


def test_a_registry_that_does_not_mount_gets_the_blob_itself(bundle: Path) -> None:
    store = MemoryRegistry(mounts=False, tells_digests=False)
    with memory_registry.running(store) as address:
        receipt = run(bundle, options(address))

    assert receipt.blobs_mounted == 0
    assert {name for name, _ in store.blobs} == {"team/app", "team/other"}


_PROGRAM = """
import sys
from pathlib import Path
from bundler.effects.registry.endpoint import Access, Connection, Destination
from bundler.model.digest import Digest
from bundler.model.progress import SilentProgress
from bundler.steps.transport import push
bundle, address, journal = sys.argv[1:]
asked = push.PushOptions(Destination.parse(address), Access(Connection(environment={}), plain_http=True),
                         journal_folder=Path(journal), chunk_size=4_000_000)
print(push.run(Path(bundle), asked, SilentProgress()).bytes_sent)
"""


def _killed_at(amount: int, command: list[str], proxy: FaultProxy) -> None:
    proxy.faults = [Fault(Kind.STALL, "PATCH", BLOBS, times=100, after=amount)]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 20
    while not any(one.method == "PATCH" and one.body_bytes >= amount for one in proxy.exchanges):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    proxy.faults = []


def test_a_killed_client_goes_on_where_it_stopped(bundle: Path, tmp_path: Path) -> None:
    store = MemoryRegistry()
    with memory_registry.running(store) as address, fault_proxy.running(address) as proxy:
        command = [sys.executable, "-c", _PROGRAM, str(bundle), proxy.address, str(tmp_path / "journal")]
        _killed_at(1_500_000, command, proxy)
        assert not any(digest == str(IMAGES["team/app:1.0"].root.digest) for _, digest in store.manifests)
        time.sleep(0.2)
        kept = {key: len(upload.content) for key, upload in store.uploads.items()}
        assert max(kept.values()) >= 1_000_000

        subprocess.run(command, check=True, stdout=subprocess.PIPE)

    assert ("team/app", "1.0") in store.manifests
    # The big blob was under way and went on; a small one may have been, and is not worth a note.
    small = sum(len(layer.content) for layer in LAYERS[1:]) + 10_000
    assert store.body_bytes <= sum(len(blob) for blob in _unique(store).values()) + small
    assert not list((tmp_path / "journal").iterdir())


def test_an_interrupted_push_ends_soon(bundle: Path, tmp_path: Path) -> None:
    with memory_registry.running(MemoryRegistry()) as address, fault_proxy.running(address) as proxy:
        proxy.faults = [Fault(Kind.STALL, "PUT", BLOBS, times=100, after=10_000)]
        command = [sys.executable, "-c", _PROGRAM, str(bundle), proxy.address, str(tmp_path / "journal")]
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        while not any(one.method == "PUT" for one in proxy.exchanges):
            time.sleep(0.01)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert time.monotonic() - begin < 8  # the stalled socket would hold it for a minute
    assert b"KeyboardInterrupt" in said


def test_a_killed_push_to_a_registry_that_cannot_resume_is_made_whole(
    bundle: Path, registry: RunningRegistry, proxy: FaultProxy, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", _PROGRAM, str(bundle), proxy.address, str(tmp_path / "journal")]
    _killed_at(1_500_000, command, proxy)
    assert registry.tags("team/app") == set()

    subprocess.run(command, check=True, stdout=subprocess.PIPE)

    check_complete(registry)


def _flipped(bundle: Path, target: Path, offset: int) -> Path:
    content = bytearray(bundle.read_bytes())
    content[offset] ^= 0x10
    target.write_bytes(content)
    return target


def _offset(bundle: Path, path: str, within: int = 0) -> int:
    from bundler.effects.archive.reader import Bundle  # noqa: PLC0415

    with Bundle.open(bundle) as opened:
        return opened.member(path).offset + within


@pytest.mark.parametrize("region", ["header", "bundle.json", "checksums", "index.json", "manifest", "config", "layer"])
def test_one_flipped_bit_is_never_pushed(region: str, bundle: Path, tmp_path: Path, registry: RunningRegistry) -> None:
    image = IMAGES["team/app:1.0"]
    manifest = json.loads(image.blobs[image.root.digest])
    layer = LAYERS[0].content
    config = manifest["config"]["digest"]
    blob = "blobs/sha256/"
    path, within = {
        "header": ("index.json", -512 + 110),
        "bundle.json": ("bundle.json", 300),
        "checksums": ("SHA256SUMS", 10),
        "index.json": ("index.json", 40),
        "manifest": (blob + image.root.digest.hex, 60),
        "config": (blob + config.removeprefix("sha256:"), 30),
        "layer": (blob + _hex(layer), len(layer) - 1),
    }[region]
    damaged = _flipped(bundle, tmp_path / "damaged.bundle.tar", _offset(bundle, path, within))

    with pytest.raises(VerificationError) as caught:
        run(damaged, options(registry.address))

    said = " ".join((str(caught.value), *caught.value.details))
    assert str(damaged) in said or region == "bundle.json"
    if region in {"manifest", "config", "layer"}:
        assert path.removeprefix(blob) in said
        assert f"sha256:{path.removeprefix(blob)}" in said
        assert said.count("sha256:") >= 2
    assert registry.tags("team/app") == registry.tags("team/other") == set()
    assert _hex(layer) not in registry.blobs() or region != "layer"


def _hex(content: bytes) -> str:
    return Digest.of(content).hex


# Mirroring: the same network, the other way round.


def pull_options(address: str) -> MirrorOptions:
    rules = (Rule("quay.example", (Location(address, insecure=True),), Location("quay.example")),)
    return MirrorOptions((AMD64,), PullSettings(rules, connection=Connection(environment={}, timeout=3)))


PULL_FAULTS = {
    "resets while reading": [Fault(Kind.RESET_ANSWER, "GET", "/blobs/", times=3, after=1_200_000)],
    "resets of everything": [Fault(Kind.RESET_ANSWER, "GET|HEAD", "/team/", times=3, after=10)],
    "bursts of 503": [Fault(Kind.ANSWER, "GET", "/team/", times=3, status=503)],
    "too many requests": [Fault(Kind.ANSWER, "GET", "/team/", times=4, status=429, headers={"Retry-After": "0"})],
}


@pytest.mark.parametrize("name", PULL_FAULTS)
def test_mirroring_survives(
    name: str, bundle: Path, registry: RunningRegistry, proxy: FaultProxy, tmp_path: Path
) -> None:
    run(bundle, options(registry.address))
    proxy.faults = [Fault(**vars(fault)) for fault in PULL_FAULTS[name]]
    store = BlobStore(tmp_path / "cache")

    references = [f"quay.example/{name}" for name in IMAGES]
    mirrored = mirror.run(references, pull_options(proxy.address), store, SilentProgress())

    assert proxy.happened == sum(fault.times for fault in PULL_FAULTS[name])
    assert [image.root.digest for image in mirrored] == [image.root.digest for image in IMAGES.values()]
    for image in IMAGES.values():
        for digest, content in image.blobs.items():
            assert store.path(digest).read_bytes() == content
    assert not list(store.folder.glob(".part-*"))


def test_a_broken_download_goes_on_where_it_stopped(
    bundle: Path, registry: RunningRegistry, proxy: FaultProxy, tmp_path: Path
) -> None:
    run(bundle, options(registry.address))
    largest = str(Digest.of(LAYERS[0].content))  # a fault that met a small blob would be used up and break nothing
    proxy.faults = [Fault(Kind.RESET_ANSWER, "GET", f"/blobs/{largest}", times=2, after=1_200_000)]
    mirror.run(
        ["quay.example/team/app:1.0"], pull_options(proxy.address), BlobStore(tmp_path / "cache"), SilentProgress()
    )

    ranges = [one.headers["range"] for one in proxy.exchanges if "range" in one.headers]
    assert len(ranges) == 2
    assert all(int(text.removeprefix("bytes=").rstrip("-")) > 1_000_000 for text in ranges)

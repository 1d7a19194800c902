"""Moving images: registry -> bundle, bundle -> registry, beside other tools in the same run, on loopback registries.

Each round runs every contender in turn, each with a registry (or a cache) of its own and empty. Besides the time:
bytes written to disk (as the kernel accounts them), the most temporary disk, processor time, and the most memory of
any process above that of an interpreter that does nothing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import measure  # noqa: E402  (a script's own folder)

from bundler.effects.archive_writer import NewFile  # noqa: E402  (the path is set above)
from bundler.model import layout, media_types  # noqa: E402
from bundler.model.descriptor import Descriptor  # noqa: E402
from bundler.model.digest import Digest  # noqa: E402
from bundler.model.manifest import BundledImage  # noqa: E402
from tests.support import registries, sample_bundles  # noqa: E402
from tests.support.registries import RunningRegistry  # noqa: E402
from tests.support.sample_bundles import AMD64, REGISTRY, SampleImage, SampleLayer  # noqa: E402

MB = 1_000_000
# Three images, 320 MB of blobs; 600 MB if they shared none.
SHARED = (60, 50, 30)
OWN = {"feast/feature-server:1": 78, "feast/operator:1": 60, "tools/kubectl:1": 40}
CHANGED = 2
PARTS = ("create", "push", "again", "huge")


@dataclass(frozen=True)
class Run:
    """What one run of a contender cost; bytes and seconds."""

    seconds: float
    written: int
    temporary: int
    processor: float
    memory: int


class Watch:
    """Samples the disk below a folder and the memory of child processes while something runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stop = threading.Event()
        self.disk = self.memory = 0

    def begin(self) -> None:
        """Take what is there now as nothing, and start to sample."""
        self._begin = _used(self._folder)
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop sampling."""
        self._stop.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._stop.wait(0.05):
            self.disk = max(self.disk, _used(self._folder) - self._begin)
            self.memory = max(self.memory, _peak_of_children())


def _used(folder: Path) -> int:
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.lstat(f"{base}/{name}").st_blocks * 512
    return total


def _peak_of_children() -> int:
    """Return the most memory that any child process has had (VmHWM), in bytes."""
    peak = 0
    own = Path("/proc/self/cmdline").read_bytes()
    try:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        for child in children:
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            if command == own or b"docker-registry" in command:  # not yet itself, or not the contender
                continue
            for line in Path(f"/proc/{child}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    peak = max(peak, int(line.split()[1]) * 1024)
    except OSError:
        pass
    return peak


def measured(steps: list[list[str]], work: Path, *, keeps: int = 0) -> Run:
    """Run commands one after the other in ``work``; ``keeps`` bytes of what they write there are the result."""
    seconds = processor = 0.0
    written = 0
    watch = Watch(work)
    watch.begin()
    for step in steps:
        begin = time.monotonic()
        process = subprocess.Popen(step, cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        said = process.stderr.read() if process.stderr else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds += time.monotonic() - begin
        processor += usage.ru_utime + usage.ru_stime
        written += usage.ru_oublock * 512
        if process.returncode:
            raise SystemExit(f"{step} failed:\n{said.decode(errors='replace')}")
    watch.end()
    return Run(seconds, written, max(0, watch.disk - keeps), processor, watch.memory)


def layer(seed: int, size: int) -> SampleLayer:
    """Make a layer that cannot be compressed, quickly."""
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(f"file-{seed}")
        member.size = size
        tar.addfile(member, BytesIO(random.Random(seed).randbytes(size)))  # noqa: S311  (content, not a secret)
    unpacked = buffer.getvalue()
    return SampleLayer(gzip.compress(unpacked, 0, mtime=0), Digest.of(unpacked))


def images(scale: float, changed: int = 0) -> dict[str, SampleImage]:
    """Make the images; ``changed`` replaces the small top layer of the first."""
    shared = [layer(number, int(size * MB * scale)) for number, size in enumerate(SHARED)]
    made = {}
    for number, (name, size) in enumerate(OWN.items()):
        layers = [*shared, layer(100 + number, int(size * MB * scale))]
        if number == 0:
            layers.append(layer(200 + changed, int(CHANGED * MB * scale)))
        made[name] = sample_bundles.image(layers)
    return made


PULL = """
import sys
from pathlib import Path
from bundler.effects import archive_writer
from bundler.effects.archive_writer import NewFile
from bundler.effects.blobs import BlobStore
from bundler.effects.registry.endpoint import Connection
from bundler.effects.registry.mirrors import Location, Rule
from bundler.effects.registry.pull import PullSettings
from bundler.model.manifest import BundledImage
from bundler.model.platform import Platform
from bundler.model.progress import SilentProgress
from bundler.oci import graph
from bundler.steps import mirror, verify
from tests.support import sample_bundles
address, cache, target, *names = sys.argv[1:]
store, amd = BlobStore(Path(cache)), Platform.parse("linux/amd64")
rules = (Rule("quay.example", (Location(address, insecure=True),), Location("quay.example")),)
asked = mirror.MirrorOptions((amd,), PullSettings(rules, connection=Connection(environment={}), companions=False))
found = mirror.run([f"quay.example/{name}" for name in names], asked, store, SilentProgress())
below = [graph.below(image.root, lambda one: store.read(one.digest)) for image in found]
blobs = {blob.digest: NewFile("blobs/sha256/" + blob.digest.hex, blob.size, store.path(blob.digest))
         for one in below for blob in one.blobs}
rows = [BundledImage(image.reference, "mirrored", image.root, (amd,), one.size, f"{sample_bundles.REGISTRY}/{name}")
        for image, one, name in zip(found, below, names)]
check = lambda bundle, hashed: verify.require(bundle, progress=SilentProgress(), hashed=hashed)
sample_bundles.pack(Path(target), rows, blobs, check=check)
"""

PUSH = """
import sys
from pathlib import Path
from bundler.effects.registry.endpoint import Connection, Destination
from bundler.model.progress import SilentProgress
engine, bundle, address, parallel = sys.argv[1:]
if engine == "skopeo":
    from bundler.steps.push_by_skopeo import run
else:
    from bundler.steps.push import run
from bundler.steps.push import PushOptions
asked = PushOptions(Destination.parse(address), plain_http=True,
                    connection=Connection(environment={}, parallel=int(parallel)))
run(Path(bundle), asked, SilentProgress())
"""


def python(program: str, *arguments: str | Path) -> list[str]:
    """Return the command that runs a program of ours."""
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}", *map(str, arguments)]


def pushed(bundle: Path, address: str, *, engine: str = "bundler", parallel: int = 8) -> list[str]:
    """Return our push."""
    return python(PUSH, engine, bundle, address, str(parallel))


def skopeo(*arguments: str) -> list[str]:
    """Return a copy by skopeo that keeps digests."""
    return ["skopeo", "copy", "--preserve-digests", *arguments]


def from_layout(folder: Path, registry: str) -> list[list[str]]:
    """Return copies of every image of an unpacked bundle to a registry, by skopeo."""
    name = "quay.example/{}"
    return [
        skopeo("--dest-tls-verify=false", f"oci:{folder}:{name.format(one)}", f"docker://{registry}/{one}")
        for one in OWN
    ]


Contender = Callable[[Path, RunningRegistry], tuple[list[list[str]], int]]
"""Prepares a run in a folder against a registry; returns its commands, and how much of what they write is wanted."""


def creators(total: int) -> dict[str, Contender]:
    """Return who brings three images from a registry into one file."""

    def ours(work: Path, registry: RunningRegistry) -> tuple[list[list[str]], int]:
        cache = work / "cache"
        return [python(PULL, registry.address, cache, work / "out.tar", *OWN)], total

    def warm(work: Path, registry: RunningRegistry) -> tuple[list[list[str]], int]:
        command = python(PULL, registry.address, work / "cache", work / "out.tar", *OWN)
        subprocess.run(command, check=True)
        (work / "out.tar").unlink()
        return [command], total

    def by_skopeo(work: Path, registry: RunningRegistry) -> tuple[list[list[str]], int]:
        copies = [
            skopeo("--src-tls-verify=false", f"docker://{registry.address}/{one}", f"oci:{work}/layout:{one}")
            for one in OWN
        ]
        return [*copies, ["tar", "-C", str(work / "layout"), "-cf", str(work / "out.tar"), "."]], total

    def by_skopeo_on_disk(work: Path, registry: RunningRegistry) -> tuple[list[list[str]], int]:
        steps, kept = by_skopeo(work, registry)
        return [*steps, ["sync", str(work / "out.tar")]], kept

    def by_skopeo_with_digest(work: Path, registry: RunningRegistry) -> tuple[list[list[str]], int]:
        steps, kept = by_skopeo_on_disk(work, registry)
        return [*steps, ["openssl", "dgst", "-sha256", str(work / "out.tar")]], kept  # faster than sha256sum

    def by_crane(work: Path, registry: RunningRegistry) -> tuple[list[list[str]], int]:
        copies = [
            ["crane", "pull", "--insecure", "--format", "oci", f"{registry.address}/{one}", str(work / "layout")]
            for one in OWN
        ]
        return [*copies, ["tar", "-C", str(work / "layout"), "-cf", str(work / "out.tar"), "."]], total

    def by_oras(work: Path, registry: RunningRegistry) -> tuple[list[list[str]], int]:
        copies = [
            [
                "oras",
                "cp",
                "--from-plain-http",
                "--to-oci-layout",
                f"{registry.address}/{one}",
                f"{work}/layout:{number}",
            ]
            for number, one in enumerate(OWN)
        ]
        return [*copies, ["tar", "-C", str(work / "layout"), "-cf", str(work / "out.tar"), "."]], total

    found: dict[str, Contender] = {
        "bundler, cold (on disk, with its digest)": ours,
        "bundler, warm": warm,
        "skopeo, one layout + tar": by_skopeo,
        "skopeo, one layout + tar + sync (on disk)": by_skopeo_on_disk,
        "the same + openssl dgst (on disk, with its digest)": by_skopeo_with_digest,
    }
    if shutil.which("crane"):
        found["crane, one layout + tar"] = by_crane
    if shutil.which("oras"):
        found["oras, one layout + tar"] = by_oras
    return found


def pushers(bundle: Path, unpacked: Path) -> dict[str, Contender]:
    """Return who brings a bundle into an empty registry."""

    def ours(_work: Path, registry: RunningRegistry) -> tuple[list[list[str]], int]:
        return [pushed(bundle, registry.address)], 0

    def two(_work: Path, registry: RunningRegistry) -> tuple[list[list[str]], int]:
        return [pushed(bundle, registry.address, parallel=2)], 0

    def through_serve(_work: Path, registry: RunningRegistry) -> tuple[list[list[str]], int]:
        return [pushed(bundle, registry.address, engine="skopeo")], 0

    def untar(work: Path, registry: RunningRegistry) -> tuple[list[list[str]], int]:
        (work / "layout").mkdir()
        copies = from_layout(work / "layout", registry.address)
        return [["tar", "-C", str(work / "layout"), "-xf", str(bundle)], *copies], 0

    def from_unpacked(_work: Path, registry: RunningRegistry) -> tuple[list[list[str]], int]:
        return from_layout(unpacked, registry.address), 0

    def by_oras(_work: Path, registry: RunningRegistry) -> tuple[list[list[str]], int]:
        return [
            [
                "oras",
                "cp",
                "--from-oci-layout",
                "--to-plain-http",
                f"{bundle}:quay.example/{one}",
                f"{registry.address}/{one}",
            ]
            for one in OWN
        ], 0

    found: dict[str, Contender] = {
        "bundler": ours,
        "bundler, 2 at a time": two,
        "bundler --engine skopeo (hashes all first)": through_serve,
        "untar + skopeo": untar,
        "skopeo, layout unpacked before": from_unpacked,
    }
    if shutil.which("oras"):
        found["oras, from the tar"] = by_oras
    return found


def rounds(
    title: str, contenders: dict[str, Contender], count: int, setup: Callable[[], Iterator[RunningRegistry]]
) -> dict[str, list[Run]]:
    """Run every contender once a round, each with a folder and a registry of its own.

    Each round begins with the next one: what ran before decides which memory the kernel has at hand.
    """
    results: dict[str, list[Run]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(count):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            contender = contenders[name]
            with contextmanager(setup)() as registry, tempfile.TemporaryDirectory(prefix="bench-") as folder:
                steps, keeps = contender(Path(folder), registry)
                os.sync()
                results[name].append(measured(steps, Path(folder), keeps=keeps))
                print(f"  {title} {number + 1}/{count}: {name}: {results[name][-1].seconds:.2f} s", file=sys.stderr)
    return results


def table(title: str, results: dict[str, list[Run]], floor: int) -> None:
    """Print the medians."""
    print(f"\n{title}\n")
    print("| | s | of the first | processor s | written MB | temporary MB | memory MB |")
    print("|---|---|---|---|---|---|---|")
    first = None
    for name, runs in results.items():
        seconds = statistics.median(run.seconds for run in runs)
        first = first or seconds
        processor = statistics.median(run.processor for run in runs)
        written, temporary, memory = (
            max(getattr(run, key) for run in runs) / MB for key in ("written", "temporary", "memory")
        )
        above = max(0.0, memory - floor / MB)
        print(
            f"| {name} | {seconds:.2f} | {seconds / first:.2f} | {processor:.2f} | {written:.0f} | {temporary:.0f} "
            f"| {above:.0f} |"
        )


def huge(folder: Path, size: int, floor: int) -> None:
    """Push and serve one blob of ``size`` bytes: memory must not grow with it."""
    print(f"\nOne blob of {size / 1e9:.1f} GB\n", flush=True)
    path = folder / "huge"
    with path.open("wb") as stream:
        for number in range(size // (50 * MB)):
            stream.write(random.Random(number).randbytes(50 * MB))  # noqa: S311
    with path.open("rb") as stream:
        blob = Descriptor(media_types.OCI_LAYER, Digest.of_stream(stream), path.stat().st_size)
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    config_row = Descriptor(media_types.OCI_CONFIG, Digest.of(config), len(config))
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": config_row.to_json(),
            "layers": [blob.to_json()],
        }
    ).encode()
    root = Descriptor(media_types.OCI_MANIFEST, Digest.of(manifest), len(manifest), AMD64)
    small = {Digest.of(content): NewFile.of(layout.blob(Digest.of(content)), content) for content in (config, manifest)}
    blobs = {**small, blob.digest: NewFile(layout.blob(blob.digest), blob.size, path)}
    row = BundledImage("quay.example/huge:1", "mirrored", root, (AMD64,), blob.size, f"{REGISTRY}/huge:1")
    bundle = sample_bundles.pack(folder / "huge.bundle.tar", [row], blobs)
    path.unlink()
    with registries.running(folder / "registry") as registry:
        results = {"push": [measured([pushed(bundle, registry.address)], folder, keeps=size)]}
        shutil.rmtree(folder / "work", ignore_errors=True)
        results["push again"] = [measured([pushed(bundle, registry.address)], folder)]
        work = folder / "work"
        work.mkdir()
        pull = python(PULL, registry.address, work / "cache", work / "out.tar", "huge:1")
        results["mirror and pack"] = [measured([pull], work, keeps=2 * size)]
    table(f"One blob of {size / 1e9:.1f} GB", results, floor)


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of the 320 MB of blobs")
    parser.add_argument("--huge", type=float, default=5.0, metavar="GB", help="size of the one big blob")
    parser.add_argument("--part", action="append", choices=PARTS, help="measure this alone; repeatable")
    arguments = parser.parse_args()
    measure.keep_byte_code()
    parts, count = arguments.part or PARTS, arguments.rounds
    with tempfile.TemporaryDirectory(prefix="bench-transport-") as name:
        folder = Path(name)
        idle = measured([[sys.executable, "-c", "import time; time.sleep(0.2)"]], folder)
        made = images(arguments.scale)
        total = sum(len(blob) for blob in {d: b for one in made.values() for d, b in one.blobs.items()}.values())
        bundle = sample_bundles.write(folder / "bench.bundle.tar", made)
        changed = sample_bundles.write(folder / "changed.bundle.tar", images(arguments.scale, changed=1))
        del made
        unpacked = folder / "unpacked"
        unpacked.mkdir()
        subprocess.run(["tar", "-C", unpacked, "-xf", bundle], check=True)
        print(f"Three images, {total / MB:.0f} MB of blobs; {os.cpu_count()} processors; median of {arguments.rounds}.")

        def filled() -> Iterator[RunningRegistry]:
            with tempfile.TemporaryDirectory(prefix="bench-registry-") as place, registries.running(Path(place)) as one:
                subprocess.run(pushed(bundle, one.address), check=True)
                yield one

        def empty() -> Iterator[RunningRegistry]:
            with tempfile.TemporaryDirectory(prefix="bench-registry-") as place, registries.running(Path(place)) as one:
                yield one

        floor = idle.memory
        if "create" in parts:
            table("Create: registry -> one file", rounds("create", creators(total), count, filled), floor)
        if "push" in parts:
            table("Push: one file -> empty registry", rounds("push", pushers(bundle, unpacked), count, empty), floor)
        if "again" in parts:
            every = pushers(bundle, unpacked).items()
            some = {key: contender for key, contender in every if not key.startswith(("untar", "bundler,"))}
            table("Push again, nothing changed", rounds("again", some, count, filled), floor)
            ours = {"bundler": pushers(changed, unpacked)["bundler"]}
            table(f"Push with one layer of {CHANGED} MB changed", rounds("changed", ours, count, filled), floor)
        if "huge" in parts:
            huge(folder, int(arguments.huge * 1e9), floor)


if __name__ == "__main__":
    main()

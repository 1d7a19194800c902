"""Moving images: registry -> bundle, bundle -> registry, beside other tools in the same run, on loopback registries.

Each round runs every contender in turn, each with a registry (or a cache) of its own and empty.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import contenders  # noqa: E402  (a script's own folder)
import measure  # noqa: E402
from contenders import MB, Contender  # noqa: E402
from measure import Measured  # noqa: E402

from bundler.effects.archive.writer import NewFile  # noqa: E402
from bundler.model import layout, media_types  # noqa: E402
from bundler.model.descriptor import Descriptor  # noqa: E402
from bundler.model.digest import Digest  # noqa: E402
from bundler.model.manifest import BundledImage  # noqa: E402
from tests.support import registries, sample_bundles  # noqa: E402
from tests.support.registries import RunningRegistry  # noqa: E402
from tests.support.sample_bundles import AMD64, REGISTRY  # noqa: E402

PARTS = ("create", "push", "again", "huge")


def rounds(
    title: str, found: Mapping[str, Contender], count: int, setup: Callable[[], Iterator[RunningRegistry]], idle: float
) -> None:
    """Run every contender once a round, each with a folder and a registry of its own, and print what they cost.

    Each round begins with the next one: what ran before decides which memory the kernel has at hand.
    """
    results: dict[str, list[Measured]] = {name: [] for name in found}
    names = list(found)
    kept = 0
    for number in range(count):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            with contextmanager(setup)() as registry, tempfile.TemporaryDirectory(prefix="bench-") as folder:
                steps, kept = found[name](Path(folder), registry)
                os.sync()
                results[name].append(measure.run(steps, Path(folder)))
                print(f"  {title} {number + 1}/{count}: {name}: {results[name][-1].wall:.2f} s", file=sys.stderr)
    print(f"\n{title}\n\n{measure.table(results, kept=kept, idle=idle)}", flush=True)


def huge(folder: Path, size: int, idle: float) -> None:
    """Push, mirror and pack one blob of ``size`` bytes: memory must not grow with it."""
    path = folder / "huge"
    with path.open("wb") as stream:
        for number in range(size // (50 * MB)):
            stream.write(random.Random(number).randbytes(50 * MB))  # noqa: S311
    with path.open("rb") as stream:
        blob = Descriptor(media_types.OCI_LAYER, Digest.of_stream(stream), path.stat().st_size)
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [str(blob.digest)]}}
    ).encode()
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
    push, again, work = folder / "push", folder / "again", folder / "work"
    for place in (push, again, work):
        place.mkdir()
    with registries.running(folder / "registry") as registry:
        command = contenders.pushed(bundle, registry.address)
        results = {"push": [measure.run([command], push)], "push, nothing changed": [measure.run([command], again)]}
        pull = contenders.python(contenders.PULL, "yes", registry.address, work / "cache", work / "out.tar", "huge:1")
        results["mirror and pack; on disk, read back, hashed"] = [measure.run([pull], work)]
    print(f"\nOne blob of {size / 1e9:.1f} GB\n\n{measure.table(results, idle=idle)}", flush=True)


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
        idle = measure.run([[sys.executable, "-c", "import time; time.sleep(0.2)"]], folder).memory
        made = contenders.images(arguments.scale)
        total = sum(len(blob) for blob in {d: b for one in made.values() for d, b in one.blobs.items()}.values())
        bundle = sample_bundles.write(folder / "bench.bundle.tar", made)
        changed = sample_bundles.write(folder / "changed.bundle.tar", contenders.images(arguments.scale, changed=1))
        del made
        unpacked = folder / "unpacked"
        unpacked.mkdir()
        subprocess.run(["tar", "-C", unpacked, "-xf", bundle], check=True)
        print(f"Three images, {total / MB:.0f} MB of blobs; {os.cpu_count()} processors; median of {arguments.rounds}.")

        def filled() -> Iterator[RunningRegistry]:
            with tempfile.TemporaryDirectory(prefix="bench-registry-") as place, registries.running(Path(place)) as one:
                subprocess.run(contenders.pushed(bundle, one.address), stdout=subprocess.DEVNULL, check=True)
                yield one

        def empty() -> Iterator[RunningRegistry]:
            with tempfile.TemporaryDirectory(prefix="bench-registry-") as place, registries.running(Path(place)) as one:
                yield one

        pushers = contenders.pushers(bundle, unpacked)
        if "create" in parts:
            rounds("Create: registry -> one file", contenders.creators(total), count, filled, idle)
        if "push" in parts:
            rounds("Push: one file -> empty registry", pushers, count, empty, idle)
        if "again" in parts:
            some = {name: pushers[name] for name in pushers if not name.startswith(("untar", "bundler,"))}
            rounds("Push again, nothing changed", some, count, filled, idle)
            ours = {"bundler": contenders.pushers(changed, unpacked)["bundler"]}
            rounds(f"Push with one layer of {contenders.CHANGED} MB changed", ours, count, filled, idle)
        if "huge" in parts:
            huge(folder, int(arguments.huge * 1e9), idle)


if __name__ == "__main__":
    main()

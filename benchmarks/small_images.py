"""Pushing many small images, and images to a registry far away, beside other tools in the same run."""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import contenders  # noqa: E402  (a script's own folder)
import measure  # noqa: E402

from tests.support import far_away, registries, sample_bundles  # noqa: E402
from tests.support.sample_bundles import SampleImage, SampleLayer  # noqa: E402

_LAYERS = 9
_SIZE = 2000  # bytes of a layer
Push = Callable[[str], list[list[str]]]
"""Returns the commands that push all images to a registry's address."""


def images(count: int) -> dict[str, SampleImage]:
    """Make images that share nothing."""
    return {
        f"team/app{number}:1": sample_bundles.image(
            SampleLayer.of(_LAYERS * number + place, _SIZE) for place in range(_LAYERS)
        )
        for number in range(count)
    }


def pushes(bundle: Path, unpacked: Path, found: Mapping[str, SampleImage]) -> dict[str, Push]:
    """Return who brings the images of a bundle into a registry."""

    def skopeo(address: str) -> list[list[str]]:
        source = f"oci:{unpacked}:quay.example/{{}}"
        return [
            contenders.skopeo("--dest-tls-verify=false", source.format(name), f"docker://{address}/{name}")
            for name in found
        ]

    def crane(address: str) -> list[list[str]]:
        return [["crane", "push", "--insecure", "--index", str(unpacked), f"{address}/all:1"]]

    def oras(address: str) -> list[list[str]]:
        into = ["--from-oci-layout", "--to-plain-http"]
        return [
            ["oras", "cp", *into, f"{bundle}@{image.root.digest}", f"{address}/{name}"] for name, image in found.items()
        ]

    def bundler(address: str) -> list[list[str]]:
        return [contenders.pushed(bundle, address)]

    ours: dict[str, Push] = {"bundler": bundler, "skopeo, an image at a time": skopeo}
    others: dict[str, Push] = {"crane, all as one index": crane, "oras, from the tar": oras}
    return ours | {name: push for name, push in others.items() if shutil.which(name.partition(",")[0])}


def table(title: str, count: int, delay: float, rounds: int) -> None:
    """Measure all contenders in turn, each with an empty registry, and print what they took."""
    found = images(count)
    results: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-small-") as name:
        folder = Path(name)
        bundle, unpacked = sample_bundles.write(folder / "small.bundle.tar", found), folder / "unpacked"
        unpacked.mkdir()
        subprocess.run(["tar", "-C", unpacked, "-xf", bundle], check=True)
        for number in range(rounds):
            for who, push in pushes(bundle, unpacked, found).items():
                with registries.running(folder / f"registry-{number}-{who[:4]}") as registry:
                    near = nullcontext(registry.address)
                    with far_away.running(registry.address, delay) if delay else near as address:
                        for run in (who, f"{who}, nothing changed"):
                            began = time.monotonic()
                            for command in push(address):
                                subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
                            results.setdefault(run, []).append(time.monotonic() - began)
                            print(f"  {title} {number + 1}/{rounds}: {run}: {results[run][-1]:.2f} s", file=sys.stderr)
    first = statistics.median(results["bundler"])
    print(f"\n| {title} | wall s | of the first |\n|---|---:|---:|")
    for run, seconds in results.items():
        print(f"| {run} | {statistics.median(seconds):.2f} | {statistics.median(seconds) / first:.2f} |")


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--far-images", type=int, default=10)
    parser.add_argument("--round-trip", type=float, default=0.05, metavar="SECONDS")
    arguments = parser.parse_args()
    measure.keep_byte_code()
    table(f"{arguments.images} images of {_LAYERS} small layers", arguments.images, 0.0, arguments.rounds)
    title = f"{arguments.far_images} images at {arguments.round_trip * 1000:.0f} ms round trip"
    table(title, arguments.far_images, arguments.round_trip, arguments.rounds)


if __name__ == "__main__":
    main()

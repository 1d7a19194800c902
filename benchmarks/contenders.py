"""Who moves images in ``transport.py``: ours, skopeo, and crane and oras where they are; and the images."""

from __future__ import annotations

import gzip
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from bundler.effects.archive.reader import Bundle
from bundler.model.digest import Digest
from tests.support import sample_bundles
from tests.support.registries import RunningRegistry
from tests.support.sample_bundles import SampleImage, SampleLayer

ROOT = Path(__file__).resolve().parent.parent
MB = 1_000_000
# Three images, 320 MB of blobs; 600 MB if they shared none.
SHARED = (60, 50, 30)
OWN = {"feast/feature-server:1": 78, "feast/operator:1": 60, "tools/kubectl:1": 40}
CHANGED = 2


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
from bundler.effects.archive.writer import NewFile
from bundler.effects.blobs import BlobStore
from bundler.effects.registry.endpoint import Connection
from bundler.effects.registry.mirrors import Location, Rule
from bundler.effects.registry.pull import PullSettings
from bundler.model.manifest import BundledImage
from bundler.model.platform import Platform
from bundler.model.progress import SilentProgress
from bundler.oci import graph
from bundler.steps.bundle import verify
from bundler.steps.sources import mirror
from tests.support import sample_bundles
reads_back, address, cache, target, *names = sys.argv[1:]
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
sample_bundles.pack(Path(target), rows, blobs, check=check if reads_back == "yes" else None)
"""


def python(program: str, *arguments: str | Path) -> list[str]:
    """Return the command that runs a program of ours."""
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}", *map(str, arguments)]


def pushed(bundle: Path, address: str, *, client: str = "bundler", parallel: int = 8) -> list[str]:
    """Return our push, as one calls it."""
    asked = ["--registry", address, "--plain-http", "--client", client, "--parallel", str(parallel), "--quiet"]
    return [sys.executable, "-m", "bundler", "push", str(bundle), *asked]


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


Run = tuple[list[list[str]], int]
"""Commands, and how many bytes of what they write are wanted."""

Contender = Callable[[Path, RunningRegistry], Run]
"""Prepares a run in a folder against a registry."""

Pull = Callable[[Path, str], list[list[str]]]
"""Returns commands that bring the images from a registry's address into FOLDER/layout."""


def by_skopeo(work: Path, address: str) -> list[list[str]]:
    """Return copies into one layout."""
    return [skopeo("--src-tls-verify=false", f"docker://{address}/{one}", f"oci:{work}/layout:{one}") for one in OWN]


def by_crane(work: Path, address: str) -> list[list[str]]:
    """Return copies into one layout."""
    into = ["--format", "oci"]
    return [["crane", "pull", "--insecure", *into, f"{address}/{one}", f"{work}/layout"] for one in OWN]


def by_oras(work: Path, address: str) -> list[list[str]]:
    """Return copies into one layout."""
    into = ["--from-plain-http", "--to-oci-layout"]
    return [["oras", "cp", *into, f"{address}/{one}", f"{work}/layout:{number}"] for number, one in enumerate(OWN)]


TAR = ("tar", "-C", "layout", "-cf", "out.tar", ".")
SYNC = ("sync", "out.tar")
DIGEST = ("openssl", "dgst", "-sha256", "out.tar")  # faster than sha256sum


def creators(total: int) -> dict[str, Contender]:
    """Return who brings three images from a registry into one file, FOLDER/out.tar."""

    def ours(reads_back: str, *, warm: bool = False) -> Contender:
        def prepare(work: Path, registry: RunningRegistry) -> Run:
            command = python(PULL, reads_back, registry.address, work / "cache", work / "out.tar", *OWN)
            if warm:
                subprocess.run(command, check=True)
                (work / "out.tar").unlink()
            return [command], total

        return prepare

    def other(pull: Pull, *after: tuple[str, ...]) -> Contender:
        return lambda work, registry: ([*pull(work, registry.address), *map(list, after)], total)

    found = {
        "bundler, nothing in the cache; on disk": ours("no"),
        "the same, and every file read back and hashed, as build does": ours("yes"),
        "bundler, all in the cache; on disk, read back, hashed": ours("yes", warm=True),
        "skopeo into a layout, then tar": other(by_skopeo, TAR),
        "the same, then sync of the tar: on disk": other(by_skopeo, TAR, SYNC),
        "the same, then openssl dgst: read back and hashed": other(by_skopeo, TAR, SYNC, DIGEST),
    }
    if shutil.which("crane"):
        found["crane into a layout, then tar"] = other(by_crane, TAR)
    if shutil.which("oras"):
        found["oras into a layout, then tar"] = other(by_oras, TAR)
    return found


def pushers(bundle: Path, unpacked: Path) -> dict[str, Contender]:
    """Return who brings a bundle into an empty registry; ``unpacked`` is a folder with what is in it."""
    with Bundle.open(bundle) as opened:
        images = opened.manifest.images

    def ours(**how: Any) -> Contender:  # noqa: ANN401  (what ``pushed`` takes)
        return lambda _, registry: ([pushed(bundle, registry.address, **how)], 0)

    def untar(work: Path, registry: RunningRegistry) -> Run:
        layout = work / "layout"
        layout.mkdir()
        return [["tar", "-C", str(layout), "-xf", str(bundle)], *from_layout(layout, registry.address)], 0

    def oras(_work: Path, registry: RunningRegistry) -> Run:
        into = ["--from-oci-layout", "--to-plain-http"]
        # By digest: oras takes what follows a slash in a layout's name for something else.
        return [
            [
                "oras",
                "cp",
                *into,
                f"{bundle}@{image.root.digest}",
                f"{registry.address}/{image.reference.partition('/')[2]}",
            ]
            for image in images
        ], 0

    found: dict[str, Contender] = {
        "bundler": ours(),
        "bundler, two uploads at a time": ours(parallel=2),
        "bundler --client skopeo (verifies all of the bundle first)": ours(client="skopeo"),
        "untar, then skopeo": untar,
        "skopeo, from a layout that is unpacked already": lambda _, registry: (
            from_layout(unpacked, registry.address),
            0,
        ),
    }
    if shutil.which("oras"):
        found["oras, from the tar"] = oras
    return found

"""A program of an image runs in a folder of its own: hostile layers stay in it, and so does what they bring."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from bundler import resources
from bundler.effects import image_root, unpacked_images
from bundler.effects.blobs import BlobStore
from bundler.effects.confinement import limits, unpack
from bundler.errors import ToolFailedError
from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.oci.layer import Layer
from tests.support.images import program

pytestmark = pytest.mark.integration

HERE = next(one for one in map(Platform.parse, ("linux/amd64", "linux/arm64")) if one.machine == os.uname().machine)


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "cache")


def entry(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> bytes:
    """Return a member of a tar, with nothing after it."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.mode, info.uid = kind, len(content), link, mode, 1234
    return info.tobuf() + content + bytes(-len(content) % 512)


def layer(store: BlobStore, *entries: bytes) -> Layer:
    with store.writing() as writer:
        writer.write(b"".join(entries) + bytes(1024))
    return Layer(Descriptor(media_types.OCI_LAYER, writer.digest, writer.size), writer.digest)


def shell(store: BlobStore) -> Layer:
    """Return a layer with a shell and a few programs of this machine."""
    files = {path: content for name in ("dash", "cat", "id", "ls") for path, content in program(name).items()}
    return layer(store, *(entry(path, content, mode=0o755) for path, content in files.items()))


def said(store: BlobStore, layers: Iterable[Layer], script: str, timeout: float = 60) -> str:
    with unpacked_images.unpacked(tuple(layers), store) as root:
        return image_root.run(root, ["/bin/dash", "-c", script], {"PATH": "/bin"}, purpose="testing", timeout=timeout)


def test_later_layers_replace_and_remove_what_earlier_ones_brought(store: BlobStore) -> None:
    first = layer(
        store,
        entry("a/kept", b"1"),
        entry("a/gone", b"1"),
        entry("b/old", b"1"),
        entry("c/file", b"1"),
        entry("lib", kind=tarfile.SYMTYPE, link="a"),
    )
    second = layer(
        store,
        entry("a/.wh.gone"),
        entry("b/.wh..wh..opq"),
        entry("b/new", b"2"),
        entry("c", b"no folder any more"),
        entry("lib/by-link", b"2"),
        entry("hard", kind=tarfile.LNKTYPE, link="a/kept"),
    )
    with unpacked_images.unpacked((first, second), store) as image:
        root = image.folder / image.names[0]
        found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        assert {path for path in found if not path.startswith("dev/")} == {"a/kept", "a/by-link", "b/new", "c", "hard"}
        assert (root / "hard").read_bytes() == b"1"


def test_a_layer_writes_nowhere_but_into_its_folder(store: BlobStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("ours")
    hostile = layer(
        store,
        entry("way", kind=tarfile.SYMTYPE, link=str(outside)),
        entry("way/planted", b"x"),
        entry(f"../../../../../..{outside}/planted", b"x"),
        entry(f"{outside}/planted", b"x"),
        entry("way/.wh.precious"),
        entry("stolen", kind=tarfile.LNKTYPE, link=str(outside / "planted")),
        entry("dev", kind=tarfile.SYMTYPE, link=str(outside)),
        entry("dev/null", b"x"),
        entry("disk", kind=tarfile.BLKTYPE),
    )
    with unpacked_images.unpacked((hostile,), store) as image:
        root = image.folder / image.names[0]
        assert (root / "dev").is_dir()
        assert not (root / "dev").is_symlink()
        assert not (root / "disk").exists()
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert (outside / "precious").read_text() == "ours"


def test_a_program_has_no_network_no_rights_and_only_the_environment_that_it_is_given(store: BlobStore) -> None:
    script = "cat /proc/net/dev; cat /proc/self/status; echo discarded > /dev/null; echo env=$HOME; ls /"
    output = said(store, [shell(store)], script)
    assert [line.split(":")[0].strip() for line in output.splitlines() if line.strip().startswith(("lo:", "eth"))] == [
        "lo"
    ]
    assert "CapEff:\t0000000000000000" in output
    assert "NoNewPrivs:\t1" in output
    assert "env=\n" in output


def test_a_program_that_fails_or_hangs_is_told_and_leaves_nothing(store: BlobStore) -> None:
    with pytest.raises(ToolFailedError, match="status 3 while testing") as caught:
        said(store, [shell(store)], "echo because >&2; exit 3")
    assert caught.value.details == ("because",)
    with pytest.raises(ToolFailedError, match="did not end"):
        said(store, [shell(store)], "while :; do :; done", timeout=2)
    assert [path.name for path in store.folder.iterdir()] == ["sha256"]


def test_a_damaged_layer_is_told_and_leaves_nothing(store: BlobStore) -> None:
    damaged = Digest.of(b"not gzip")
    store.put(b"not gzip")
    bad = Layer(Descriptor(media_types.OCI_LAYER_GZIP, damaged, 8), damaged)
    with pytest.raises(ToolFailedError, match="unpacking an image") as caught, unpacked_images.unpacked((bad,), store):
        pass
    assert f"layer {damaged}: its gzip stream is damaged" in caught.value.details[-1]
    assert [path.name for path in store.folder.iterdir()] == ["sha256"]


def test_a_sparse_file_which_says_more_than_it_holds_is_refused(store: BlobStore) -> None:
    hostile = layer(store, entry("disk", kind=tarfile.GNUTYPE_SPARSE))
    with pytest.raises(ToolFailedError) as caught, unpacked_images.unpacked((hostile,), store):
        pass
    assert "'disk' is a sparse file" in caught.value.details[-1]


def unpack_two(budget: unpack._Budget) -> None:
    for _ in budget.counted(iter([bytes(600), bytes(600)])):
        budget.file()


@pytest.mark.parametrize(
    ("limit", "value", "said"),
    [
        ("UNPACKED", 1000, "GiB unpacked"),
        ("UNPACKED_FILES", 1, "more than 1 files"),
        ("FREE_DISK", 1 << 60, "of the disk are left"),
        ("UNPACKING_SECONDS", -1.0, "took more than"),
    ],
)
def test_unpacking_stops_at_each_limit(limit: str, value: float, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, limit, value)
    monkeypatch.setattr(unpack, "_BETWEEN_LOOKS", 100)
    budget = unpack._Budget()
    with pytest.raises(ValueError, match=said):
        unpack_two(budget)


def test_it_needs_no_right_that_root_has(store: BlobStore) -> None:
    child = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from bundler.effects import image_root, unpacked_images\n"
        "from bundler.effects.blobs import BlobStore\n"
        "from bundler.oci.layer import Layer\n"
        "print(Path('/proc/self/status').read_text())\n"
        "layer = Layer.from_json(json.loads(sys.argv[2]))\n"
        "with unpacked_images.unpacked((layer,), BlobStore(Path(sys.argv[1]))) as root:\n"
        "    print(image_root.run(root, ['/bin/id'], {}, purpose='testing', timeout=60))\n"
    )
    # Whoever runs the tests: an ordinary user without a single capability, who can still read this checkout.
    command = [
        *("unshare", "--user", "--map-user=1000", "--map-group=1000"),
        sys.executable,
        "-c",
        child,
        str(store.root),
        json.dumps(shell(store).to_json()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Uid:\t1000" in done.stdout
    assert "CapEff:\t0000000000000000" in done.stdout
    assert "uid=0" in done.stdout


def test_another_processor_is_said_before_anything_is_unpacked() -> None:
    other = Platform.parse("linux/arm64" if HERE.architecture == "amd64" else "linux/amd64")
    assert "processor" in image_root.unavailable(other)
    assert image_root.unavailable(HERE) == ""


def test_files_that_only_their_owner_may_read_are_no_obstacle() -> None:
    image_root._tried.cache_clear()
    before = os.umask(0o077)
    try:
        assert image_root.unavailable(HERE) == ""
    finally:
        os.umask(before)


def test_no_program_of_this_machine_is_needed(monkeypatch: pytest.MonkeyPatch, store: BlobStore) -> None:
    layers = [shell(store)]
    monkeypatch.setenv("PATH", "/nonexistent")
    image_root._tried.cache_clear()
    assert image_root.unavailable(HERE) == ""
    assert said(store, layers, "echo here") == "here\n"


def test_a_machine_without_user_namespaces_is_said_in_one_sentence() -> None:
    child = (
        "from pathlib import Path\n"
        "Path('/proc/sys/user/max_user_namespaces').write_text('0')\n"
        "from bundler.effects import image_root\n"
        "from bundler.model.platform import Platform\n"
        f"print(image_root.unavailable(Platform.parse('{HERE}')))\n"
    )
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", child]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("this machine does not allow confining programs: making namespaces: ")
    assert len(done.stdout.splitlines()) == 1


def test_the_probe_looks_for_java_where_spark_does(tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\n")
    java.chmod(0o755)
    command = [sys.executable, "-c", resources.read("rehearsal/imports.py").decode(), json.dumps([["java", "java"]])]
    outcomes = []
    for environment in (
        {"PATH": "/nowhere"},
        {"PATH": str(java.parent)},
        {"PATH": "/nowhere", "JAVA_HOME": str(tmp_path)},
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        outcomes += json.loads(done.stdout.splitlines()[-1])
    assert outcomes == ["FileNotFoundError: PATH has no program java", "", ""]


def test_the_probe_answers_in_order_and_says_in_one_line_what_is_missing() -> None:
    table = "string.__dict__:string.Formatter"
    asked = [["module", "json"], ["module", "no.such.module"], ["class", table], ["class", "string.__dict__:a.B"]]
    command = [sys.executable, "-c", resources.read("rehearsal/imports.py").decode(), json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == ["", "ModuleNotFoundError: No module named 'no'", "", "ModuleNotFoundError: No module named 'a'"]

from __future__ import annotations

import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from bundler.effects.blobs import BlobStore
from bundler.effects.packages import bytecode
from bundler.errors import VerificationError
from bundler.model.digest import Digest
from bundler.model.lock import LockedWheel
from bundler.model.progress import SilentProgress
from bundler.oci.layer import Layer
from bundler.steps.build import wheel_layers
from bundler.wheels.install import InstallTarget
from tests.unit.sample_wheels import hashed, wheel

pytestmark = pytest.mark.integration
THIS = (sys.version_info[0], sys.version_info[1])
TARGET = InstallTarget(THIS, "/usr/bin/python3", "/usr/lib/python3/dist-packages", "/usr/bin")


def stored(store: BlobStore, name: str, files: Mapping[str, bytes | str]) -> LockedWheel:
    """Put a wheel into the store and lock it."""
    content = wheel(files, name=name).getvalue()
    digest = store.put(content)
    return LockedWheel(
        name=name, version="1.0", filename=f"{name}-1.0-py3-none-any.whl", size=len(content), sha256=digest.hex
    )


def layers(store: BlobStore, *wheels: LockedWheel) -> tuple[Layer, ...]:
    return wheel_layers.build(
        wheels,
        TARGET,
        store,
        epoch=7,
        requested=frozenset({"demo", "demo2"}),
        compiler=bytecode.interpreter(THIS),
        progress=SilentProgress(),
    )


def names(store: BlobStore, layer: Layer) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(store.path(layer.descriptor.digest)) as archive:
        return {member.name: member for member in archive}


def test_wheels_become_one_layer_with_byte_code_that_needs_no_source_check(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    (layer,) = layers(
        store, stored(store, "demo", {"demo/__init__.py": "VALUE = {'b', 'a'}\n", "demo/bad.py": "def (\n"})
    )
    members = names(store, layer)
    tag = f"cpython-{THIS[0]}{THIS[1]}"
    folder = "usr/lib/python3/dist-packages/demo"
    assert f"{folder}/__pycache__/__init__.{tag}.pyc" in members
    assert f"{folder}/__pycache__/bad.{tag}.pyc" not in members  # as with pip: what does not compile stays source
    assert {member.mtime for member in members.values()} == {7}
    assert {(member.uid, member.gid, member.uname) for member in members.values()} == {(0, 0, "")}
    with tarfile.open(store.path(layer.descriptor.digest)) as archive:
        compiled = archive.extractfile(f"{folder}/__pycache__/__init__.{tag}.pyc")
        assert compiled is not None
        assert compiled.read()[4:8] == b"\x01\0\0\0"  # PEP 552: hash-based, unchecked


def test_tests_that_come_with_a_package_are_not_compiled(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    files = {"demo/x.py": "x = 1\n", "demo/tests/test_x.py": "x = 1\n", "demo/testing.py": "x = 1\n"}
    (layer,) = layers(store, stored(store, "demo", files))
    found = {name.rpartition("/")[2].partition(".")[0] for name in names(store, layer) if name.endswith(".pyc")}
    assert found == {"x", "testing"}


def test_the_same_wheels_become_the_same_bytes_whatever_was_compiled_before(tmp_path: Path) -> None:
    sources = {
        f"demo/m{number}.py": f"import os\nNAMES = {{'x{number}', 'shared', 'os'}}\ndef shared():\n    return 'x'\n"
        for number in range(20)
    }
    digests = set()
    for place in ("one", "two"):
        store = BlobStore(tmp_path / place)
        first = stored(store, "demo", sources)
        other = stored(store, "other", {"other/__init__.py": f"{place!r}\n"})
        if place == "two":
            layers(store, other)
        (layer,) = layers(store, first)
        digests.add(layer.descriptor.digest)
    assert len(digests) == 1


def test_a_layer_that_the_cache_has_is_not_made_again(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    demo = stored(store, "demo", {"demo.py": "x = 1\n"})
    (layer,) = layers(store, demo)
    written = store.path(layer.descriptor.digest).stat().st_mtime_ns
    store.path(Digest(demo.sha256)).unlink()  # not even the wheel is read
    assert layers(store, demo) == (layer,)
    assert store.path(layer.descriptor.digest).stat().st_mtime_ns == written


def test_a_file_that_two_wheels_hold_is_in_the_layer_once(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    one = stored(store, "demo", {"tests/__init__.py": "# one\n"})
    two = stored(store, "demo2", {"tests/__init__.py": "# two\n", "demo2.py": ""})
    (layer,) = layers(store, one, two)
    with tarfile.open(store.path(layer.descriptor.digest)) as archive:
        found = [member for member in archive if member.name.endswith("tests/__init__.py")]
        assert len(found) == 1
        content = archive.extractfile(found[0])
        assert content is not None
        assert content.read() == b"# two\n"


def test_two_wheels_that_disagree_about_a_folder_are_refused(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    one, two = stored(store, "demo", {"shared": ""}), stored(store, "demo2", {"shared/x.py": ""})
    with pytest.raises(VerificationError, match=r"demo2-1.*folder.*dist-packages/shared.*is a file in demo-1"):
        layers(store, one, two)


def test_a_damaged_wheel_leaves_no_layer_and_no_half_of_one(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    good = stored(store, "demo", {"demo.py": "x = 1\n"})
    content = wheel({"demo2.py": "x = 1\n"}, name="demo2", record={"demo2.py": hashed(b"")}).getvalue()
    bad = good.model_copy(update={"name": "demo2", "filename": "demo2-1.0-py3-none-any.whl"})
    bad = bad.model_copy(update={"sha256": store.put(content).hex, "size": len(content)})
    before = {path for path in store.root.rglob("*") if path.is_file()}
    with pytest.raises(VerificationError, match=r"demo2\.py"):
        layers(store, good, bad)
    assert {path for path in store.root.rglob("*") if path.is_file()} == before


def test_a_changed_requirement_moves_one_layer(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    dependency, feast = stored(store, "dependency", {"d.py": ""}), stored(store, "feast", {"feast.py": ""})
    asked = [stored(store, "demo", {"demo.py": text}) for text in ("x = 1\n", "x = 2\n")]
    before, after = (layers(store, dependency, feast, one) for one in asked)
    assert len(before) == 3
    assert before[:2] == after[:2]
    assert before[2] != after[2]


def test_the_file_that_feasts_ui_writes_at_its_start_may_be_written_by_the_group(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    (layer,) = layers(store, stored(store, "feast", {"feast/ui/build/projects-list.json": "{}", "feast/x.json": ""}))
    members = names(store, layer)
    assert members["usr/lib/python3/dist-packages/feast/ui/build/projects-list.json"].mode == 0o664
    assert members["usr/lib/python3/dist-packages/feast/x.json"].mode == 0o644


def test_where_nothing_compiles_for_the_image_byte_code_is_left_out(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    (layer,) = wheel_layers.build(
        [stored(store, "demo", {"demo.py": "x = 1\n"})],
        TARGET,
        store,
        epoch=0,
        requested=frozenset(),
        compiler=None,
        progress=SilentProgress(),
    )
    assert not [name for name in names(store, layer) if name.endswith(".pyc")]

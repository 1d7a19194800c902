"""Layers of an engine become the same bytes whenever they were built, and say nothing that was not meant."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.oci import image, layer_format, mutate, saved_image, tar_reader
from bundler.oci.image import Image
from bundler.oci.layer import Layer
from bundler.oci.normalize import Settling

EPOCH = 315532800


def layer(*entries: tarfile.TarInfo, contents: Mapping[str, bytes] | None = None) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for entry in entries:
            content = (contents or {}).get(entry.name, b"")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return target.getvalue()


def folder(path: str, mode: int = 0o755, owner: int = 0) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.uid, entry.mtime = tarfile.DIRTYPE, mode, owner, 1_700_000_000
    return entry


def file(path: str, mode: int = 0o644, time: int = 1_700_000_000) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.mode, entry.mtime = mode, time
    return entry


def based_on(blob: bytes) -> tuple[Image, Settling]:
    digest = Digest.of(blob)
    made = Layer(Descriptor(media_types.OCI_LAYER, digest, len(blob)), digest)
    base = mutate.append_layers(image.empty(Platform("linux", "amd64")), [made])
    return base, Settling(base, {digest: io.BytesIO(blob)}.__getitem__, EPOCH)


def settled(
    settling: Settling, blob: bytes, *, copied: bool = False
) -> tuple[Layer | None, list[tuple[str, int, int]]]:
    sink = io.BytesIO()
    made = settling.layer(io.BytesIO(blob), Digest.of(blob), sink, created_by="RUN x", copied=copied)
    unpacked = layer_format.unpacked(io.BytesIO(sink.getvalue()), media_types.OCI_LAYER_GZIP)
    return made, [(member.path, member.mode, member.mtime) for member, _ in tar_reader.members(unpacked)]


def test_the_same_files_of_another_time_are_the_same_layer() -> None:
    one, other = (settled(based_on(layer())[1], layer(file("opt/a", time=time))) for time in (1, 1_700_000_000))
    assert one == other
    assert one[0] is not None


def test_folders_that_are_below_already_are_not_said_again() -> None:
    _, settling = based_on(layer(folder("usr"), folder("usr/local", 0o2775)))
    blob = layer(folder("usr"), folder("usr/local"), folder("usr/local/new"), file("usr/local/new/x"))
    assert [path for path, _, _ in settled(settling, blob, copied=True)[1]] == ["usr/local/new", "usr/local/new/x"]


def test_a_step_that_runs_may_change_a_folder() -> None:
    _, settling = based_on(layer(folder("srv"), folder("opt")))
    blob = layer(folder("opt"), folder("srv", 0o775, owner=1001))
    assert settled(settling, blob)[1] == [("srv", 0o775, EPOCH)]


def test_what_running_a_step_leaves_behind_is_left_out() -> None:
    names = [
        "etc/hosts",
        "etc/resolv.conf",
        "tmp/x",
        "var/log/apt/history.log",
        "var/cache/x",
        "run/lock",
        "root/.cache/y",
    ]
    _, settling = based_on(layer())
    assert settled(settling, layer(*(file(name) for name in names), file("etc/hosts.allow")))[1] == [
        ("etc/hosts.allow", 0o644, EPOCH)
    ]


def test_a_layer_of_which_nothing_remains_is_none() -> None:
    _, settling = based_on(layer(folder("opt")))
    assert settled(settling, layer(folder("opt"), file("tmp/x")))[0] is None


def test_what_a_layer_removes_stays_removed() -> None:
    _, settling = based_on(layer(folder("opt"), file("opt/a")))
    assert [path for path, _, _ in settled(settling, layer(file("opt/.wh.a")))[1]] == ["opt/.wh.a"]


def test_a_layer_that_is_not_the_one_that_the_config_names_is_refused() -> None:
    _, settling = based_on(layer())
    with pytest.raises(ValueError, match="digest"):
        settling.layer(io.BytesIO(layer(file("a"))), Digest.of(b"other"), io.BytesIO(), created_by="", copied=False)


def saved(path: Path, members: Mapping[str, bytes]) -> Path:
    path.write_bytes(layer(*(file(name) for name in members), contents=members))
    return path


CONFIG = {
    "os": "linux",
    "architecture": "amd64",
    "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(b"one"))]},
}


def test_a_saved_image_is_read_in_place(tmp_path: Path) -> None:
    rows = [{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l/layer.tar"]}]
    members = {"manifest.json": json.dumps(rows).encode(), "c.json": json.dumps(CONFIG).encode(), "l/layer.tar": b"one"}
    with saved_image.opened(saved(tmp_path / "x.tar", members)) as opened:
        assert opened.config.diff_ids == (Digest.of(b"one"),)
        assert opened.open(opened.layers[0]).read() == b"one"


@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        (b"[]", "does not name one image"),
        (b"[{}, {}]", "does not name one image"),
        (b"not json", "not JSON"),
        (b'[{"Config": "c.json", "Layers": []}]', "0 layers"),
        (b'[{"Config": "gone.json", "Layers": ["l"]}]', "lacks 'gone.json'"),
    ],
)
def test_what_no_engine_saves_is_refused(tmp_path: Path, manifest: bytes, problem: str) -> None:
    path = saved(tmp_path / "x.tar", {"manifest.json": manifest, "c.json": json.dumps(CONFIG).encode()})
    with pytest.raises(ValueError, match=problem), saved_image.opened(path):
        pass


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(b"no tar at all" * 100)
    with pytest.raises(ValueError, match="cannot be read"), saved_image.opened(path):
        pass

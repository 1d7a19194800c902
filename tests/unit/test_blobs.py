from __future__ import annotations

import os
from pathlib import Path

import pytest

from bundler.effects import files
from bundler.effects.blobs import BlobStore
from bundler.errors import ToolFailedError, VerificationError
from bundler.model.digest import Digest


def test_a_blob_is_named_by_its_digest_and_there_only_when_complete(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    expected = Digest.of(b"content")
    with store.writing(expected, 7) as writer:
        writer.write(b"con")
        assert not store.has(expected)
        writer.write(b"tent")
    assert store.has(expected, 7)
    assert not store.has(expected, 8)
    assert store.read(expected) == b"content"


@pytest.mark.parametrize(("expected", "size"), [(Digest.of(b"other"), None), (None, 3)])
def test_bytes_that_are_not_what_was_announced_are_not_kept(
    tmp_path: Path, expected: Digest | None, size: int | None
) -> None:
    store = BlobStore(tmp_path)
    with pytest.raises(VerificationError), store.writing(expected, size) as writer:
        writer.write(b"content")
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []


def test_an_interrupted_blob_leaves_nothing(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)

    def interrupted() -> None:
        with store.writing() as writer:
            writer.write(b"content")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []


def test_a_cached_blob_that_was_altered_is_noticed(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    digest = store.put(b"content")
    store.path(digest).write_bytes(b"CONTENT")
    with pytest.raises(VerificationError, match="is damaged"):
        store.read(digest)


def test_what_killed_runs_left_is_swept_but_not_what_is_under_way(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    store.put(b"content")
    old, new = store.folder / ".part-old", store.folder / ".part-new"
    folder = store.folder / ".part-folder"
    folder.mkdir()
    for part in (old, new, folder / "file"):
        part.write_bytes(b"half")
    for path in (old, folder):
        os.utime(path, (0, 0))
    store.sweep()
    assert [part.name for part in store.folder.glob(".part-*")] == [new.name]


def test_a_record_is_found_by_its_whole_key(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    store.remember("kind", "key" * 1000, {"a": [1]})
    assert store.recall("kind", "key" * 1000) == {"a": [1]}
    assert store.recall("kind", "key") is None
    next((tmp_path / "records" / "kind").iterdir()).write_bytes(b"{damaged")
    assert store.recall("kind", "key" * 1000) is None


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "folder" / "file"
    files.write(target, b"one")

    def broken() -> None:
        with files.replacing(target) as stream:
            stream.write(b"half of tw")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert target.read_bytes() == b"one"
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_an_unwritable_place_is_an_error_for_people(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolFailedError, match="Cannot write"):
        files.write(tmp_path / "file" / "below", b"")


def test_nobody_else_can_look_into_the_cache_and_one_of_an_earlier_release_is_shut(tmp_path: Path) -> None:
    (tmp_path / "blobs/sha256").mkdir(parents=True)
    (tmp_path / "blobs").chmod(0o755)
    store = BlobStore(tmp_path)
    blob = store.path(store.put(b"a feature repo"))
    store.remember("layers", "key", "value")
    with store.temporary_folder() as folder:
        modes = {path: path.stat().st_mode & 0o777 for path in (tmp_path / "blobs", tmp_path / "records", folder, blob)}
    [record] = (path for path in (tmp_path / "records").rglob("*") if path.is_file())
    assert set(modes.values()) == {0o700, 0o600}
    assert modes[tmp_path / "blobs"] == modes[tmp_path / "records"] == 0o700
    assert blob.stat().st_mode & 0o777 == record.stat().st_mode & 0o777 == 0o600

"""Unpacked images are kept in the cache: the same layers are unpacked once, and never used half-made."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from bundler.effects import image_root, unpacked_images
from bundler.effects.blobs import BlobStore
from bundler.effects.confinement import inside
from bundler.effects.image_root import ImageRoot
from bundler.errors import ToolFailedError
from bundler.oci.layer import Layer
from tests.integration.test_image_root import entry, layer, shell

pytestmark = pytest.mark.integration


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "cache")


@pytest.fixture
def unpackings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many layers each call unpacked."""
    counts: list[int] = []
    real = image_root.unpack

    def counted(layers: Sequence[Layer], store: BlobStore, folder: Path) -> None:
        counts.append(len(layers))
        real(layers, store, folder)

    monkeypatch.setattr(image_root, "unpack", counted)
    return counts


def answer(root: ImageRoot, script: str) -> str:
    return image_root.run(root, ["/bin/dash", "-c", script], {"PATH": "/bin"}, purpose="testing", timeout=60)


def kept(store: BlobStore) -> list[str]:
    return sorted(path.name for path in (store.root / "unpacked").iterdir())


def test_the_same_layers_are_unpacked_once_and_cannot_be_changed(store: BlobStore, unpackings: list[int]) -> None:
    layers = [shell(store), layer(store, entry("word", b"first"))]
    for _ in range(2):
        with unpacked_images.unpacked(layers, store) as root:
            assert answer(root, "cat /word; echo changed > /word; cat /word") == "firstchanged\n"
    assert unpackings == [2]
    assert (store.root / "unpacked").stat().st_mode & 0o777 == 0o700


def test_a_layer_over_them_is_there_for_one_block(store: BlobStore, unpackings: list[int]) -> None:
    layers = [shell(store), layer(store, entry("repo/word", b"lower"), entry("other", b"kept"))]
    for word in (b"one", b"two"):
        over = layer(store, entry("repo/word", word))
        with unpacked_images.unpacked(layers, store, over=over) as root:
            assert answer(root, "cat /repo/word /other") == word.decode() + "kept"
    with unpacked_images.unpacked(layers, store) as root:
        assert answer(root, "cat /repo/word") == "lower"
    assert unpackings == [2, 1, 1]


def test_an_image_that_is_not_used_becomes_the_one_with_more_layers(store: BlobStore, unpackings: list[int]) -> None:
    base = shell(store)
    more = layer(store, entry("word", b"added"), entry("bin/.wh.id"))
    with unpacked_images.unpacked([base], store) as lower:
        assert answer(lower, "id -u") == "0\n"
        with unpacked_images.unpacked([base, more], store) as root:  # the lower one is in use, and stays as it is
            assert answer(root, "cat /word; id 2> /dev/null || echo gone") == "addedgone\n"
        assert answer(lower, "id -u") == "0\n"
    most = layer(store, entry("word", b"again"))
    with unpacked_images.unpacked([base, more, most], store) as root:
        assert answer(root, "cat /word") == "again"
    assert unpackings == [1, 2, 1]


def test_few_stay_and_those_in_use_are_never_removed(store: BlobStore) -> None:
    images = [[shell(store), layer(store, entry("word", str(number).encode()))] for number in range(4)]
    with unpacked_images.unpacked(images[0], store) as first:
        for image in images[1:]:
            with unpacked_images.unpacked(image, store):
                pass
        assert answer(first, "cat /word") == "0"
    assert len(kept(store)) == unpacked_images.KEPT


def test_none_stays_on_a_disk_that_is_nearly_full(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacked_images, "FREE_DISK", 1 << 60)
    with unpacked_images.unpacked([shell(store)], store) as root:
        assert answer(root, "echo here") == "here\n"
    assert kept(store) == []


def test_what_a_killed_build_left_is_removed_and_never_used(store: BlobStore, unpackings: list[int]) -> None:
    good = shell(store)
    with pytest.raises(ToolFailedError), unpacked_images.unpacked([good, layer(store, b"x" * 512)], store):
        pass
    assert kept(store) == []
    (store.root / "unpacked" / ".part-killed" / "root").mkdir(parents=True)
    with unpacked_images.unpacked([good], store) as root:
        assert answer(root, "echo whole") == "whole\n"
    assert len(kept(store)) == 1
    assert unpackings == [2, 1]


def test_an_image_that_a_copy_of_the_cache_gave_to_another_user_is_made_anew(
    store: BlobStore, unpackings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = [shell(store)]
    with unpacked_images.unpacked(layers, store):
        pass
    with monkeypatch.context() as patch:
        patch.setattr(inside, "outside_ids", lambda: (4321, 4321))
        unpacked_images._tidy(store.root / "unpacked", unpacked_images.KEPT)
    assert kept(store) == []
    with unpacked_images.unpacked(layers, store) as root:
        assert answer(root, "echo again") == "again\n"
    assert unpackings == [1, 1]


def test_a_folder_of_another_user_is_not_used(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.geteuid()
    (store.root / "unpacked").mkdir(parents=True)
    monkeypatch.setattr(os, "geteuid", lambda: real + 1)
    folder = unpacked_images._images(store)
    monkeypatch.undo()
    assert folder is None


def test_without_stacked_folders_everything_lies_in_one(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch, unpackings: list[int]
) -> None:
    monkeypatch.setattr(image_root, "stacks", lambda _: False)
    with unpacked_images.unpacked([shell(store)], store, over=layer(store, entry("word", b"over"))) as root:
        assert len(root.names) == 1
        assert answer(root, "cat /word") == "over"
    assert unpackings == [2]


def test_on_a_disk_without_locks_nothing_is_kept(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with unpacked_images.unpacked([shell(store)], store) as root:
        assert answer(root, "echo here") == "here\n"
        assert store.folder in root.folder.parents
    assert not root.folder.exists()
    assert kept(store) == []

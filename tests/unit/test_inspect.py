from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bundler.effects.archive.reader import Bundle
from bundler.errors import UsageError, VerificationError
from bundler.model import layout
from bundler.model.digest import Digest
from bundler.model.media_types import is_layer
from bundler.steps.bundle import summary as inspect
from bundler.steps.bundle.images import open_images
from tests.unit import packed


def test_a_bundle_is_described_for_people_and_scripts(tmp_path: Path) -> None:
    made = packed.bundle(tmp_path)
    contents = inspect.run(made.path)
    assert contents.manifest == made.manifest
    assert contents.digest == Digest.of(made.manifest.to_bytes())
    assert not contents.signed
    value = json.loads(json.dumps(contents.to_json()))
    assert value["created"] == "2023-11-14T22:13:20Z"
    assert [image["reference"] for image in value["images"]] == [image.reference for image in made.manifest.images]
    assert value["size"] == made.path.stat().st_size
    assert value["blobs"] == 9
    assert not [entry for entry in value["files"] if entry["path"].startswith(layout.BLOBS)]


def test_no_layer_is_read_whatever_the_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = packed.bundle(tmp_path)
    with Bundle.open(made.path) as bundle:
        layers = {blob.digest for image in open_images(bundle) for blob in image.blobs if is_layer(blob.media_type)}
        offsets = [bundle.blob(digest).offset for digest in layers]
    read: list[range] = []
    real = os.pread, os.preadv

    def pread(descriptor: int, count: int, offset: int) -> bytes:
        read.append(range(offset, offset + count))
        return real[0](descriptor, count, offset)

    def preadv(descriptor: int, views: list[memoryview], offset: int) -> int:
        count = real[1](descriptor, views, offset)
        read.append(range(offset, offset + count))
        return count

    monkeypatch.setattr(os, "pread", pread)
    monkeypatch.setattr(os, "preadv", preadv)
    inspect.run(made.path)
    assert len(offsets) == 2
    assert not [offset for offset in offsets for run in read if offset in run]


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        inspect.run(tmp_path / "none")
    (tmp_path / "text").write_text("hello " * 1000)
    with pytest.raises(VerificationError):
        inspect.run(tmp_path / "text")

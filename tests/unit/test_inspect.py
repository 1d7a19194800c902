from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bundler.effects.archive import header as archive_header
from bundler.effects.archive.reader import Bundle
from bundler.errors import UsageError, VerificationError
from bundler.model import layout
from bundler.model.digest import Digest
from bundler.steps.bundle import summary as inspect
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


def test_only_the_first_pages_are_read_whatever_the_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = packed.bundle(tmp_path)
    with Bundle.open(made.path) as bundle:
        first_blob = min(member.offset for name, member in bundle.members.items() if name.startswith(layout.BLOBS))
        header = len(archive_header.encode("a", 0, 0))
    read: list[int] = []
    real = os.pread

    def watched(descriptor: int, count: int, offset: int) -> bytes:
        read.append(offset + count)
        return real(descriptor, count, offset)

    monkeypatch.setattr(os, "pread", watched)
    inspect.run(made.path)
    assert max(read) <= first_blob - header
    assert len(read) < 30


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        inspect.run(tmp_path / "none")
    (tmp_path / "text").write_text("hello " * 1000)
    with pytest.raises(VerificationError):
        inspect.run(tmp_path / "text")

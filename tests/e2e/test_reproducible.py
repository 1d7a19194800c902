"""Same spec, same lock: the same bytes; and a small change moves little."""

from __future__ import annotations

import json
import shutil
import tarfile
import time
from pathlib import Path
from typing import cast

import pytest

from tests.e2e.conftest import Built, build, bundler, copy_example
from tests.support.same_bundle import assert_same

pytestmark = pytest.mark.e2e


def blobs(bundle: Path) -> dict[str, int]:
    """Blob name -> size in bytes."""
    with tarfile.open(bundle) as archive:
        return {member.name: member.size for member in archive if member.name.startswith("blobs/")}


def test_two_builds_from_one_lock_in_different_places_are_byte_identical(built: Built, tmp_path: Path) -> None:
    # Nothing is shared: another folder, another cache (so the base, every layer and the wheels are made anew), another
    # umask, a later time.
    project = copy_example(tmp_path / "a folder with spaces")
    shutil.copy(built.project / "bundle.lock", project)
    again = build(project, tmp_path / "cache", tmp_path / "out", "--locked", umask=0o077)
    assert_same(again.bundle, built.bundle)


def test_volumes_of_a_build_are_the_same_tar_and_are_read_in_place(built: Built, tmp_path: Path) -> None:
    cut = build(built.project, built.cache, tmp_path / "out", "--locked", "--volume-size", "100MB")
    volumes = [Path(path) for path in cast("list[str]", cut.result["volumes"])]
    assert len(volumes) > 1
    assert volumes[0] == cut.bundle
    with built.bundle.open("rb") as whole:
        for volume in volumes:
            assert volume.stat().st_size <= 100_000_000
            with volume.open("rb") as part:
                while chunk := part.read(1 << 20):
                    assert whole.read(len(chunk)) == chunk
        assert not whole.read(1)
    for command in ("inspect", "verify"):
        ran = bundler(command, tmp_path / "out")
        assert ran.status == 0, ran.stderr


def test_changing_one_line_of_the_repo_changes_one_layer_of_kilobytes(built: Built, tmp_path: Path) -> None:
    project = copy_example(tmp_path)
    definitions = next(path for path in (project / "feature_repo").glob("*.py") if "FeatureView" in path.read_text())
    definitions.write_text(definitions.read_text() + "\n# one more line\n")
    shutil.copy(built.project / "bundle.lock", project)
    lock = json.loads(json.dumps(built.result))  # the first build's own story stays untouched
    (project / "bundle.lock").unlink()
    start = time.monotonic()
    changed = build(project, built.cache, tmp_path / "out")
    seconds = time.monotonic() - start
    before, after = blobs(built.bundle), blobs(changed.bundle)
    new = {name: size for name, size in after.items() if name not in before}
    # The repo's layer, and what names it: config, manifest.
    assert len(new) == 3, (new, lock)
    assert max(new.values()) < 100_000, new
    assert seconds < 60, seconds


def test_a_delta_on_the_bundle_before_is_small_and_says_on_what_it_builds(built: Built, tmp_path: Path) -> None:
    project = copy_example(tmp_path)
    asked = ("build", "-f", project / "bundle.yaml", "-o", tmp_path / "out", "--cache-dir", built.cache)
    refused = bundler(*asked, "--base", built.bundle)
    assert refused.status == 3
    assert "Raise 'version' in the spec." in refused.stderr
    spec = project / "bundle.yaml"
    spec.write_text(spec.read_text().replace("version: 0.1.0\n", "version: 0.2.0\n", 1))
    made = build(project, built.cache, tmp_path / "out", "--base", str(built.bundle))
    assert made.result["base"]["blobsSize"] > 200_000_000  # type: ignore[index]
    assert made.bundle.stat().st_size < 4_000_000
    assert set(blobs(made.bundle)).isdisjoint(blobs(built.bundle).keys() - _documents(built.bundle))
    verified = bundler("verify", made.bundle)
    assert verified.status == 0, verified.stderr
    assert "are only in driver-stats 0.1.0" in verified.stdout
    with tarfile.open(made.bundle) as archive:
        checklist = archive.extractfile("CHECKLIST.md")
        assert checklist
        assert b"The registry has the bundle driver-stats 0.1.0, on which this one builds" in checklist.read()


def _documents(bundle: Path) -> set[str]:
    """Return the blobs that are JSON: manifests and configs."""
    with tarfile.open(bundle) as archive:
        found = {member.name: archive.extractfile(member) for member in archive if member.name.startswith("blobs/")}
        return {name for name, content in found.items() if content and content.read(1) == b"{"}


def test_the_build_stays_below_250_megabytes_of_memory(built: Built) -> None:
    assert built.ran.peak < 250_000_000, built.ran.peak

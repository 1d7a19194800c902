"""A base may come from any of skopeo's transports, and a second build from the lock is like the first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Built, build, copy_example, run

pytestmark = pytest.mark.e2e


def test_a_base_out_of_an_archive_is_built_on_and_built_on_again_from_the_lock(built: Built, tmp_path: Path) -> None:
    server = next(image for image in built.images if image["role"] == "feature-server")
    base = f"oci-archive:{tmp_path / 'base.tar'}:base"
    run(["skopeo", "copy", "-q", f"oci-archive:{built.bundle}:{server['reference']}", base])
    project = copy_example(tmp_path)
    spec = project / "bundle.yaml"
    spec.write_text(spec.read_text().replace("base:\n  debian: bookworm", f"base:\n  image: {base}"))
    first = build(project, built.cache, tmp_path / "one")
    again = build(project, built.cache, tmp_path / "two", "--locked")
    assert again.result["digest"] == first.result["digest"]
    # An archive lies elsewhere on the next machine: its digest is locked, its place is not.
    lock = (project / "bundle.lock").read_text()
    assert str(tmp_path) not in lock
    assert json.loads(lock)["platforms"][0]["base_digest"] == server["root"]["digest"]  # type: ignore[index]

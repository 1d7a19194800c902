"""Every OCI tool reads the bundle itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Built, bundler, run

pytestmark = pytest.mark.e2e


def references(built: Built) -> list[str]:
    """The names under which the bundle's images are found."""
    shown = bundler("inspect", built.bundle, "--output", "json")
    assert shown.status == 0, shown.stderr
    return [image["reference"] for image in json.loads(shown.stdout)["images"]]


def test_skopeo_inspects_every_image_of_the_bundle(built: Built) -> None:
    names = references(built)
    assert len(names) == 2, names  # the feature server, and kubectl for the CronJob
    for name in names:
        shown = json.loads(run(["skopeo", "inspect", f"oci-archive:{built.bundle}:{name}"]))
        assert shown["Architecture"] == "amd64"


def test_skopeo_copies_an_image_out_of_the_bundle_with_its_digest(built: Built, tmp_path: Path) -> None:
    for name in references(built):
        source = f"oci-archive:{built.bundle}:{name}"
        digest_file = tmp_path / "digest"
        run(["skopeo", "copy", "--digestfile", digest_file, source, f"dir:{tmp_path / 'copied'}"])
        with_digest = run(["skopeo", "inspect", "--format", "{{.Digest}}", source]).strip()
        assert digest_file.read_text().strip() == with_digest

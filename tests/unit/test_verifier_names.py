"""The bundle's verifier and the program refuse the same names in ``bundle.json``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundler.errors import VerificationError
from bundler.model.manifest import BundleManifest
from bundler.resources import verify as verifier
from tests.unit.test_manifest import BASE, MANIFEST

Edit = Callable[[dict[str, Any]], None]


def image(**changes: object) -> Edit:
    return lambda value: value["images"][0].update(changes)


def platform(**changes: object) -> Edit:
    return lambda value: value["images"][0]["root"].update(platform={"architecture": "amd64", "os": "linux", **changes})


@pytest.mark.parametrize(
    "edit",
    [
        lambda value: value.update(name="../../etc/evil"),
        lambda value: value.update(name="--help"),
        lambda value: value.update(version="-1"),
        lambda value: value.update(registry="--authfile=x"),
        lambda value: value.update(registry="r.example/../x"),
        image(internal="--dest-tls-verify=false"),
        image(internal="reg.example/feast/../evil:1"),
        image(platforms=["linux/amd64/<img src=x>"]),
        platform(variant="<img src=x>"),
        platform(variant="v8\x1b[2K"),
    ],
)
def test_what_is_not_a_name_is_refused_by_both(edit: Edit) -> None:
    value = json.loads(MANIFEST.to_bytes())
    assert verifier.unnamable(value) == []
    edit(value)
    with pytest.raises(VerificationError):
        BundleManifest.parse((json.dumps(value, indent=1, sort_keys=True) + "\n").encode())
    assert verifier.unnamable(value)


@pytest.mark.parametrize(
    ("base", "accepted"),
    [
        ({"name": "a-1", "version": "_1.0"}, True),
        ({"name": "A", "version": "1"}, False),
        ({"name": "a__b", "version": "1"}, False),
        ({"name": "a" * 64, "version": "1"}, False),
        ({"name": "--help", "version": "1"}, False),
        ({"name": "a", "version": "1+1"}, False),
        ({"name": "a", "version": "-1"}, False),
        ({"name": "a", "version": "1/2"}, False),
    ],
)
def test_names_of_base_bundles_are_judged_alike(base: dict[str, str], accepted: bool) -> None:  # noqa: FBT001
    value = {**json.loads(MANIFEST.to_bytes()), "format": 2, "base": {**BASE, **base}}
    content = (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
    if accepted:
        BundleManifest.parse(content)
        verifier.check_manifest(value)
        return
    with pytest.raises(VerificationError):
        BundleManifest.parse(content)
    with pytest.raises(ValueError, match="no bundle has that"):
        verifier.check_manifest(value)


def test_the_verifier_reads_no_more_files_of_a_folder_than_a_bundle_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier, "MOST_FILES", 10)
    for number in range(100):
        (tmp_path / f"file{number}").touch()
    found = verifier.read_folder(tmp_path)
    assert found.faults == ["more than 10 files"]
    assert len(found.files) < 50

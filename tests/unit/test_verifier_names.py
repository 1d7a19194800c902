"""The bundle's verifier and the program refuse the same names in ``bundle.json``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bundler.errors import VerificationError
from bundler.model.manifest import BundleManifest
from bundler.resources import verify as verifier
from tests.unit.test_manifest import MANIFEST

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

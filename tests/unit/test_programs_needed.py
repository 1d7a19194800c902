"""Programs that a build will need are looked for before anything is fetched, and all that are missing are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bundler.effects.blobs import BlobStore
from bundler.effects.debian import host
from bundler.effects.registry.endpoint import Access
from bundler.errors import ToolMissingError
from bundler.model.progress import SilentProgress
from bundler.model.spec import BundleSpec
from bundler.steps.sources.gather import Gathering
from tests.unit.manifest_cases import spec

KUBECTL = "registry.example/kubectl:1"
BASE = {"image": "registry.example/base:1"}


def check(store: Path, *, reader: str = "bundler", kubectl: str | None = KUBECTL, **changes: Any) -> None:
    plain = spec() if kubectl is None else spec(cronJob={"kubectl": {"image": kubectl}})
    changed = BundleSpec.model_validate({**plain.model_dump(by_alias=True, exclude_unset=True), **changes})
    Gathering(changed, BlobStore(store), SilentProgress(), {}, reader=reader, access=Access()).check()


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def test_images_of_registries_need_no_program(tmp_path: Path) -> None:
    check(tmp_path, base=BASE)


def test_images_of_debian_packages_need_mmdebstrap(tmp_path: Path) -> None:
    with pytest.raises(ToolMissingError, match="'mmdebstrap' is not on PATH") as caught:
        check(tmp_path, base={"debian": "bookworm"})
    assert "apt-get install mmdebstrap" in caught.value.remedy


@pytest.mark.parametrize("changes", [{"reader": "skopeo"}, {"base": {"image": "docker-daemon:base:1"}}])
def test_skopeo_is_needed_for_what_our_own_client_does_not_read(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ToolMissingError, match="'skopeo' is not on PATH"):
        check(tmp_path, **{"base": BASE, **changes})


def test_all_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ToolMissingError, match="Several programs") as caught:
        check(tmp_path, base={"image": "docker-daemon:base:1"}, kubectl=None)
    assert [word for line in caught.value.details for word in ("mmdebstrap", "skopeo") if f"'{word}'" in line] == [
        "mmdebstrap",
        "skopeo",
    ]


def test_a_users_missing_right_is_told_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "mmdebstrap_version", lambda: "1.0")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ToolMissingError, match="'newuidmap' is not on PATH") as caught:
        check(tmp_path, base={"debian": "bookworm"})
    assert "apt-get install uidmap" in caught.value.remedy

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundler.effects.blobs import BlobStore
from bundler.effects.packages import feast_release, uv
from bundler.effects.packages.uv import Resolution
from bundler.errors import BundlerError, LockError, RegistryError
from bundler.model.platform import Platform
from bundler.model.progress import SilentProgress
from bundler.wheels.compatibility import ImagePython
from tests.integration.package_index import PackageIndex
from tests.unit.sample_wheels import wheel

pytestmark = pytest.mark.integration
AMD64 = ImagePython((3, 11), "3.11.2", (2, 36), Platform("linux", "amd64"))
ARM64 = ImagePython((3, 11), "3.11.2", (2, 36), Platform("linux", "arm64"))


def files(*wheels: tuple[str, str, tuple[str, ...]]) -> dict[str, bytes]:
    return {
        f"{name}-{version}-py3-none-any.whl": wheel(
            {f"{name}.py": ""}, name=name, version=version, requires=requires
        ).read()
        for name, version, requires in wheels
    }


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    served = files(
        ("demo", "1.0", ("base>=1",)),
        ("demo", "2.0", ("base>=1", "old; python_full_version < '3.11.2'", "new; python_full_version == '3.11.2'")),
        ("base", "1.0", ()),
        ("base", "1.1", ()),
        ("old", "1.0", ()),
        ("new", "1.0", ()),
    )
    compiled = wheel({"fast.py": ""}, name="fast").getvalue()
    for tag in (
        "cp311-cp311-manylinux_2_17_x86_64",
        "cp311-cp311-manylinux_2_31_aarch64",
        "cp311-cp311-musllinux_1_2_x86_64",
    ):
        served[f"fast-1.0-{tag}.whl"] = compiled
    with PackageIndex(served).running() as running:
        monkeypatch.setenv("UV_DEFAULT_INDEX", running.url)
        monkeypatch.setenv("UV_NO_CACHE", "1")
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        yield running


def chosen(*requirements: str, **more: object) -> dict[str, str]:
    wanted = Resolution(AMD64, requirements=requirements, **more)  # type: ignore[arg-type]  # a test's shorthand
    return {found.name: found.version for found in uv.resolve(wanted)}


@pytest.mark.usefixtures("index")
def test_markers_are_evaluated_for_the_images_exact_python() -> None:
    assert chosen("demo") == {"demo": "2.0", "base": "1.1", "new": "1.0"}


@pytest.mark.usefixtures("index")
def test_versions_that_are_preferred_stay_until_a_requirement_moves_past_them() -> None:
    kept = {"demo": "1.0", "base": "1.0"}
    assert chosen("demo", preferences=kept) == kept
    assert chosen("demo", "base>1.0", preferences=kept) == {"demo": "1.0", "base": "1.1"}


@pytest.mark.usefixtures("index")
def test_constraints_bound_what_is_chosen_and_add_nothing() -> None:
    assert chosen("demo", constraints=("demo<2", "base==1.0", "old==1.0")) == {"demo": "1.0", "base": "1.0"}


@pytest.mark.usefixtures("index")
def test_each_platform_gets_its_own_file_of_a_compiled_wheel() -> None:
    found = [uv.resolve(Resolution(python, requirements=("fast",)))[0].filename for python in (AMD64, ARM64)]
    assert ["x86_64" in found[0], "aarch64" in found[1]] == [True, True]
    assert "manylinux" in found[0]


@pytest.mark.usefixtures("index")
def test_a_wheel_for_a_newer_c_library_than_the_images_does_not_run() -> None:
    bullseye = ImagePython((3, 11), "3.11.2", (2, 28), Platform("linux", "arm64"))
    with pytest.raises(LockError, match=r"fast(==1\.0)? .*no wheel.*3\.11\.2 on linux/arm64") as caught:
        uv.resolve(Resolution(bullseye, requirements=("fast",)))
    assert "'wheels'" in caught.value.remedy


def test_a_wheel_in_the_folder_is_preferred_over_the_same_and_over_newer_releases(
    tmp_path: Path, index: PackageIndex
) -> None:
    own = files(("demo", "1.0", ()), ("base", "1.0+site", ()))
    for name, content in own.items():
        (tmp_path / name).write_bytes(content)
    found = uv.resolve(Resolution(AMD64, requirements=("demo", "base"), preferences={"demo": "2.0"}, wheels=tmp_path))
    assert [(one.name, one.version, one.local) for one in found] == [
        ("base", "1.0+site", tmp_path / "base-1.0+site-py3-none-any.whl"),
        ("demo", "1.0", tmp_path / "demo-1.0-py3-none-any.whl"),
    ]
    assert not index.seen


@pytest.mark.usefixtures("index")
def test_requirements_that_contradict_each_other_are_explained() -> None:
    with pytest.raises(LockError, match="cannot be met together") as caught:
        uv.resolve(
            Resolution(AMD64, requirements=("demo==2.0", "base<1"), constraints=("base==1.0",), pins="Feast's own lock")
        )
    assert any("base<1" in line for line in caught.value.details)
    assert "Feast's own lock" in caught.value.remedy


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize("requirement", ["nowhere", "demo==9.0"])
def test_what_no_index_has_is_named(requirement: str) -> None:
    with pytest.raises(LockError, match=f"does not have {requirement}"):
        uv.resolve(Resolution(AMD64, requirements=(requirement,)))


@pytest.mark.usefixtures("index")
def test_a_requirement_that_cannot_be_read_is_shown_without_our_temporary_file() -> None:
    with pytest.raises(LockError, match="cannot be read") as caught:
        uv.resolve(Resolution(AMD64, requirements=("demo===",)))
    assert any("demo===" in line for line in caught.value.details)
    assert not any("bundler-uv" in line for line in caught.value.details)


@pytest.mark.usefixtures("index")
def test_a_wheel_by_its_address_is_resolved_to_its_hash(index: PackageIndex) -> None:
    address = index.url.replace("/simple", "/files/demo-1.0-py3-none-any.whl")
    (demo,) = [found for found in uv.resolve(Resolution(AMD64, (f"demo @ {address}",))) if found.name == "demo"]
    assert demo.version == "1.0"


def test_a_distribution_without_wheels_says_to_provide_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with PackageIndex({"sourceonly-1.0.tar.gz": b"not even read"}).running() as running:
        monkeypatch.setenv("UV_DEFAULT_INDEX", running.url)
        with pytest.raises(LockError, match=r"sourceonly.*has no wheel") as caught:
            uv.resolve(Resolution(AMD64, requirements=("sourceonly",)))
    assert "pip wheel --no-deps 'sourceonly" in caught.value.remedy


def everything(caught: pytest.ExceptionInfo[BundlerError], log: pytest.LogCaptureFixture) -> str:
    return f"{caught.value} {caught.value.details} {log.text}"


def test_an_unreachable_index_is_an_error_of_the_registry(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://someone:hunter2@127.0.0.1:9/simple")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(RegistryError, match="cannot be reached") as caught:
        uv.resolve(Resolution(AMD64, requirements=("demo",)))
    assert "127.0.0.1:9" in str(caught.value.details)
    assert "hunter2" not in everything(caught, caplog)


def test_an_index_that_refuses_the_login_is_an_error_of_the_registry_and_shows_no_password(
    index: PackageIndex, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    index.login = ("someone", "right")
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url_with_login.replace("right", "hunter2"))
    with pytest.raises(RegistryError) as caught:
        uv.resolve(Resolution(AMD64, requirements=("demo",)))
    assert "hunter2" not in everything(caught, caplog)


def test_pips_index_and_login_are_used_where_nothing_is_configured_for_uv(
    index: PackageIndex, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    index.login = ("someone", "hunter2")
    monkeypatch.delenv("UV_DEFAULT_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", index.url_with_login)
    assert chosen("base") == {"base": "1.1"}
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(("version", "fastapi"), [("0.61.0", "0.129.0"), ("0.66.0", "0.141.0")])
def test_the_lock_of_a_feast_release_is_read_from_its_source_distribution_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, fastapi: str
) -> None:
    store = BlobStore(tmp_path)
    found = feast_release.release_lock(version, AMD64, store, progress=SilentProgress())
    assert found.source == f"Feast {version}'s own lock for Python 3.11"
    assert found.pins["fastapi"] == fastapi
    assert "feast" not in found.pins
    assert len(found.pins) > 100
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")  # nothing is asked again
    monkeypatch.setenv("UV_NO_CACHE", "1")
    assert feast_release.release_lock(version, AMD64, store, progress=SilentProgress()) == found


def test_a_python_that_feast_has_no_lock_for_gets_the_nearest(tmp_path: Path) -> None:
    later = ImagePython((3, 13), "3.13.1", (2, 41), Platform("linux", "amd64"))
    found = feast_release.release_lock("0.61.0", later, BlobStore(tmp_path), progress=SilentProgress())
    assert found.source == "Feast 0.61.0's own lock for Python 3.12"


def test_a_release_of_feast_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(LockError, match=r"does not have feast==99\.0"):
        feast_release.release_lock("99.0", AMD64, BlobStore(tmp_path), progress=SilentProgress())

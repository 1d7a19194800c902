from __future__ import annotations

import pytest

from bundler.model.platform import Platform
from bundler.wheels.compatibility import ImagePython

AMD64 = ImagePython((3, 11), "3.11.2", (2, 36), Platform("linux", "amd64"))
ARM64 = ImagePython((3, 11), "3.11.2", (2, 36), Platform("linux", "arm64"))
NAMES = (
    "demo-1.0-py3-none-any.whl",
    "demo-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "demo-1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
    "demo-1.0-cp311-cp311-manylinux_2_39_x86_64.whl",
    "demo-1.0-cp312-cp312-manylinux_2_28_x86_64.whl",
    "demo-1.0-cp311-cp311-musllinux_1_2_x86_64.whl",
    "demo-1.0.tar.gz",
)


def test_the_best_wheel_is_the_one_pip_would_choose() -> None:
    assert AMD64.best(NAMES) == "demo-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    assert ARM64.best(NAMES) == "demo-1.0-py3-none-any.whl"


def test_a_wheel_of_another_processor_or_of_no_processor_known_does_not_run() -> None:
    assert ARM64.best(NAMES[1:]) is None


def test_wheels_for_a_stable_interface_and_for_an_old_c_library_run() -> None:
    assert AMD64.best(("demo-1.0-cp38-abi3-manylinux1_x86_64.whl",)) is not None


def test_of_two_builds_the_later_is_chosen() -> None:
    builds = ("demo-1.0-2-py3-none-any.whl", "demo-1.0-10-py3-none-any.whl", NAMES[0])
    assert AMD64.best(builds) == "demo-1.0-10-py3-none-any.whl"


def test_markers_are_those_of_the_image_not_of_the_build_host() -> None:
    assert AMD64.satisfies("python_full_version <= '3.11.2' and platform_machine == 'x86_64'")
    assert not AMD64.satisfies("python_full_version > '3.11.2' or sys_platform == 'win32'")
    assert ARM64.satisfies("platform_machine == 'aarch64'")
    assert AMD64.satisfies(None)


@pytest.mark.parametrize(
    ("glibc", "name"),
    [
        ((2, 36), "manylinux_2_36"),
        ((2, 34), "manylinux_2_34"),
        ((2, 30), "manylinux_2_28"),
        ((2, 45), "manylinux_2_40"),
    ],
)
def test_uv_is_asked_for_the_newest_platform_that_the_c_library_satisfies(glibc: tuple[int, int], name: str) -> None:
    assert ImagePython((3, 12), "3.12.1", glibc, Platform("linux", "arm64")).uv_platform == f"aarch64-{name}"


def test_the_abi_is_the_images_and_not_that_of_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packaging.tags._cpython_abis", lambda *_: ["cp313t"])
    abis = {tag.abi for tag in ImagePython((3, 13), "3.13.1", (2, 36), Platform("linux", "amd64")).tags()}
    assert "cp313" in abis
    assert "cp313t" not in abis

"""Each thing that an image lacks is named with what brings it, in the image's own distribution."""

from __future__ import annotations

import pytest

from bundler.feast.rules import missing_parts

BOOKWORM = {"ID": "debian", "VERSION_ID": "12"}
TRIXIE = {"ID": "debian", "VERSION_ID": "13"}
UBI = {"ID": "rhel", "ID_LIKE": "fedora", "VERSION_ID": "9.4"}


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("holidays", "Name holidays in 'packages'"),
        ("sklearn.metrics", "Name scikit-learn in"),
        ("cv2", "Name opencv-python-headless (or opencv-python) in"),
        ("google.cloud.bigquery", "Name google-cloud-bigquery in"),
        ("google.something", "Several packages bring this module"),
        ("my_company_lib", "Name my-company-lib in"),
        ("pytest", "Leave them out with repo.exclude or .feastignore"),
        ("feast.labeling", "Feast 0.61.0 does not have it"),
    ],
)
def test_a_module_is_named_with_its_distribution(module: str, said: str) -> None:
    assert said in missing_parts.for_module(module, "0.61.0")


@pytest.mark.parametrize(
    ("library", "system", "said"),
    [
        ("libpq.so.5", BOOKWORM, "system_packages: [libpq5]"),
        ("libpq.so.5", UBI, "system_packages: [libpq]"),
        ("libpq.so.5", {}, "libpq5 in Debian, libpq in UBI"),
        ("libglib-2.0.so.0", TRIXIE, "[libglib2.0-0t64]"),
        ("libmysqlclient.so.21", BOOKWORM, "Debian has no package with libmysqlclient.so.21"),
        ("libours.so.1", BOOKWORM, "the package that has libours.so.1"),
    ],
)
def test_a_shared_library_is_named_with_its_package(library: str, system: dict[str, str], said: str) -> None:
    assert said in missing_parts.for_library(library, system)


def test_the_sentence_of_python_is_enough_to_name_what_is_missing() -> None:
    sentence = "ImportError: libgomp.so.1: cannot open shared object file: No such file or directory"
    assert "[libgomp1]" in missing_parts.for_failure(sentence, "0.66.0", BOOKWORM)
    assert "PyYAML" in missing_parts.for_failure("ModuleNotFoundError: No module named 'yaml'", "0.66.0", BOOKWORM)
    no_java = missing_parts.for_failure("FileNotFoundError: PATH has no program java", "0.66.0", BOOKWORM)
    assert no_java == "Spark and Flink start Java: system_packages: [openjdk-17-jre-headless]."
    assert missing_parts.for_failure("ValueError: other", "0.66.0", BOOKWORM) == ""


@pytest.mark.parametrize(
    ("module", "what", "said"),
    [
        ("feast", "cannot import name 'LabelView' from 'feast'", "belongs to another release"),
        (
            "entities",
            "cannot import name 'a' from partially initialized module (most likely a circular import)",
            "third",
        ),
        ("pandas", "cannot import name 'A' from 'pandas'", "Pin the one"),
    ],
)
def test_a_name_that_a_module_lacks_is_told_by_its_cause(module: str, what: str, said: str) -> None:
    assert said in missing_parts.for_name(module, what, "0.61.0")


@pytest.mark.parametrize(
    ("system", "said"),
    [
        ({"ID": "debian", "VERSION_ID": "13"}, "[openjdk-21-jre-headless]"),
        ({"ID": "rhel", "VERSION_ID": "9.4"}, "[java-17-openjdk-headless]"),
        ({"ID": "ubuntu", "ID_LIKE": "debian", "VERSION_ID": "24.04"}, "default-jre-headless"),
        ({}, "default-jre-headless"),
    ],
)
def test_java_is_named_as_the_images_distribution_does(system: dict[str, str], said: str) -> None:
    assert said in missing_parts.java(system)

"""Lines that name a place are taken, or refused with their place in the file and with what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.errors import SpecError
from bundler.model import spec_reader
from bundler.steps.lock import addresses, requirements
from bundler.steps.lock.addresses import Address, AddressKind
from tests.unit.test_repo_check import SPEC


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "pyproject.toml").write_text("")
    (tmp_path / "plain").mkdir()
    (tmp_path / "a-1.0-py3-none-any.whl").write_bytes(b"")
    (tmp_path / "a-1.0.tar.gz").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "kind", "extras"),
    [
        ("-e ./lib", AddressKind.PROJECT, ""),
        ("--editable=lib[redis]", AddressKind.PROJECT, "[redis]"),
        ("./lib", AddressKind.PROJECT, ""),
        ("lib @ file:lib", AddressKind.PROJECT, ""),
        ("./a-1.0-py3-none-any.whl", AddressKind.WHEEL, ""),
        ("a-1.0-py3-none-any.whl", AddressKind.WHEEL, ""),
        ("a[x] @ https://files.example/a-1.0-py3-none-any.whl ; python_version > '3'", AddressKind.WHEEL, "[x]"),
        ("https://files.example/a%2Bb-1.0-py3-none-any.whl#sha256=00", AddressKind.WHEEL, ""),
    ],
)
def test_projects_and_wheels_are_taken(folder: Path, line: str, kind: AddressKind, extras: str) -> None:
    found = addresses.parse(line, "r.txt:1", folder)
    assert isinstance(found, Address)
    assert (found.kind, found.extras) == (kind, extras)


@pytest.mark.parametrize(
    "line", ["pandas", "pandas>=2", "feast[redis]==0.61.0 ; python_version>'3'", "-r other.txt", "-c c"]
)
def test_other_lines_are_none_of_these(folder: Path, line: str) -> None:
    assert addresses.parse(line, "r.txt:1", folder) is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("git+https://user:secret@git.example/lib@v1", "Build a wheel once (pip wheel"),
        ("ours @ git+ssh://git@git.example/lib", "is a repository"),
        ("-e git+https://git.example/lib#egg=lib", "is a repository"),
        ("numpy @ file:///home/conda/feedstock_root/build_artifacts/numpy_1/work", "pip list --format=freeze"),
        ("a @ https://files.example/a-1.0.tar.gz", "is not a wheel"),
        ("./a-1.0.tar.gz", "is a source distribution"),
        ("./plain", "neither pyproject.toml nor setup.py"),
        ("-e .", "neither pyproject.toml nor setup.py"),
        ("./gone", "does not exist"),
    ],
)
def test_what_cannot_be_installed_is_refused_with_its_place_and_what_to_do(folder: Path, line: str, said: str) -> None:
    found = addresses.parse(line, "r.txt:3", folder)
    assert isinstance(found, str)
    assert found.startswith("r.txt:3: ")
    assert said in found
    assert "secret" not in found


def test_all_lines_that_are_refused_are_told_at_once(folder: Path) -> None:
    (folder / "requirements.txt").write_text("git+https://git.example/a\npandas\n./gone\n")
    spec = spec_reader.read(f"{SPEC}requirements: [requirements.txt]\n", "bundle.yaml")
    with pytest.raises(SpecError, match="addresses from which packages cannot be installed") as caught:
        requirements.read(spec, folder, [])
    assert [line.partition(": ")[0] for line in caught.value.details] == ["requirements.txt:1", "requirements.txt:3"]

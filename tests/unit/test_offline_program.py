from __future__ import annotations

import ast
import io
import zipfile
from pathlib import Path

import pytest

import bundler
from bundler.effects import offline_program

CONNECTED = {"pydantic", "jinja2", "docker", "isal", "cryptography", "packaging", "installer", "truststore", "uv"}


@pytest.fixture(scope="module")
def program() -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(offline_program.build()))


def test_the_same_sources_make_the_same_bytes() -> None:
    assert offline_program.build() == offline_program.build()


def test_it_begins_as_a_script_and_holds_no_times_and_nothing_compiled(program: zipfile.ZipFile) -> None:
    assert offline_program.build().startswith(b"#!/usr/bin/env python3\n")
    assert {entry.date_time for entry in program.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.compress_type for entry in program.infolist()} == {zipfile.ZIP_STORED}
    suffixes = {
        Path(name).suffix for name in program.namelist() if not name.startswith(("licenses/", "bundler/resources/"))
    }
    assert suffixes == {".py"}
    names = program.namelist()
    assert names == sorted(names)
    assert len(set(names)) == len(names)


def test_it_and_every_library_come_with_their_licences(program: zipfile.ZipFile) -> None:
    licensed = {name.split("/")[1].rsplit("-", 1)[0] for name in program.namelist() if name.startswith("licenses/")}
    assert licensed == {offline_program.DISTRIBUTION, *offline_program.VENDORED}


def test_the_offline_half_imports_nothing_of_the_connected_half(program: zipfile.ZipFile) -> None:
    own = [name for name in program.namelist() if name.startswith("bundler/") and "/resources/" not in name]
    assert "bundler/steps/bundle/verify.py" in own
    for name in own:
        for node in ast.walk(ast.parse(program.read(name))):
            imported = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            if isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module)
            assert not {found.partition(".")[0] for found in imported} & CONNECTED, name


@pytest.mark.parametrize("left_out", ["bundler/model/spec.py", "bundler/oci/layer.py", "bundler/steps/build/pack.py"])
def test_the_connected_half_is_left_out(program: zipfile.ZipFile, left_out: str) -> None:
    assert (Path(bundler.__file__).parents[1] / left_out).exists()
    assert left_out not in program.namelist()


def test_a_library_that_is_not_vendored_is_refused_with_the_module_that_imports_it(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("def late():\n    import pydantic\n")
    with pytest.raises(RuntimeError, match=r"bundler\.x .* imports pydantic"):
        list(offline_program._imports(module, "bundler.x"))


def test_imports_for_type_checking_alone_do_not_count(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pydantic\n")
    assert not list(offline_program._imports(module, "bundler.x"))

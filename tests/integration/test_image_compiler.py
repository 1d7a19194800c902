"""Byte code by the image's own Python, confined: the same bytes as by the same Python outside."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.effects import unpacked_images
from bundler.effects.blobs import BlobStore
from bundler.effects.packages import bytecode, image_compiler
from bundler.effects.packages.bytecode import SourceFile
from bundler.effects.packages.image_compiler import ImagePythonProgram
from bundler.errors import ToolFailedError
from bundler.model.findings import Status
from bundler.model.platform import Platform
from bundler.oci import image, mutate
from bundler.oci.installed_python import PythonInstallation
from bundler.oci.rootfs import BaseContents
from bundler.steps.build import compilers
from bundler.steps.sources.unpacked_base import UnpackedBase
from tests.support import python_image

pytestmark = pytest.mark.integration
THIS = (sys.version_info[0], sys.version_info[1])
FULL = ".".join(map(str, sys.version_info[:3]))
HERE = next(each for each in map(Platform.parse, ("linux/amd64", "linux/arm64")) if each.machine == os.uname().machine)
ELSEWHERE = Platform.parse("linux/arm64" if HERE.architecture == "amd64" else "linux/amd64")
SOURCES = [
    SourceFile(f"/site/demo/m{number}.py", f"NAMES = {{'x{number}', 'os'}}\ndef shared(os=1): return 'x'\n".encode())
    for number in range(20)
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> BlobStore:
    return BlobStore(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def python(store: BlobStore) -> ImagePythonProgram:
    return ImagePythonProgram((python_image.layer(store),), python_image.EXECUTABLE, THIS)


@contextmanager
def nothing_unpacked(*_: object) -> Iterator[Path]:
    pytest.fail("the image was unpacked again")
    yield Path()


def test_it_compiles_each_wheel_as_the_same_python_does_outside(python: ImagePythonProgram, store: BlobStore) -> None:
    outside = bytecode.interpreter(THIS)
    assert outside is not None
    with image_compiler.opened(python, store) as compiler, compiler.session() as session:
        assert compiler.identity == outside.identity
        assert list(session.compiled(SOURCES)) == list(outside.compiled(SOURCES))
        assert list(session.compiled(SOURCES[5:])) == list(outside.compiled(SOURCES[5:]))


def test_a_source_that_ends_the_compiler_is_passed_over(python: ImagePythonProgram, store: BlobStore) -> None:
    hostile = [SourceFile("/deep.py", b"-" * 200_000 + b"1"), SourceFile("/bad.py", b"def (\n")]
    with image_compiler.opened(python, store) as compiler, compiler.session() as session:
        answers = session.compiled([SOURCES[0], *hostile, SOURCES[1]])
        assert [path for path, _ in answers] == [SOURCES[0].path, SOURCES[1].path]


def test_its_version_is_asked_once_and_where_nothing_is_compiled_nothing_is_unpacked(
    python: ImagePythonProgram, store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with image_compiler.opened(python, store) as first:
        identity = first.identity
    monkeypatch.setattr(unpacked_images, "unpacked", nothing_unpacked)
    with image_compiler.opened(python, store) as again:
        assert again.identity == identity


def test_an_image_without_that_python_is_refused(python: ImagePythonProgram, store: BlobStore) -> None:
    absent = replace(python, executable="/usr/bin/python9")
    with pytest.raises(ToolFailedError) as caught, image_compiler.opened(absent, store):
        pass
    assert "No such file" in " ".join(caught.value.details)


def base(store: BlobStore, platform: Platform, full_version: str = FULL) -> UnpackedBase:
    made = mutate.append_layers(image.empty(platform), [python_image.layer(store)])
    installed = PythonInstallation(THIS, full_version, python_image.EXECUTABLE, "/site", "/bin")
    return UnpackedBase(made, BaseContents(installed, {}, None, {}, has_bash=False, os_release={}, debian_packages={}))


def test_the_images_own_python_compiles_and_the_checklist_needs_not_mention_it(store: BlobStore) -> None:
    with compilers.chosen(HERE, {HERE: base(store, HERE)}, store) as choice:
        assert isinstance(choice.compiler, image_compiler.ImageCompiler)
        assert choice.finding is None


def test_a_base_of_this_processor_compiles_for_another_one(store: BlobStore) -> None:
    bases = {ELSEWHERE: base(store, ELSEWHERE), HERE: base(store, HERE)}
    with compilers.chosen(ELSEWHERE, bases, store) as choice:
        assert isinstance(choice.compiler, image_compiler.ImageCompiler)
        assert choice.finding is None


@pytest.mark.parametrize(("full_version", "compared"), [(FULL, None), (f"{THIS[0]}.{THIS[1]}.99", Status.MANUAL)])
def test_where_it_cannot_run_this_machines_python_compiles_and_another_version_is_said(
    store: BlobStore, full_version: str, compared: Status | None
) -> None:
    with compilers.chosen(ELSEWHERE, {ELSEWHERE: base(store, ELSEWHERE, full_version)}, store) as choice:
        assert isinstance(choice.compiler, bytecode.Interpreter)
        assert (choice.finding.status if choice.finding else None) == compared
        if choice.finding:
            assert "processor" in " ".join(choice.finding.evidence)
            assert full_version in choice.finding.remedy


def test_without_any_python_of_that_version_the_checklist_says_that_there_is_no_byte_code(store: BlobStore) -> None:
    old = base(store, ELSEWHERE)
    python = PythonInstallation((2, 1), "2.1.3", "/usr/bin/python2.1", "/site", "/bin")
    bases = {ELSEWHERE: UnpackedBase(old.image, replace(old.contents, python=python))}
    with compilers.chosen(ELSEWHERE, bases, store) as choice:
        assert choice.compiler is None
        assert choice.finding is not None
        assert "does not have Python 2.1" in choice.finding.evidence[0]

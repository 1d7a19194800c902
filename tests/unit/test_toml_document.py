"""TOML of unknown origin becomes a table or a sentence, soon."""

from __future__ import annotations

import io
import tarfile
import time

import pytest

from bundler.effects.packages import declared
from bundler.feast.rules import permissions
from bundler.model import limits, toml_document
from bundler.wheels import sdist

BOMBS = {
    "lists": "a = " + "[" * 100_000,
    "tables": "a = " + "{a=" * 50_000,
    "a key": "a." * 20_000 + "b = 1",
    "a key in quotes": '"a".' * 20_000 + "b = 1",
    "a heading": "[" + "a." * 20_000 + "b]",
    "a key in a table": "a = {" + "a." * 20_000 + "b = 1}",
    "quotes": '"\\"' * 200_000,
    "quotes and a backslash": '"\\"' * 200_000 + "\\",
    "digits": "a = " + "9" * 5000,
    "size": "#" * (limits.TOML_SIZE + 1),
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_bombs_end_in_a_sentence_soon(text: str) -> None:
    began = time.process_time()
    with pytest.raises(ValueError):
        toml_document.parse(text)
    assert time.process_time() - began < 2


def test_limits_are_held_at_their_values() -> None:
    parts = ".".join("a" * limits.TOML_DOTS)
    assert toml_document.parse(f"{parts}.b = 1")
    with pytest.raises(ValueError, match="dots outside of texts"):
        toml_document.parse(f"{parts}.a.b = 1")
    assert toml_document.parse(f"a = \"{'.' * 1000}\"\nb = '{'.' * 1000}'") == {"a": "." * 1000, "b": "." * 1000}


def test_a_source_distribution_with_a_bomb_is_refused() -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, text in {"PKG-INFO": "Name: demo\nVersion: 1.0\n", "pyproject.toml": BOMBS["lists"]}.items():
            member = tarfile.TarInfo(f"demo-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    target.seek(0)
    with pytest.raises(ValueError, match="nested too deeply"):
        sdist.read(target)


@pytest.mark.parametrize("text", ["-" * 100_000 + "1", "(" * 1000, "a" + ".b" * 50_000, "not " * 50_000 + "a"])
def test_python_code_that_is_nested_too_deeply_declares_nothing(text: str) -> None:
    assert list(declared.setup_py(text, "setup.py")) == []
    assert list(permissions._calls({"x.py": text.encode()})) == []

from __future__ import annotations

import importlib.util
import marshal
import sys
import types
from pathlib import Path

import pytest

from bundler.effects.packages import bytecode
from bundler.effects.packages.bytecode import Interpreter, SourceFile

pytestmark = pytest.mark.integration
THIS = (sys.version_info[0], sys.version_info[1])
SOURCES = [
    SourceFile(f"/site/demo/m{number}.py", f"NAMES = {{'x{number}', 'os'}}\ndef shared(os=1): return 'x'\n".encode())
    for number in range(20)
]


def this() -> Interpreter:
    found = bytecode.interpreter(THIS)
    assert found is not None
    return found


def test_byte_code_runs_knows_its_path_in_the_image_and_is_never_checked_against_the_source() -> None:
    ((path, code),) = bytecode.compiled(this(), [SourceFile("/opt/demo.py", b"VALUE = 40 + 2\n")])
    assert path == "/opt/demo.py"
    assert code[:4] == importlib.util.MAGIC_NUMBER
    assert code[4:8] == b"\x01\0\0\0"  # PEP 552: hash-based, unchecked
    assert code[8:16] == importlib.util.source_hash(b"VALUE = 40 + 2\n")
    loaded = marshal.loads(code[16:])  # noqa: S302  (our own two lines)
    assert isinstance(loaded, types.CodeType)
    assert loaded.co_filename == "/opt/demo.py"
    values: dict[str, object] = {}
    exec(loaded, values)  # noqa: S102  (our own two lines)
    assert values["VALUE"] == 42


def test_the_same_sources_become_the_same_bytes_in_every_run() -> None:
    assert list(bytecode.compiled(this(), SOURCES)) == list(bytecode.compiled(this(), SOURCES))


@pytest.mark.parametrize(
    "content", [b"def (\n", b"\0", b"# coding: nonsense\n", b"x = '\xff'\n", b"-" * 200_000 + b"1", b"print 'two'\n"]
)
def test_a_source_that_does_not_compile_is_passed_over(content: bytes) -> None:
    answers = bytecode.compiled(this(), [SourceFile("/bad.py", content), SourceFile("/good.py", b"x = 1\n")])
    assert [path for path, _ in answers] == ["/good.py"]


def test_a_source_that_keeps_the_compiler_busy_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytecode, "_MOST_SECONDS", 0.1)
    endless = b"x = (" + b"1," * 3_000_000 + b")\n"
    answers = bytecode.compiled(this(), [*SOURCES[:1], SourceFile("/endless.py", endless), *SOURCES[1:2]])
    assert [path for path, _ in answers] == [SOURCES[0].path, SOURCES[1].path]


def test_a_source_is_compiled_but_never_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    list(bytecode.compiled(this(), [SourceFile("/evil.py", f"open({str(trace)!r}, 'w')\n".encode())]))
    assert not trace.exists()


def test_a_program_that_only_has_the_name_of_a_python_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = tmp_path / "python3.99"
    shim.write_text("#!/bin/sh\necho 'python3.99: command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bytecode.interpreter((3, 99)) is None

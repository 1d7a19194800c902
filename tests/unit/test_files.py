"""Texts are read with one error that names the file, what it is and what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bundler.effects import files
from bundler.effects.archive import signing
from bundler.errors import LockError, SpecError, ToolFailedError, UsageError
from tests.unit.test_cli import run


def test_a_text_is_returned_without_its_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("\ufeffname: \u00e4\n".encode())
    assert files.read_text(tmp_path / "a", "the spec") == "name: \u00e4\n"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: None, "the file does not exist"),
        (lambda path: path.mkdir(), "it is not a file|it is a folder"),
        (os.mkfifo, "it is not a file"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: path.write_bytes(b"a: 1\nb: \xff\xfe\n"), r"not a text in UTF-8 \(byte 8, in line 2, is 0xff\)"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_reason(tmp_path: Path, make: object, said: str) -> None:
    path = tmp_path / "bundle.lock"
    make(path)  # type: ignore[operator]
    with pytest.raises(LockError, match=f"Cannot read the lock .*bundle.lock: .*({said})"):
        files.read_text(path, "the lock", error=LockError)


def test_more_than_anybody_writes_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "TEXT_LIMIT", 10)
    (tmp_path / "a").write_text("x" * 10)
    assert files.read_text(tmp_path / "a", "the spec") == "x" * 10
    (tmp_path / "a").write_text("x" * 11)
    with pytest.raises(SpecError, match="larger than"):
        files.read_text(tmp_path / "a", "the spec")


def test_the_remedies_are_those_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as absent:
        files.read_text(tmp_path / "a", "the values", error=UsageError, missing="Write it.", remedy="Mend it.")
    assert absent.value.remedy == "Write it."
    with pytest.raises(UsageError) as folder:
        files.read_text(tmp_path, "the values", error=UsageError, missing="Write it.", remedy="Mend it.")
    assert folder.value.remedy == "Mend it."


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b""])
@pytest.mark.parametrize("name", ["bundle.yaml", "bundle.lock", "feature_repo/feature_store.yaml"])
def test_no_file_of_a_project_ends_a_build_in_a_traceback(
    name: str, content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "feature_repo").mkdir()
    for file, text in (
        ("feature_repo/feature_store.yaml", "project: x\nregistry: data/registry.db\nprovider: local\n"),
        ("bundle.yaml", "name: x\nversion: 0.1.0\nregistry: {host: r.example}\n"),
    ):
        (tmp_path / file).write_text(text)
    path = tmp_path / name
    path.unlink(missing_ok=True)
    path.mkdir() if content is None else path.write_bytes(content)
    status, _, err = run(
        capsys, "build", "-f", str(tmp_path / "bundle.yaml"), "-o", str(tmp_path), "--locked", "--quiet"
    )
    assert status == 3, err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", ["lint", "inspect", "verify"])
@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_command_that_reads_one_file_refuses_another_kind_in_a_sentence(
    command: str, content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "json"
    path.mkdir() if content is None else path.write_bytes(content)
    extra = ["--operator-version", "0.61.0"] if command == "lint" else []
    status, out, err = run(capsys, command, str(path), *extra)
    assert status in {2, 3, 6}, err
    assert str(path) in out + err
    assert not out.startswith("{")
    assert "Traceback" not in err


def test_a_path_to_write_to_is_tried_before_the_work(tmp_path: Path) -> None:
    files.require_writable(tmp_path / "new" / "receipt.json")
    assert list(tmp_path.rglob("*")) == [tmp_path / "new"]
    (tmp_path / "file").write_bytes(b"")
    for path, said in (
        (tmp_path / "file" / "receipt.json", "Cannot write"),
        (tmp_path / "new", "Is a directory"),
        (Path("/proc/x/receipt.json"), "Cannot write"),
    ):
        with pytest.raises(ToolFailedError, match=said):
            files.require_writable(path)


def test_a_pipe_is_not_waited_for_where_a_key_is_expected(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key.pem")
    with pytest.raises(UsageError, match=r"Cannot read the signing key .*key\.pem: it is not a file"):
        signing.load_key(tmp_path / "key.pem")


def test_a_device_or_a_pipe_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    for path in (pipe, link):
        with pytest.raises(ToolFailedError, match="there is a device or a pipe of that name"):
            files.require_writable(path)
        with pytest.raises(ToolFailedError, match="there is a device or a pipe of that name"):
            files.write(path, b"content")
    assert pipe.is_fifo()
    assert link.is_symlink()

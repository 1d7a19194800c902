from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundler.effects.blobs import BlobStore
from bundler.effects.packages import uv, wheelhouse
from bundler.effects.packages.uv import Resolution
from bundler.effects.registry import retry
from bundler.errors import BundlerError, LockError, RegistryError, UsageError, VerificationError
from bundler.model.digest import Digest
from bundler.model.lock import LockedWheel
from bundler.model.platform import Platform
from bundler.model.progress import SilentProgress
from bundler.wheels.compatibility import ImagePython
from tests.integration.package_index import PackageIndex
from tests.unit.sample_wheels import wheel

pytestmark = pytest.mark.integration
PYTHON = ImagePython((3, 11), "3.11.2", (2, 36), Platform("linux", "amd64"))
NAME = "demo-1.0-py3-none-any.whl"
BODY = wheel({"demo.py": "".join(f"x{number} = {number * 7919}\n" for number in range(20_000))}).getvalue()
DEMO = LockedWheel(name="demo", version="1.0", filename=NAME, size=len(BODY), sha256=Digest.of(BODY).hex)


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    monkeypatch.setattr(retry, "_FIRST", 0.001)
    with PackageIndex({NAME: BODY}).running() as running:
        monkeypatch.setenv("UV_DEFAULT_INDEX", running.url)
        monkeypatch.setenv("UV_NO_CACHE", "1")
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        yield running


def fetch(store: BlobStore, *wheels: LockedWheel, folder: Path | None = None) -> None:
    wheelhouse.fetch(wheels, PYTHON, store, wheels_dir=folder, progress=SilentProgress())


def left_over(store: BlobStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


def test_a_locked_wheel_is_fetched_once(tmp_path: Path, index: PackageIndex) -> None:
    store = BlobStore(tmp_path)
    fetch(store, DEMO)
    assert store.path(Digest(DEMO.sha256)).read_bytes() == BODY
    seen = len(index.seen)
    fetch(store, DEMO)
    assert len(index.seen) == seen


def test_a_transfer_that_breaks_off_is_continued_where_it_broke(tmp_path: Path, index: PackageIndex) -> None:
    index.faults = [-1000, 503, -2000]
    store = BlobStore(tmp_path)
    fetch(store, DEMO)
    assert store.has(Digest(DEMO.sha256), DEMO.size)
    assert [wanted for _, wanted, _ in index.seen] == [None, "bytes=1000-", "bytes=1000-", "bytes=3000-"]


def test_a_server_that_knows_no_ranges_sends_all_again(tmp_path: Path, index: PackageIndex) -> None:
    index.faults, index.with_ranges = [-1000, -500, -3000], False
    store = BlobStore(tmp_path)
    fetch(store, DEMO)
    assert store.has(Digest(DEMO.sha256), DEMO.size)


@pytest.mark.parametrize("says_ranges", [True, False])
def test_a_transfer_that_an_index_does_not_continue_begins_again(
    says_ranges: bool,  # noqa: FBT001
    tmp_path: Path,
    index: PackageIndex,
) -> None:
    index.faults, index.says_ranges = [-1000, *([416] if says_ranges else [])], says_ranges
    store = BlobStore(tmp_path)
    fetch(store, DEMO)
    assert store.has(Digest(DEMO.sha256), DEMO.size)
    assert [wanted for _, wanted, _ in index.seen] == [None, "bytes=1000-", None]


def test_a_transfer_that_breaks_off_again_and_again_is_given_up(tmp_path: Path, index: PackageIndex) -> None:
    index.faults = [-10] * 20
    store = BlobStore(tmp_path)
    with pytest.raises(RegistryError, match="broke off 5 times"):
        fetch(store, DEMO)
    assert left_over(store) == []


@pytest.mark.parametrize("headers", [{"Retry-After": "1"}, {}])
def test_an_index_that_is_asked_too_often_is_waited_for(
    headers: dict[str, str], tmp_path: Path, index: PackageIndex
) -> None:
    index.faults, index.fault_headers = [429, 503], headers
    store, said = BlobStore(tmp_path), list[str]()

    class Telling(SilentProgress):
        def say(self, text: str) -> None:
            said.append(text)

    begin = time.monotonic()
    wheelhouse.fetch((DEMO,), PYTHON, store, wheels_dir=None, progress=Telling())
    assert store.has(Digest(DEMO.sha256), DEMO.size)
    assert any("asks to slow down (429)" in line for line in said)
    assert not headers or time.monotonic() - begin >= 2


def test_an_index_that_is_always_busy_is_given_up(tmp_path: Path, index: PackageIndex) -> None:
    index.faults, index.fault_headers = [429] * 30, {"Retry-After": "0"}
    with pytest.raises(RegistryError, match="answered 429"):
        fetch(BlobStore(tmp_path), DEMO)
    assert len(index.seen) == 5


def test_other_bytes_than_were_locked_are_refused_and_not_kept(tmp_path: Path, index: PackageIndex) -> None:
    store = BlobStore(tmp_path)
    for other in (BODY[:-1] + b"!", BODY + b"!", BODY[:-1]):
        index.served = {NAME: other}
        with pytest.raises(VerificationError, match=r"demo-1\.0"):
            fetch(store, DEMO)
        assert left_over(store) == []


def test_a_file_that_the_index_replaced_is_named_before_it_is_fetched(tmp_path: Path, index: PackageIndex) -> None:
    locked = DEMO.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(LockError, match="another file of that name") as caught:
        fetch(BlobStore(tmp_path), locked)
    assert "bundler lock --upgrade-package demo" in caught.value.remedy
    assert index.seen == []


def test_a_redirect_is_followed(tmp_path: Path, index: PackageIndex) -> None:
    index.moved = True
    store = BlobStore(tmp_path)
    fetch(store, DEMO)
    assert store.has(Digest(DEMO.sha256), DEMO.size)


def test_a_private_index_gets_its_login_and_nobody_else_sees_it(
    tmp_path: Path, index: PackageIndex, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    index.login = ("someone", "hunter2")
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url_with_login)
    found = uv.resolve(Resolution(PYTHON, requirements=("demo",)))
    store = BlobStore(tmp_path)
    (locked,) = wheelhouse.lock(found, store, progress=SilentProgress())
    fetch(store, locked)
    assert {login is not None for _, _, login in index.seen} == {True}
    assert "hunter2" not in caplog.text + repr(found) + locked.model_dump_json()
    assert "127.0.0.1" not in locked.model_dump_json()


def test_files_that_refuse_are_an_error_of_the_registry(tmp_path: Path, index: PackageIndex) -> None:
    for status in (403, 404):
        index.faults = [status]
        with pytest.raises(RegistryError, match=f"answered {status}"):
            fetch(BlobStore(tmp_path), DEMO)


@pytest.mark.parametrize("with_hashes", [True, False])
def test_what_an_old_index_does_not_say_is_measured(tmp_path: Path, index: PackageIndex, *, with_hashes: bool) -> None:
    index.with_sizes, index.with_hashes = False, with_hashes
    store = BlobStore(tmp_path)
    found = uv.resolve(Resolution(PYTHON, requirements=("demo",)))
    assert wheelhouse.lock(found, store, progress=SilentProgress()) == (DEMO,)
    again = BlobStore(tmp_path / "again")
    fetch(again, DEMO)
    assert again.has(Digest(DEMO.sha256), DEMO.size)


def test_wheels_of_the_specs_folder_need_no_index(
    tmp_path: Path, index: PackageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / NAME).write_bytes(BODY)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    store = BlobStore(tmp_path / "cache")
    fetch(store, DEMO, folder=folder)
    assert store.has(Digest(DEMO.sha256), DEMO.size)
    assert index.seen == []


def test_a_wheel_of_the_folder_that_was_replaced_since_is_named(tmp_path: Path, index: PackageIndex) -> None:
    index.wheels = {}
    (tmp_path / NAME).write_bytes(wheel({"other.py": ""}).getvalue())
    with pytest.raises(LockError, match=r"demo-1\.0.* is not the file that was locked"):
        fetch(BlobStore(tmp_path / "cache"), DEMO, folder=tmp_path)


def test_find_links_of_pip_are_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: PackageIndex) -> None:
    index.wheels = {}
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / NAME).write_bytes(BODY)
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    store = BlobStore(tmp_path / "cache")
    found = uv.resolve(Resolution(PYTHON, requirements=("demo",)))
    assert wheelhouse.lock(found, store, progress=SilentProgress()) == (DEMO,)
    fetch(BlobStore(tmp_path / "again"), DEMO)


def test_a_full_disk_or_a_missing_right_is_one_clear_error(tmp_path: Path, index: PackageIndex) -> None:
    (tmp_path / "blobs").write_text("a file where the folder should be")
    with pytest.raises(BundlerError, match="Cannot write"):
        fetch(BlobStore(tmp_path), DEMO)
    assert len(index.seen) <= 1


def test_authorities_that_cannot_be_read_are_named(
    tmp_path: Path, index: PackageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = uv.resolve(Resolution(PYTHON, requirements=("demo",)))
    assert index.port
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(UsageError, match=r"none\.pem"):
        wheelhouse.download(found, BlobStore(tmp_path), progress=SilentProgress())

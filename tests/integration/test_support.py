"""What the other tests stand on does what it says: each real program starts, answers, and refuses a wrong login."""

from __future__ import annotations

import json
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.model.platform import Platform
from tests.support import images, programs, registries, stores
from tests.support.engines import Ran, call
from tests.support.stores import Postgres, Redis

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with stores.redis() as store:
        yield store


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with stores.postgres() as store:
        yield store


def test_redis_keeps_what_it_is_told(redis: Redis) -> None:
    assert redis.ask("SET driver 1001", "GET driver") == ["+OK", "$4", "1001"]


def test_redis_refuses_a_wrong_password(redis: Redis) -> None:
    with pytest.raises(ConnectionError, match="WRONGPASS"):
        replace(redis, password="wrong").ask("PING")


def test_postgres_keeps_what_it_is_told(postgres: Postgres) -> None:
    postgres.ask("CREATE TABLE drivers AS SELECT 1001 AS id")
    assert postgres.ask("SELECT id, current_database() FROM drivers") == "1001|feast"


def test_postgres_refuses_a_wrong_password(postgres: Postgres) -> None:
    with pytest.raises(ConnectionError, match="password authentication failed"):
        replace(postgres, password="wrong").ask("SELECT 1")


SKIPPED = """
import pytest

@pytest.mark.integration
def test_real():
    pytest.skip("no such program")

def test_unit():
    pytest.skip("another platform")
"""
FAILING = """
import sys
import pytest
from tests.support.programs import serving

PROGRAM = "print('WORDS', flush=True); import time; time.sleep(60)"

@pytest.fixture
def beside(tmp_path):
    log = tmp_path / "log"
    with serving([sys.executable, "-c", PROGRAM], log, lambda: b"WORDS" in log.read_bytes()):
        yield

def test_beside(beside):
    assert not "a failure"

def test_inside(tmp_path):
    log = tmp_path / "log"
    with serving([sys.executable, "-c", PROGRAM], log, lambda: b"WORDS" in log.read_bytes()):
        assert not "a failure"
"""


def run_pytest(folder: Path, content: str, environment: Mapping[str, str]) -> Ran:
    """Run a file of tests under the hooks of this project's conftest."""
    (folder / "test_sample.py").write_text(content)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
    return call([*command, f"-c{ROOT / 'pyproject.toml'}", folder / "test_sample.py"], environment)


@pytest.mark.parametrize(("ci", "outcome"), [("true", "1 failed, 1 skipped"), ("", "2 skipped")])
def test_in_ci_a_skipped_test_with_real_programs_fails(tmp_path: Path, ci: str, outcome: str) -> None:
    ran = run_pytest(tmp_path, SKIPPED, {"CI": ci})
    assert outcome in ran.output
    assert ran.status == (1 if ci else 0)
    assert "no such program" in ran.output


def test_a_failure_shows_what_the_programs_beside_it_said_and_ends_them(tmp_path: Path) -> None:
    words = f"the last words of {secrets.token_hex(8)}"
    ran = run_pytest(tmp_path, FAILING.replace("WORDS", words), {})
    assert ran.status == 1
    assert re.search(rf"-- log of python\S* \d+ --+\n{words}\n", ran.output), ran.output  # runs still: a section
    assert re.search(rf"^E +log of python\S* \d+:\nE +{words}$", ran.output, re.MULTILINE), ran.output  # ended: a note
    assert not [line for line in Path("/proc").glob("[0-9]*/cmdline") if words.encode() in _bytes(line)]


def test_a_program_that_ends_at_once_is_an_error_with_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no port left')"]
    with (
        pytest.raises(AssertionError, match="status 1") as raised,
        programs.serving(command, tmp_path / "log", lambda: False),
    ):
        pass
    assert "no port left" in raised.value.__notes__[0]
    assert not [name for name, log in programs.LOGS.items() if log == tmp_path / "log"]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it ended meanwhile
        return b""


def test_a_pushed_index_keeps_all_its_platforms(tmp_path: Path) -> None:
    platforms = (Platform("linux", "amd64"), Platform("linux", "arm64"))
    source = images.make_layout(tmp_path / "layout", "x", {"opt/file": b"content"}, platforms)
    with registries.running(tmp_path / "registry") as registry:
        images.push(source, f"{registry.address}/team/app:1")
        index = json.loads(registry.manifest("team/app", "1"))
    assert [row["platform"]["architecture"] for row in index["manifests"]] == ["amd64", "arm64"]

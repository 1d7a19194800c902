"""bundler.pyz as a bundle brings it, on bare Pythons: no installed packages, no environment."""

from __future__ import annotations

import json
import os
import pty
import resource
import statistics
import subprocess
from pathlib import Path

import pytest

from bundler.effects.archive.reader import Bundle
from bundler.model import layout
from bundler.steps.build.pack import Packed
from tests.support import pythons
from tests.support.programs import require
from tests.unit import packed

pytestmark = pytest.mark.integration

SUPPORTED = {version: program for version, program in pythons.found().items() if version >= (3, 10)}
TOO_OLD = {version: program for version, program in pythons.found().items() if version < (3, 10)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return packed.bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def program(made: Packed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / layout.OFFLINE_PROGRAM
    with Bundle.open(made.path) as bundle:
        path.write_bytes(bundle.read(layout.OFFLINE_PROGRAM))
    return path


def run(python: str, program: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it where nothing is installed (-S) and nothing is taken from the environment (-I)."""
    return subprocess.run(
        [python, "-I", "-S", str(program), *map(str, arguments)],
        env={"PATH": os.environ["PATH"]},
        cwd=program.parent,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("python", SUPPORTED.values(), ids=map(str, SUPPORTED))
def test_it_verifies_a_bundle_on_a_bare_python_and_writes_nothing(made: Packed, program: Path, python: str) -> None:
    done = run(python, program, "verify", made.path, "--output", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["failed"] is False
    assert [path.name for path in program.parent.iterdir()] == [program.name]


@pytest.mark.parametrize("python", SUPPORTED.values(), ids=map(str, SUPPORTED))
def test_it_asks_the_cluster_by_the_real_kubectl_on_a_bare_python(made: Packed, program: Path, python: str) -> None:
    require("kubectl")
    nowhere = program.with_name("kubeconfig")
    nowhere.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {token: hunter2}}]\n"
    )
    options = ("--registry", "registry.site:5000/feast", "--kubeconfig", nowhere, "--verbose")
    done = run(python, program, "install", made.path, *options)
    looked = run(python, program, "preflight", made.path, *options, "--retry-times", "0")
    assert looked.returncode == 8, looked.stdout + looked.stderr
    assert "The cluster cannot be reached." in looked.stdout
    assert "An install would fail." in looked.stdout
    assert "hunter2" not in looked.stdout + looked.stderr
    nowhere.unlink()
    assert done.returncode == 8, done.stdout + done.stderr
    assert "The cluster cannot be reached." in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize("python", SUPPORTED.values(), ids=map(str, SUPPORTED))
def test_a_damaged_bundle_ends_with_the_exit_code_of_verification(
    made: Packed, program: Path, tmp_path: Path, python: str
) -> None:
    damaged = tmp_path / "damaged.tar"
    damaged.write_bytes(made.path.read_bytes()[:-100])
    assert run(python, program, "verify", damaged).returncode == 6


@pytest.mark.parametrize("python", TOO_OLD.values(), ids=map(str, TOO_OLD))
def test_a_python_that_is_too_old_is_told_so(program: Path, python: str) -> None:
    done = run(python, program, "verify")
    assert done.returncode == 1
    assert "needs Python 3.10 or newer" in done.stderr
    assert "Traceback" not in done.stderr


def test_commands_of_the_connected_side_say_where_they_are(program: Path) -> None:
    done = run(next(iter(SUPPORTED.values())), program, "build")
    assert done.returncode == 2
    assert "connected side" in done.stderr


PROBE = """
import sys, runpy
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    assert end.code == 0, end.code
import importlib.machinery, sysconfig
standard = sysconfig.get_paths()["stdlib"]
for name, module in sorted(sys.modules.items()):
    file = getattr(module, "__file__", None) or ""
    if file.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES)):
        assert file.startswith(standard), ("compiled", name, file)
    assert not file or file.startswith((standard, sys.argv[0])), ("from elsewhere", name, file)
print("modules checked")
"""


@pytest.mark.parametrize("python", SUPPORTED.values(), ids=map(str, SUPPORTED))
def test_nothing_is_imported_but_itself_and_the_standard_library(made: Packed, program: Path, python: str) -> None:
    done = subprocess.run(
        [python, "-I", "-S", "-c", PROBE, program, "verify", made.path, "--output", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.endswith("modules checked\n"), done.stdout[-300:] + done.stderr


@pytest.mark.parametrize("python", SUPPORTED.values(), ids=map(str, SUPPORTED))
def test_progress_is_shown_on_a_terminal(made: Packed, program: Path, python: str) -> None:
    leader, follower = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm-256color"}
    with subprocess.Popen(
        [python, "-I", "-S", program, "verify", made.path], stdout=subprocess.DEVNULL, stderr=follower, env=environment
    ) as process:
        os.close(follower)
        shown = b""
        try:
            while chunk := os.read(leader, 65536):
                shown += chunk
        except OSError:  # how Linux says that the other end is closed
            pass
        os.close(leader)
    assert process.returncode == 0, shown
    assert b"Verify driver-stats" in shown


def test_it_starts_in_less_than_half_a_second(program: Path) -> None:
    python = next(iter(SUPPORTED.values()))
    seconds = []
    for _ in range(5):
        before = _processor_seconds()
        assert run(python, program, "--help").returncode == 0
        seconds.append(_processor_seconds() - before)
    # Processor time, and the best of five: what it needs, not what the machine was busy with. It waits for nothing.
    assert min(seconds) < 0.5, statistics.median(seconds)


def _processor_seconds() -> float:
    """Return what all programs that were started here, and have ended, took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

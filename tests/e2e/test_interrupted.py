"""A build that is ended at any point leaves nothing under the final name, and the next one completes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Built, build, bundler, copy_example, seed

pytestmark = pytest.mark.e2e


def start(project: Path, cache: Path, output: Path) -> subprocess.Popen[bytes]:
    """Start a build and return at once."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "bundler", "build", "-f", str(project / "bundle.yaml")),
            *("-o", str(output), "--cache-dir", str(cache)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=dict(os.environ),
    )


def test_killed_builds_leave_no_bundle_and_the_next_one_completes(built: Built, tmp_path: Path) -> None:
    project = copy_example(tmp_path)
    cache, output = tmp_path / "cache", tmp_path / "dist"
    seed(built, cache, layers_missing=3)
    # Each goes on where the one before was killed.
    for delay in (0.4, 1.5, 4.0, 9.0):
        process = start(project, cache, output)
        time.sleep(delay)
        process.kill()
        _, err = process.communicate()
        assert b"Traceback" not in err
        finished = process.returncode == 0
        assert finished or not list(output.glob("*.bundle.tar"))
    again = build(project, cache, output)
    assert bundler("verify", again.bundle).status == 0
    # What the killed ones left behind does not stay for ever.
    assert [path.name for path in output.iterdir()] == [again.bundle.name]


def test_an_interrupted_build_says_so_and_leaves_nothing(built: Built, tmp_path: Path) -> None:
    project = copy_example(tmp_path)
    cache, output = tmp_path / "cache", tmp_path / "dist"
    seed(built, cache, layers_missing=3)
    process = start(project, cache, output)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1, err
    assert b"interrupted" in err
    assert b"Traceback" not in err
    assert not output.exists() or not list(output.iterdir())

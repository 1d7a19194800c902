"""What `make` installs of Debian's packages, and what it says where it cannot: on a machine of a few programs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
SCRIPT = Path(__file__).resolve().parents[2] / "tests/setup/programs.sh"
ASKED = ("sh", "nothing-like-this=first-package", "module:json=python3-json", "module:no_such_module=python3-venv")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder of programs, which is all of PATH; ``id`` says that this is an ordinary user."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "sort", "tr", "mktemp", "rm", "env", "cat"):
        (folder / name).symlink_to(str(shutil.which(name)))
    add(folder, "id", "echo 1000")
    return folder


def add(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def run(machine: Path) -> subprocess.CompletedProcess[str]:
    # The script looks below /usr/sbin, too, which has no program of these names.
    environment = {"PATH": str(machine), "PYTHON": sys.executable}
    return subprocess.run(
        ["/bin/sh", SCRIPT, *ASKED], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_without_apt_all_that_is_needed_is_named(machine: Path) -> None:
    done = run(machine)
    assert done.returncode == 4
    assert "error: needed: first-package python3-venv. This machine has no apt-get" in done.stderr


def test_a_user_without_sudo_is_told_what_to_run(machine: Path) -> None:
    add(machine, "apt-get", "exit 1")
    done = run(machine)
    assert done.returncode == 4
    assert "Run: sudo apt-get install --no-install-recommends first-package python3-venv" in done.stderr


def test_a_user_with_sudo_gets_them_installed(machine: Path) -> None:
    add(machine, "apt-get", f'echo "$@" >> {machine}/calls')
    add(machine, "sudo", 'while [ "$1" = -n ]; do shift; done\nexec "$@"')
    (machine / "true").symlink_to(str(shutil.which("true")))
    done = run(machine)
    assert done.returncode == 0, done.stderr
    assert "install -y --no-install-recommends first-package python3-venv" in (machine / "calls").read_text()

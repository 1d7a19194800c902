"""The CPythons of this machine, for programs that promise to run on any."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path


@cache
def found() -> Mapping[tuple[int, int], str]:
    """Return version -> program, at least that of this test; what BUNDLER_TEST_PYTHONS (a PATH) holds comes first."""
    folders = [*os.environ.get("BUNDLER_TEST_PYTHONS", "").split(os.pathsep)]
    folders += [str(path) for path in sorted(Path.home().glob(".pyenv/versions/3.*/bin"))]
    programs: dict[tuple[int, int], str] = {}
    for minor in range(8, 15):
        for where in (os.pathsep.join(filter(None, folders)), None):
            program = shutil.which(f"python3.{minor}", path=where)
            if program and _works(program, minor):
                programs.setdefault((3, minor), program)
    return {**programs, sys.version_info[:2]: sys.executable}


def _works(program: str, minor: int) -> bool:
    """Tell a Python from a shim that only knows its name."""
    code = "import sys; print(*sys.version_info[:2])"
    done = subprocess.run([program, "-I", "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.split() == ["3", str(minor)]

"""How much memory a program needs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

# What a process is charged for begins with the memory of the one that it was forked from, so that must be a small one.
_ACCOUNT = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
sys.exit(status)
"""


def peak_of(command: Sequence[str], status: int = 0) -> int:
    """Run a program that must end with this status; return the most memory that it had, in bytes."""
    account = [sys.executable, "-I", "-S", "-c", _ACCOUNT, *command]
    done = subprocess.run(account, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return int(done.stdout)

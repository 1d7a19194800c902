"""The bundle's own verifier, run as a person runs it: by any Python, with nothing installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def check(verifier: Path, *arguments: str | Path, python: str = sys.executable) -> tuple[int, str]:
    """Return exit status and output; fail where it ended with a traceback."""
    done = subprocess.run(
        [python, "-I", "-S", str(verifier), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr

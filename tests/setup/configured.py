"""Run uv or pip with what this machine is configured with for either of them: index, login, trust, proxy.

Usage: python tests/setup/configured.py PROGRAM [ARGUMENT]...     (from the project's folder; needs no package)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bundler.effects.packages.index import PackageIndexes


def main(command: list[str]) -> None:
    """Become the program."""
    indexes = PackageIndexes.of_this_host()
    environment = {**os.environ, **indexes.for_uv(), **indexes.for_pip()}
    os.execve(command[0], command, environment)  # noqa: S606  (no shell is wanted)


if __name__ == "__main__":
    main(sys.argv[1:])

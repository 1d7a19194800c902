"""What a user sees: progress and errors on stderr, the result on stdout."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from bundler.errors import BundlerError
from bundler.model.descriptor import Json
from bundler.model.size import size

if TYPE_CHECKING:
    from bundler.model.delta import BaseBundle


def delta(base: BaseBundle) -> str:
    """Say what a delta leaves to another bundle."""
    return f"a delta: leaves {len(base.blobs)} blobs, {size(base.size)}, to {base}, {base.digest}"


def can_ask() -> bool:
    """Tell whether somebody is there to answer: no script, no pipe, no CI."""
    return sys.stdin.isatty() and sys.stderr.isatty() and not os.environ.get("CI")


def show_error(error: BundlerError, *, as_json: bool) -> None:
    """Print an error for people on stderr, and for scripts on stdout where they asked for JSON."""
    paint = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    label = "\x1b[1;31merror:\x1b[0m" if paint else "error:"
    lines = [f"{label} {error.problem}", *(f"  {line}" for line in error.details)]
    if error.remedy:
        lines.append(f"  -> {error.remedy}")
    sys.stderr.write("\n".join(lines) + "\n")
    if as_json:
        show_json(
            {
                "error": {
                    "code": int(error.exit_code),
                    "problem": error.problem,
                    "remedy": error.remedy,
                    "details": list(error.details),
                }
            }
        )


def show_json(value: Json) -> None:
    """Print a result for scripts."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def show(text: str) -> None:
    """Print a result for people."""
    sys.stdout.write(text.rstrip("\n") + "\n")

"""The Python of a feature repo: whether it compiles."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping

from bundler.errors import SpecError


def check_sources(sources: Mapping[str, bytes]) -> None:
    """Compile every Python file (path -> content) of a feature repo by this program's Python, without running any.

    Raises:
        SpecError: naming file, line and what Python says, for every file that does not compile.
    """
    if refused := problems(sources):
        count = (
            f"{len(refused)} files of the feature repo do" if len(refused) > 1 else "A file of the feature repo does"
        )
        running = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise SpecError(
            f"{count} not compile, as Python {running} reads it.",
            remedy="Correct it: `feast apply` would fail too. For newer Python code, run bundler with that Python.",
            details=refused,
        )


def problems(sources: Mapping[str, bytes]) -> tuple[str, ...]:
    """Return what this program's Python says of every file (path -> content) that it does not compile."""
    return tuple(problem for path in sorted(sources) if (problem := _problem(path, sources[path])))


def _problem(path: str, content: bytes) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a doubtful escape is the repo's business
            compile(content, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        return f"{path}:{error.lineno or 1}: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:  # NUL bytes, absurd nesting
        return f"{path}:1: {str(error) or 'nested too deeply'}"
    return None

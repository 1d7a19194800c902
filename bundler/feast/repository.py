"""The Python of a feature repo: whether it parses."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping

from bundler.errors import SpecError


def check_sources(sources: Mapping[str, bytes]) -> None:
    """Parse every Python file (path -> content) of a feature repo.

    Raises:
        SpecError: naming file, line and what Python says, for every file that does not parse.
    """
    problems = [problem for path in sorted(sources) if (problem := _problem(path, sources[path]))]
    if problems:
        count = (
            f"{len(problems)} files of the feature repo do" if len(problems) > 1 else "A file of the feature repo does"
        )
        raise SpecError(f"{count} not parse.", remedy="Mend it; `feast apply` would fail too.", details=tuple(problems))


def _problem(path: str, content: bytes) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a doubtful escape is the repo's business
            ast.parse(content, path)
    except SyntaxError as error:
        return f"{path}:{error.lineno or 1}: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:  # NUL bytes, absurd nesting
        return f"{path}:1: {error}"
    return None

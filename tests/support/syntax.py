"""Syntax trees of the program's sources, parsed once in a worker: several tests read all of them."""

from __future__ import annotations

import ast
from functools import cache


@cache
def parsed(source: str) -> ast.Module:
    """Return the tree of a module; callers only read it."""
    return ast.parse(source)

"""Lines of NAME=VALUE, as ``kubectl create secret --from-env-file`` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bundler.errors import UsageError


def parse(text: str, file: Path, *, form: str, remedy: str) -> Mapping[str, str]:
    """Return name -> value; empty lines and # comments are skipped, values stay as they are.

    Raises:
        UsageError: a line is not of the form ``form`` (NAME=VALUE, as the caller calls it).
    """
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, equals, value = line.partition("=")
            if not equals or not name.strip():
                raise UsageError(f"{file}:{number}: not of the form {form}.", remedy=remedy)
            values[name.strip()] = value
    return values

"""The option that names a release of the operator."""

from __future__ import annotations

import click

from bundler.errors import SpecError, UsageError


def check(_context: click.Context, _parameter: click.Parameter, version: str | None) -> str | None:
    """Check a release of the operator."""
    from bundler.feast.operator.capabilities import Capabilities  # noqa: PLC0415  (help stays quick)

    if version is not None:
        try:
            Capabilities.for_version(version)
        except SpecError as error:
            raise UsageError(f"--operator-version {version} is not a known release.", remedy=error.remedy) from error
    return version

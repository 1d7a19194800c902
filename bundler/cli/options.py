"""Options that mean the same in every command."""

from __future__ import annotations

import functools
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from bundler.cli import console
from bundler.cli.progress import progress_for
from bundler.errors import UsageError
from bundler.model.progress import Progress, SilentProgress

_Result = TypeVar("_Result")
_Command = TypeVar("_Command", bound=Callable[..., object])


def examples(*lines: str) -> str:
    """Return the end of a command's help: examples that can be copied, one a line."""
    return "\b\n" + "\n".join((f"Example{'s' if len(lines) > 1 else ''}:", *(f"  {line}" for line in lines)))


def output_format(command: _Command) -> _Command:
    """``--output text|json``."""
    return click.option(
        "--output",
        "output",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="Format of the result on stdout.",
    )(command)


def verbosity(command: Callable[..., _Result]) -> Callable[..., _Result]:
    """``-v`` and ``-q``; the command gets ``progress``, and the log of external programs is on with ``--verbose``."""

    @functools.wraps(command)
    def with_progress(*, verbose: bool, quiet: bool, **others: object) -> _Result:
        return command(progress=_progress(quiet=quiet, verbose=verbose), **others)

    wrapped: Callable[..., _Result] = with_progress
    for option in (
        click.option(
            "-v", "--verbose", is_flag=True, help="Also show the external programs that run, and their output."
        ),
        click.option("-q", "--quiet", is_flag=True, help="Do not show progress."),
    ):
        wrapped = option(wrapped)
    return wrapped


def platform(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    """Check a platform."""
    from bundler.model.platform import Platform  # noqa: PLC0415  (help stays quick)

    try:
        return str(Platform.parse(text)) if text is not None else None
    except ValueError as error:
        raise UsageError(f"--platform: {error}.", remedy="Write e.g. linux/amd64.") from error


def spec_file(command: _Command) -> _Command:
    """``-f bundle.yaml``."""
    return click.option(
        "-f",
        "--file",
        "spec_file",
        type=click.Path(path_type=Path),
        default=Path("bundle.yaml"),
        show_default=True,
        help="Spec of the bundle.",
    )(command)


def _progress(*, quiet: bool, verbose: bool) -> Progress:
    """Choose the display of progress, and turn on the log of external programs with ``--verbose``."""
    if verbose:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(console.PlainFormatter("%(message)s"))
        logging.basicConfig(handlers=[handler])
        logging.getLogger("bundler").setLevel(logging.DEBUG)
    return SilentProgress() if quiet else progress_for(sys.stderr, os.environ)


def build_time() -> int:
    """Return SOURCE_DATE_EPOCH in seconds, or the time of now where it is not set.

    Raises:
        UsageError: it is set, but not a whole number (reproducible-builds.org specification).
    """
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if text is None:
        return int(time.time())
    if not text.isascii() or not text.isdigit():
        raise UsageError(
            f"SOURCE_DATE_EPOCH is {text!r}, not a number of seconds.", remedy="Unset it, or set a number."
        )
    return int(text)

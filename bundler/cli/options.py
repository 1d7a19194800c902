"""Options that mean the same in every command."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from bundler.cli import console
from bundler.errors import UsageError
from bundler.model.progress import Progress, SilentProgress

_Command = TypeVar("_Command", bound=Callable[..., object])


def output_format(command: _Command) -> _Command:
    """``--output text|json``."""
    return click.option(
        "--output",
        "output",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="Form of the result on stdout.",
    )(command)


def verbosity(command: _Command) -> _Command:
    """``-v`` and ``-q``."""
    command = click.option(
        "-v", "--verbose", is_flag=True, help="Also show the programs that are run, and what they say."
    )(command)
    return click.option("-q", "--quiet", is_flag=True, help="Show no progress.")(command)


def cache_dir(command: _Command) -> _Command:
    """``--cache-dir``, by default the user's cache."""
    return click.option(
        "--cache-dir",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="BUNDLER_CACHE_DIR",
        default=default_cache,
        show_default="$XDG_CACHE_HOME/bundler",
        help="Where downloads and layers are kept between builds.",
    )(command)


def spec_file(command: _Command) -> _Command:
    """``-f bundle.yaml``."""
    return click.option(
        "-f",
        "--file",
        "spec_file",
        type=click.Path(path_type=Path),
        default=Path("bundle.yaml"),
        show_default=True,
        help="The spec of the bundle.",
    )(command)


def bundle_argument(command: _Command) -> _Command:
    """The bundle to read."""
    return click.argument("bundle", type=click.Path(path_type=Path))(command)


def default_cache() -> Path:
    """Return the user's cache folder for this program (XDG base directory specification)."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "bundler"


def progress(*, quiet: bool, verbose: bool) -> Progress:
    """Choose how the story is told, and turn on the log of external programs where it is wanted."""
    if verbose:
        logging.basicConfig(stream=sys.stderr, format="%(message)s")
        logging.getLogger("bundler").setLevel(logging.DEBUG)
    return SilentProgress() if quiet else console.progress_for(sys.stderr, os.environ)


def source_date_epoch() -> int | None:
    """Return SOURCE_DATE_EPOCH in seconds, or None where it is not set.

    Raises:
        UsageError: it is set, but not a whole number (reproducible-builds.org specification).
    """
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise UsageError(
            f"SOURCE_DATE_EPOCH is {text!r}, not a number of seconds.", remedy="Unset it, or set a number."
        )
    return int(text)

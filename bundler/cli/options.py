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


def volume_size(command: _Command) -> _Command:
    """``--volume-size``, in bytes."""
    return click.option(
        "--volume-size",
        metavar="SIZE",
        callback=lambda _context, _parameter, text: text and _size(text),
        help="Cut the bundle into files of this size, e.g. 4GB (FAT32, DVD) or 650MB: NAME.bundle.tar.001 and so on.",
    )(command)


def _size(text: str) -> int:
    from bundler.model import volumes  # noqa: PLC0415  (help stays quick)

    return volumes.parse_size(text)


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
    """The bundle to read: its file, or its volumes by one of them, by all of them (``x.tar.*``) or by their folder."""
    return click.argument(
        "bundle",
        type=click.Path(path_type=Path),
        nargs=-1,
        required=True,
        callback=lambda _context, _parameter, paths: _one_bundle(paths),
        metavar="BUNDLE",
    )(command)


def _one_bundle(paths: tuple[Path, ...]) -> Path:
    """Return the path that stands for all of them, which the shell may have made of ``x.tar.*``."""
    from bundler.model import volumes  # noqa: PLC0415  (help stays quick)

    if len(paths) == 1:
        return paths[0]
    parts = [path for path in paths if volumes.parse_name(path.name)]
    wholes = {path.parent / (volumes.whole(path.name) or path.name) for path in paths}
    if len(wholes) != 1 or not parts:
        raise UsageError(
            f"{len(paths)} files are not the volumes of one bundle in one folder.",
            remedy="Name one bundle; links to volumes elsewhere do where they are on several media.",
        )
    return min(parts)


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

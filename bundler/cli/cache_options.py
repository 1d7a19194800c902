"""Options that name the folder in which a command keeps what its next run can use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from bundler.errors import UsageError

_Command = TypeVar("_Command", bound=Callable[..., object])


def cache_dir(command: _Command) -> _Command:
    """``--cache-dir``, by default the user's cache."""
    return _cache("Folder that keeps downloads and layers between builds.")(command)


def uploads_dir(command: _Command) -> _Command:
    """``--cache-dir`` of a push, which keeps no image there."""
    return _cache("Folder that records unfinished uploads, so that an interrupted push continues where it stopped.")(
        command
    )


def engine_notes_dir(command: _Command) -> _Command:
    """``--cache-dir`` of what works in an engine only."""
    return _cache(
        "Folder that records a run while it lasts, so that the next one removes what an interrupted one left."
    )(command)


def _cache(text: str) -> Callable[[_Command], _Command]:
    return click.option(
        "--cache-dir",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="BUNDLER_CACHE_DIR",
        default=default_cache,
        show_default="$XDG_CACHE_HOME/bundler",
        help=text,
    )


def default_cache() -> Path:
    """Return the user's cache folder for this program (XDG base directory specification).

    Without a home (no HOME, and no entry in /etc/passwd: a container under any UID) it is a folder of this user's own
    among the temporary files.
    """
    root = os.environ.get("XDG_CACHE_HOME")
    if not root:
        home = os.path.expanduser("~")  # noqa: PTH111  (Path.home() fails where nobody has a home)
        root = None if home.startswith("~") else f"{home}/.cache"
    return Path(root) / "bundler" if root else _cache_without_home()


def _cache_without_home() -> Path:
    """Return a folder that only this user can have filled, because layers and package files are taken from it."""
    import tempfile  # noqa: PLC0415  (it brings half a dozen modules)

    from bundler.effects import files  # noqa: PLC0415  (help stays quick)

    folder = Path(tempfile.gettempdir(), f"bundler-{os.getuid()}")
    if not files.make_own_folder(folder):
        raise UsageError(
            f"This user has no home, and {folder} belongs to another user.", remedy="Give --cache-dir, or set HOME."
        )
    return folder

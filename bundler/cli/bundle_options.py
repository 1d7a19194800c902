"""Options that name a bundle, its volumes and who must have signed it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from bundler.cli import console
from bundler.errors import UsageError

if TYPE_CHECKING:
    from bundler.model.trust import Trust

_Command = TypeVar("_Command", bound=Callable[..., object])


def bundle_argument(command: _Command) -> _Command:
    """The bundle to read: its file, or its volumes by one of them, by all of them (``x.tar.*``) or by their folder.

    The command gets ``trust`` too: who must have signed it.
    """
    return click.argument(
        "bundle",
        type=click.Path(path_type=Path),
        nargs=-1,
        required=True,
        callback=lambda _context, _parameter, paths: _one_bundle(paths),
        metavar="BUNDLE",
    )(trusted(command))


def trusted(command: _Command) -> _Command:
    """``--trust``, repeatable; the command gets ``trust``, with what the environment and the machine demand."""
    return click.option(
        "--trust",
        type=click.Path(path_type=Path),
        multiple=True,
        callback=lambda _context, _parameter, paths: _trust(paths),
        help="Public keys (PEM) of which one must have signed the bundle, or a trust file (docs/trust.md); repeatable. "
        "BUNDLER_TRUST and /etc/bundler/trust.d demand signatures, too.",
    )(command)


def _trust(paths: tuple[Path, ...]) -> Trust:
    """Return what the option, the environment and the machine demand together; each of these must be fulfilled."""
    from bundler.effects.archive import trust_files  # noqa: PLC0415  (help stays quick)
    from bundler.model.trust import FOLDER, Trust  # noqa: PLC0415

    named = [Path(text) for text in os.environ.get("BUNDLER_TRUST", "").split(os.pathsep) if text]
    files = (*map(trust_files.read, (*paths, *named)), *trust_files.of_folder(Path(FOLDER)))
    return Trust(files, tell=console.tell)


def _one_bundle(paths: tuple[Path, ...]) -> Path:
    """Return the one path of a bundle, also where the shell has expanded ``x.tar.*`` to its volumes."""
    from bundler.model import volumes  # noqa: PLC0415  (help stays quick)

    if len(paths) == 1:
        return paths[0]
    volume_files = [path for path in paths if volumes.parse_name(path.name)]
    wholes = {path.parent / (volumes.whole(path.name) or path.name) for path in paths}
    if len(wholes) != 1 or not volume_files:
        raise UsageError(
            f"{len(paths)} files are not the volumes of one bundle in one folder.",
            remedy="Name one bundle. Where its volumes are on several media, make links to them in one folder.",
        )
    return min(volume_files)


def volume_size(command: _Command) -> _Command:
    """``--volume-size``, in bytes."""
    return click.option(
        "--volume-size",
        metavar="SIZE",
        callback=lambda _context, _parameter, text: text and _size(text),
        help="Split the bundle into files of at most this size, e.g. 4GB or 650MB: NAME.bundle.tar.001 and so on.",
    )(command)


def _size(text: str) -> int:
    from bundler.model import volumes  # noqa: PLC0415  (help stays quick)

    return volumes.parse_size(text)

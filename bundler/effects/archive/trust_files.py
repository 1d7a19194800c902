"""Read trust files: those that are named, and those of the folder that a machine has for all of its users."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from bundler.effects import files
from bundler.errors import UsageError
from bundler.model import trust
from bundler.model.trust import TrustFile

_REMEDY: Final = "Name a file with public keys in PEM, each of which begins with -----BEGIN PUBLIC KEY-----."


def read(path: Path) -> TrustFile:
    """Read a trust file; raise ``UsageError``, naming the line, where it is not one."""
    text = files.read_text(path, "the trust file", error=UsageError, missing=_REMEDY, remedy=_REMEDY)
    try:
        return trust.parse(text, str(path))
    except ValueError as error:
        raise UsageError(f"The trust file {path} cannot be used: {error}.", remedy=_REMEDY) from error


def of_folder(folder: Path) -> tuple[TrustFile, ...]:
    """Read every file of a folder, hidden ones left out; none where there is no such folder.

    Raises:
        UsageError: one of them is not a trust file, or the folder cannot be read: a demand that is not understood must
            not be taken for none.
    """
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except FileNotFoundError:
        return ()
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise UsageError(f"Cannot read {folder}: {reason}.", remedy="Make it readable, or remove it.") from error
    return tuple(map(read, entries))

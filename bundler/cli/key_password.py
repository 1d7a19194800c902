"""``--key-password``: where the password of a private key comes from; never the command line itself."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click

from bundler.cli import console
from bundler.errors import UsageError

_Command = TypeVar("_Command", bound=Callable[..., object])
_FORMS: Final = "Write prompt, env:VARIABLE, file:PATH or fd:NUMBER."
_LONGEST: Final = 1024  # bytes; what openssl reads, too


def option(name: str = "--key-password") -> Callable[[_Command], _Command]:
    """Return the option; the command gets ``password_source``, the text of the option."""
    return click.option(
        name,
        "password_source",
        metavar="SOURCE",
        help="Where the password of the private key comes from: prompt, env:VARIABLE, file:PATH (its first line) or "
        "fd:NUMBER.",
    )


def read(source: str | None, *, confirm: bool = False) -> bytes | None:
    """Return the password that a source has, None without a source; ``confirm`` asks twice at a prompt.

    Raises:
        UsageError: it is not a source, there is no such variable, file or descriptor, or the password is empty.
    """
    if source is None:
        return None
    if source == "prompt":
        return _checked(_prompt(confirm=confirm), source)
    kind, _, rest = source.partition(":")
    if kind == "env" and rest:
        if rest not in os.environ:
            raise UsageError(f"--key-password {source}: the variable is not set.", remedy=_FORMS)
        return _checked(os.environb[os.fsencode(rest)], source)
    if kind == "file" and rest:
        return _checked(_first_line(Path(rest), source), source)
    if kind == "fd" and re.fullmatch("[0-9]{1,5}", rest):
        return _checked(_first_line(int(rest), source), source)
    # The text is not shown, because it may be the password itself.
    raise UsageError("--key-password does not name a source.", remedy=_FORMS)


def _prompt(*, confirm: bool) -> bytes:
    if not console.can_ask():
        raise UsageError("This is not a terminal, so the key's password cannot be asked for.", remedy=_FORMS)
    return console.ask_password("Password of the key", again=confirm).encode()


def _first_line(place: Path | int, source: str) -> bytes:
    from bundler.effects import files  # noqa: PLC0415  (help stays quick)

    try:
        return files.first_line(place, _LONGEST)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise UsageError(f"--key-password {source} cannot be read: {reason}.", remedy=_FORMS) from error


def _checked(password: bytes, source: str) -> bytes:
    if not 0 < len(password) <= _LONGEST:
        raise UsageError(f"--key-password {source}: the password has {len(password)} bytes.", remedy=_FORMS)
    return password

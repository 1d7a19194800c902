"""What a user sees: progress and errors on stderr, the result on stdout."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from bundler.errors import BundlerError
from bundler.model.descriptor import Json
from bundler.model.plain_text import plain
from bundler.model.size import size

if TYPE_CHECKING:
    from bundler.model.delta import BaseBundle

_TAB = "\t"


def delta(base: BaseBundle) -> str:
    """Return the line that names the base bundle of a delta."""
    return f"a delta: without {len(base.blobs)} blobs, {size(base.size)}, that are in {base}, {base.digest}"


def now() -> str:
    """Return the time in RFC 3339, UTC, to the second."""
    import datetime as dt  # noqa: PLC0415  (start-up time)

    return dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def can_ask() -> bool:
    """Tell whether a person can answer questions: stdin and stderr are terminals, and this is not CI."""
    return sys.stdin.isatty() and sys.stderr.isatty() and not os.environ.get("CI")


def show_error(error: BundlerError, *, as_json: bool) -> None:
    """Print an error for people on stderr, and for scripts on stdout where they asked for JSON."""
    paint = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    label = "\x1b[1;31merror:\x1b[0m" if paint else "error:"
    lines = [f"{label} {plain(error.problem)}", *(f"  {plain(line, keep=_TAB)}" for line in error.details)]
    if error.remedy:
        lines.append(f"  -> {plain(error.remedy)}")
    sys.stderr.write("\n".join(lines) + "\n")
    if as_json:
        show_json(
            {
                "error": {
                    "code": int(error.exit_code),
                    "problem": error.problem,
                    "remedy": error.remedy,
                    "details": list(error.details),
                }
            }
        )


def show_json(value: Json) -> None:
    """Print a result for scripts; in ASCII, so that it cannot control a terminal."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def show(line: str, *, keep: str = "") -> None:
    """Print a line of a result for people; line breaks and invisible characters are escaped."""
    sys.stdout.write(plain(line, keep=keep) + "\n")


def show_document(text: str) -> None:
    """Print a text of several lines."""
    sys.stdout.write(plain(text.rstrip("\n"), keep="\n\t") + "\n")


def tell(line: str) -> None:
    """Print a line of progress on stderr."""
    sys.stderr.write(plain(line) + "\n")


def confirm(lines: Iterable[str]) -> None:
    """Show what will be done, a line each, and ask whether to continue; raise ``click.Abort`` on no."""
    for line in lines:
        tell(line)
    click.confirm("Continue?", abort=True, err=True)


def ask_password(question: str, *, again: bool) -> str:
    """Ask for a password, which is not shown; ``again``: twice."""
    text: str = click.prompt(plain(question), hide_input=True, err=True, confirmation_prompt=again)
    return text


def show_usage_error(error: click.ClickException) -> None:
    """Print click's error about the command line; arguments may come from foreign file names."""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        sys.stderr.write(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help' for help.\n\n")
    # Choices are listed with a tab before each; nothing else may begin a line.
    tell(f"Error: {usage_text(error)}")


def usage_text(error: click.ClickException) -> str:
    """Return click's message on one line."""
    return " ".join(error.format_message().split())


class PlainFormatter(logging.Formatter):
    """Log records as lines that cannot control a terminal; with ``--verbose``, output of programs and servers."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's text."""
        return plain(super().format(record), keep="\n\t")

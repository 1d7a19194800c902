"""Options of commands that start containers."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import TypeVar

import click

from bundler.errors import UsageError

_Result = TypeVar("_Result")


def store_images(command: Callable[..., _Result]) -> Callable[..., _Result]:
    """Images of the store servers of a rehearsal; the command gets kind of store -> image as ``store_images``."""

    @functools.wraps(command)
    def with_images(*, redis: str | None, postgres: str | None, **others: object) -> _Result:
        given = {kind: image for kind, image in (("redis", redis), ("postgres", postgres)) if image}
        return command(store_images=given, **others)

    wrapped: Callable[..., _Result] = with_images
    wrapped = click.option(
        "--postgres",
        metavar="IMAGE",
        help="Image that runs PostgreSQL where a store needs it; the engine must have it.",
    )(wrapped)
    return click.option(
        "--redis", metavar="IMAGE", help="Image that runs Redis where a store needs it; the engine must have it."
    )(wrapped)


def user(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    """Check a user of a container, which is named by numbers, as in Kubernetes."""
    if text is not None and not re.fullmatch(r"[0-9]{1,10}(:[0-9]{1,10})?", text):
        raise UsageError(f"--user {text} is not UID:GID.", remedy="Write numbers, e.g. 1000730000:0.")
    return text

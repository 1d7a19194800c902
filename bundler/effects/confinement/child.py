"""The child in which a confinement begins: its request on standard input, and the two short ways through it."""

from __future__ import annotations

import json
import os
import struct
import sys
from typing import Final, cast

from bundler.effects.confinement import inside, limits, view

STACKED: Final = "folders can be stacked"
"""What ``trial`` prints where they can."""


def framed(root: str, argument: object) -> bytes:
    """Return a request, with its length before it: what follows on standard input is for the program."""
    content = json.dumps([root, argument]).encode()
    return struct.pack(">I", len(content)) + content


def request() -> tuple[str, object]:
    """Read the folder that code is confined to, and what is to be done there."""
    (length,) = struct.unpack(">I", _exactly(4))
    root, argument = json.loads(_exactly(length))
    return str(root), argument


def _exactly(size: int) -> bytes:
    """Read from standard input without reading ahead."""
    content = b""
    while len(content) < size:
        piece = os.read(0, size - len(content))
        if not piece:
            sys.exit("the request is cut off")
        content += piece
    return content


def trial() -> None:
    """Make a confinement, and say whether what is shown in it can be stacked of several folders."""
    root, argument = request()
    names = cast("list[str]", argument)
    os.chdir(root)
    inside.launch(_say_stacked, show=lambda: view.show_unchanged(names))


def _say_stacked() -> None:
    if os.access("/", os.W_OK):  # a folder that is only shown, unstacked, cannot be written
        sys.stdout.write(f"{STACKED}\n")


def execute() -> None:
    """Run the program of the request."""
    root, argument = request()
    names, command, environment, seconds = cast("tuple[list[str], list[str], dict[str, str], float]", argument)
    os.chdir(root)
    others = limits.threads_of(inside.outside_ids()[0])  # which are out of sight in there
    inside.launch(
        lambda: inside.run_program(command, environment, seconds=seconds, others=others),
        show=lambda: view.show_unchanged(names),
    )

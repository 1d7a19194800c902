"""The licences that a wheel declares in its metadata."""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import BinaryIO, Final

from bundler.model import licences

_LIMIT: Final = 1 << 20  # bytes of a header; descriptions come after it


def declared(stream: BinaryIO) -> tuple[str, ...]:
    """Return what the core metadata of a wheel says; nothing where it cannot be read, which an installation refuses."""
    try:
        with zipfile.ZipFile(stream) as wheel:
            name = next(
                name for name in wheel.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1
            )
            with wheel.open(name) as entry:
                text = entry.read(_LIMIT).decode(errors="replace")
    except (zipfile.BadZipFile, zlib.error, StopIteration, OSError, ValueError, RuntimeError, EOFError, struct.error):
        return ()
    return licences.of_metadata(text)

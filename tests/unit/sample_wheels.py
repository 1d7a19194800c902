"""Small real wheels, made of a mapping of files."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping

NAME = "demo-1.0-py3-none-any.whl"
INFO = "demo-1.0.dist-info"


def hashed(content: bytes) -> str:
    """Return a hash as RECORD writes it."""
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def wheel(
    files: Mapping[str, bytes | str],
    *,
    name: str = "demo",
    version: str = "1.0",
    record: Mapping[str, str | None] | None = None,
    raw: Iterable[zipfile.ZipInfo | str] = (),
    executable: frozenset[str] = frozenset(),
    requires: tuple[str, ...] = (),
) -> io.BytesIO:
    """Make a wheel of the files given.

    ``record`` replaces hashes of the RECORD (None: the row is left out), ``raw`` are empty entries on top that the
    RECORD does list.
    """
    info = f"{name}-{version}.dist-info"
    metadata = [
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        *(f"Requires-Dist: {r}\n" for r in requires),
    ]
    contents = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    contents.setdefault(f"{info}/WHEEL", b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    contents.setdefault(f"{info}/METADATA", "".join(metadata).encode())
    hashes: dict[str, str | None] = {path: hashed(content) for path, content in contents.items()}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in contents.items():
            entry = zipfile.ZipInfo(path, (2020, 2, 2, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if path in executable else 0o100644) << 16
            archive.writestr(entry, content)
        for one in raw:
            archive.writestr(one, b"")
            hashes[one if isinstance(one, str) else one.filename] = hashed(b"")
        rows = [f"{path},{found}," for path, found in {**hashes, **(record or {})}.items() if found is not None]
        archive.writestr(f"{info}/RECORD", "\n".join([*rows, f"{info}/RECORD,,"]) + "\n")
    stream.seek(0)
    return stream

"""Read an image as ``docker save`` and ``podman save`` write it: its config, and each layer's tar, in place."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from bundler.model.descriptor import Json
from bundler.oci import document
from bundler.oci.config import ImageConfig

_MANIFEST: Final = "manifest.json"


@dataclass(frozen=True)
class SavedImage:
    """An open archive: the config of its one image, and the names of its layers, lowest first."""

    archive: tarfile.TarFile
    config: ImageConfig
    layers: tuple[str, ...]

    def open(self, layer: str) -> IO[bytes]:
        """Open the tar of a layer; a layer that is there twice is a link to the first."""
        return _opened(self.archive, layer)


@contextmanager
def opened(path: Path) -> Iterator[SavedImage]:
    """Open an archive.

    Raises:
        ValueError: it is not the archive of one saved image.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            row = _only_row(_read(archive, _MANIFEST))
            layers = document.strings(row.get("Layers"), "Layers")
            config = ImageConfig.parse(_read(archive, str(row.get("Config"))))
            if len(layers) != len(config.diff_ids):
                raise ValueError(f"the archive has {len(layers)} layers, its config {len(config.diff_ids)}")
            yield SavedImage(archive, config, layers)
    except tarfile.TarError as error:
        raise ValueError(f"the saved image cannot be read: {error}") from error


def _only_row(content: bytes) -> Mapping[str, Json]:
    rows = document.parse(b'{"images":' + content + b"}", f"{_MANIFEST} of the saved image")["images"]
    match rows:
        case [dict(row)]:
            return row
    raise ValueError(f"{_MANIFEST} of the saved image does not name one image: {rows!r:.100}")


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    with _opened(archive, name) as stream:
        content = stream.read(document.LIMIT + 1)
    if len(content) > document.LIMIT:
        raise ValueError(f"{name!r:.100} is too large for a document")
    return content


def _opened(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    try:
        stream = archive.extractfile(name)
    except KeyError as error:
        raise ValueError(f"the saved image lacks {name!r:.100}") from error
    if stream is None:
        raise ValueError(f"{name!r:.100} of the saved image is not a file")
    return stream

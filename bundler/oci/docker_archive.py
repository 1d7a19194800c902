"""An image as the archive that ``docker load`` and ``podman load`` read, streamed without unpacking a layer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, Final

from bundler.model.digest import Digest
from bundler.oci import tar
from bundler.oci.image import Image
from bundler.oci.tar import EntryKind, TarEntry

_CHUNK: Final = 1 << 20


def stream(image: Image, names: Sequence[str], open_blob: Callable[[Digest], BinaryIO]) -> Iterator[bytes]:
    """Yield the archive; ``names`` are NAME:TAG.

    Layers stay compressed as they are: engines detect the compression. The config is the image's own, byte for byte,
    so that an engine that names images by their config gives it the name that the manifest has.
    """
    config = image.config_bytes()
    layers = [f"{layer.descriptor.digest.hex}.tar" for layer in image.layers]
    config_path = f"{Digest.of(config).hex}.json"
    entry = {"Config": config_path, "RepoTags": list(names), "Layers": layers}
    yield from _file("manifest.json", json.dumps([entry]).encode())
    yield from _file(config_path, config)
    written: set[str] = set()
    for layer, path in zip(image.layers, layers, strict=True):
        if path in written:
            continue
        written.add(path)
        yield tar.header(TarEntry(path, EntryKind.FILE, size=layer.descriptor.size))
        with open_blob(layer.descriptor.digest) as blob:
            while chunk := blob.read(_CHUNK):
                yield chunk
        yield tar.padding(layer.descriptor.size)
    yield tar.END


def _file(path: str, content: bytes) -> Iterator[bytes]:
    yield tar.header(TarEntry(path, EntryKind.FILE, size=len(content))) + content + tar.padding(len(content))

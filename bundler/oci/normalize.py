"""Make layers of what a container engine built: the same content becomes the same bytes, whenever it was built."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO, Final

from bundler.model.digest import Digest
from bundler.oci import layer_format, tar, tar_reader
from bundler.oci.hashing import HashingReader, Sink
from bundler.oci.image import Image
from bundler.oci.layer import Layer, writing
from bundler.oci.layer_format import Readable

_CHUNK: Final = 1 << 20
# Files that engines put into a container while a step runs, and leftovers of package managers.
_LEFT_OUT: Final = re.compile(
    r"(dev|proc|sys|run|tmp|var/tmp|var/log|var/cache|var/lib/apt/lists|root/\.cache)/.+"
    r"|\.dockerenv|etc/(hosts|hostname|resolv\.conf|mtab|machine-id|\.pwd\.lock)"
    r"|etc/(passwd|group|shadow|gshadow|subuid|subgid)-|var/lib/dpkg/([^/]+-old|lock.*)|var/lib/apt/extended_states"
)


@dataclass(frozen=True)
class Folder:
    """The metadata of a folder in a layer."""

    mode: int
    uid: int
    gid: int


class Settling:
    """Normalizes the layers of one image from the lowest up; knows the folders of the lower layers."""

    def __init__(self, base: Image, open_blob: Callable[[Digest], BinaryIO], epoch: int) -> None:
        self._epoch = epoch
        self._known: dict[str, Folder] = {}
        for layer in base.layers:
            with open_blob(layer.descriptor.digest) as stream:
                self._learn(layer_format.unpacked(stream, layer.descriptor.media_type))

    def layer(self, stream: Readable, diff_id: Digest, sink: Sink, *, created_by: str, copied: bool) -> Layer | None:
        """Rewrite a layer: one time for all files, without folders that lower layers have and without leftovers.

        ``copied`` says that an instruction COPY made it, which sets owner and mode of folders that are there already:
        that is not meant, and left out. None where nothing remains.

        Raises:
            ValueError: the tar is damaged, is not that of ``diff_id``, or has a hard link to what is left out.
        """
        hashed = HashingReader(stream)
        written: set[str] = set()
        with writing(sink, created_by=created_by) as writer:
            for member, content in tar_reader.members(iter(partial(hashed.read, _CHUNK), b"")):
                if not self._is_kept(member, copied=copied):
                    continue
                if member.kind is tar.EntryKind.HARD_LINK and member.target not in written:
                    raise ValueError(f"the hard link {member.path!r:.200} leads to {member.target!r:.200}, not a file")
                if member.path in written:
                    raise ValueError(f"the tar names {member.path!r:.200} twice")
                fixed = replace(member, mtime=self._epoch)
                writer.add(fixed, content if member.kind is tar.EntryKind.FILE else None)
                written.add(member.path)
        hashed.drain()  # the bytes behind the end of the tar
        if hashed.digest != diff_id:
            raise ValueError(f"a layer has the digest {hashed.digest}, not {diff_id}")
        return writer.layer if written else None

    def _learn(self, pieces: Iterator[bytes]) -> None:
        for member, _ in tar_reader.members(pieces):
            if member.kind is tar.EntryKind.DIRECTORY:
                self._known[member.path] = _folder(member)

    def _is_kept(self, member: tar.TarEntry, *, copied: bool) -> bool:
        if not member.path or _LEFT_OUT.fullmatch(member.path):
            return False
        match member.kind:
            case tar.EntryKind.CHARACTER_DEVICE | tar.EntryKind.BLOCK_DEVICE | tar.EntryKind.FIFO:
                return False
            case tar.EntryKind.DIRECTORY:
                known = self._known.get(member.path)
                if known is not None and (copied or known == _folder(member)):
                    return False
                self._known[member.path] = _folder(member)
        return True


def _folder(member: tar.TarEntry) -> Folder:
    return Folder(member.mode, member.uid, member.gid)

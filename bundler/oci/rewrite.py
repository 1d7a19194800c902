"""Make a layer of a root file system while a tool writes it: without unwanted files, with fixed times and modes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from bundler.oci import tar
from bundler.oci.filetree import FileTree
from bundler.oci.hashing import Sink
from bundler.oci.layer import Layer, LayerWriter, add_tree, writing
from bundler.oci.layer_format import Readable
from bundler.oci.tar_reader import members

# PEP 552: magic number, then flags; bit 0 says that the hash of the source stands in place of its time, bit 1 that
# the source is to be read and hashed again at every import.
_PYC_HEADER: Final = 8
_CHECKED_HASH: Final = b"\3\0\0\0"
_UNCHECKED_HASH: Final = b"\1\0\0\0"


def rewrite(
    stream: Readable,
    sink: Sink,
    *,
    keep: Callable[[str], bool],
    additions: FileTree,
    epoch: int,
    created_by: str,
) -> Layer:
    """Turn a tar, whose members are sorted already, into a layer; read it to its end.

    Members for whose path ``keep`` is false and device nodes are left out, ``additions`` come last and replace what
    has the same path, all times become ``epoch``. Compiled Python files that check their source at each import no
    longer do, because the files of an image do not change. Programs lose their setuid and setgid bits.

    Raises:
        ValueError: the tar is damaged, names a path twice, or has a hard link to what is left out.
    """
    added = {entry.path for entry in additions}
    written: set[str] = set()
    with writing(sink, created_by=created_by) as writer:
        for member, content in members(stream):
            if not member.path or member.path in added or not keep(member.path):
                continue
            if member.path in written:
                raise ValueError(f"the tar names {member.path!r} twice")
            if _add(writer, _fixed(member, epoch), content, written):
                written.add(member.path)
        add_tree(writer, additions, epoch)
    return writer.layer


def _fixed(member: tar.TarEntry, epoch: int) -> tar.TarEntry:
    # On directories the upper bits say who owns and may delete new files; those stay.
    mode = member.mode if member.kind is tar.EntryKind.DIRECTORY else member.mode & 0o777
    return replace(member, mode=mode, mtime=epoch)


def _add(writer: LayerWriter, member: tar.TarEntry, content: Readable, written: set[str]) -> bool:
    match member.kind:
        case tar.EntryKind.FILE if member.path.endswith(".pyc"):
            writer.add(member, _Unchecked(content))
        case tar.EntryKind.FILE:
            writer.add(member, content)
        case tar.EntryKind.HARD_LINK if member.target not in written:
            raise ValueError(f"the hard link {member.path!r} leads to {member.target!r}, which is left out")
        case tar.EntryKind.CHARACTER_DEVICE | tar.EntryKind.BLOCK_DEVICE | tar.EntryKind.FIFO:
            return False  # the container engine makes the device nodes that are needed
        case _:
            writer.add(member)
    return True


class _Unchecked:
    """The content of a compiled file, with the flag cleared that makes Python read the source."""

    def __init__(self, content: Readable) -> None:
        self._content = content
        self._begun = False

    def read(self, size: int) -> bytes:
        chunk = self._content.read(size)
        if not self._begun:
            self._begun = True
            while len(chunk) < min(size, _PYC_HEADER) and (more := self._content.read(_PYC_HEADER - len(chunk))):
                chunk += more
            if chunk[4:_PYC_HEADER] == _CHECKED_HASH:
                return chunk[:4] + _UNCHECKED_HASH + chunk[_PYC_HEADER:]
        return chunk

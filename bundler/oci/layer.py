"""Layers: a file tree as one deterministic, compressed tar, written as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import isal
from isal import igzip_threaded

from bundler.model import media_types
from bundler.model.descriptor import Descriptor, Json
from bundler.model.digest import Digest
from bundler.oci import tar
from bundler.oci.filetree import Directory, Entry, File, FileTree, Symlink
from bundler.oci.hashing import HashingWriter, Sink
from bundler.oci.layer_format import Readable

_LEVEL: Final = 2
_CHUNK: Final = 1 << 20
COMPRESSOR: Final = f"isal-{isal.__version__}-igzip-{_LEVEL}"


@dataclass(frozen=True)
class Layer:
    """A layer as images refer to it: its blob, the digest of its unpacked tar, and what made it."""

    descriptor: Descriptor
    diff_id: Digest
    created_by: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return the layer as a record of the cache."""
        return {
            "descriptor": self.descriptor.to_json(),
            "diff_id": str(self.diff_id),
            "created_by": self.created_by,
        }

    @classmethod
    def from_json(cls, value: Json) -> Layer:
        """Read a record of the cache; raise ``ValueError`` where it is malformed."""
        match value:
            case {"descriptor": dict(descriptor), "diff_id": str(diff_id), "created_by": str(created_by)}:
                return cls(Descriptor.from_json(descriptor), Digest.parse(diff_id), created_by)
        raise ValueError(f"not the record of a layer: {value!r:.200}")


class _Blocks:
    """Passes bytes on in blocks of one size, whatever the sizes in which they arrive.

    The compressor's output depends on how its input is cut: with blocks of one size it depends on the content, not
    on how many bytes a file yielded at a time.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = HashingWriter(sink)
        self._pending = bytearray()

    def write(self, chunk: bytes) -> None:
        self._pending += chunk
        while len(self._pending) >= _CHUNK:
            self._sink.write(bytes(self._pending[:_CHUNK]))
            del self._pending[:_CHUNK]

    def finish(self) -> Digest:
        if self._pending:
            self._sink.write(bytes(self._pending))
            self._pending.clear()
        return self._sink.digest


class LayerWriter:
    """Writes members in the order in which they are added; ``layer`` is set once the block of ``writing`` has ended."""

    layer: Layer

    def __init__(self, sink: _Blocks) -> None:
        self._sink = sink

    def add(self, member: tar.TarEntry, content: Readable | None = None) -> None:
        """Write a member and its content; raise ``ValueError`` where that has another size than announced."""
        self._sink.write(tar.header(member))
        left = member.size
        while left and content is not None and (chunk := content.read(min(left, _CHUNK))):
            self._sink.write(chunk)
            left -= len(chunk)
        if left or (content is not None and content.read(1)):
            raise ValueError(f"{member.path!r} is not {member.size} bytes long, as was announced")
        self._sink.write(tar.padding(member.size))


@contextmanager
def writing(sink: Sink, *, created_by: str) -> Iterator[LayerWriter]:
    """Write one layer; compression runs in a thread of its own, beside the reading and hashing of what follows."""
    compressed = HashingWriter(sink)
    # The thread ends with the block, also where that fails.
    with igzip_threaded.open(  # type: ignore[no-untyped-call]  # isal leaves this function unannotated
        compressed, "wb", compresslevel=_LEVEL, threads=1, block_size=_CHUNK
    ) as stream:
        blocks = _Blocks(stream)
        writer = LayerWriter(blocks)
        yield writer
        blocks.write(tar.END)
        diff_id = blocks.finish()
    descriptor = Descriptor(media_types.OCI_LAYER_GZIP, compressed.digest, compressed.size)
    writer.layer = Layer(descriptor, diff_id, created_by)


def write_layer(tree: FileTree, sink: Sink, *, epoch: int, created_by: str) -> Layer:
    """Write a file tree as a layer and return it.

    The same tree gives the same diff id everywhere, and the same digest wherever ``COMPRESSOR`` is the same.
    ``epoch`` (seconds) is the time of every file. Raises ``ValueError`` where a file is not as long as its entry says.
    """
    with writing(sink, created_by=created_by) as writer:
        add_tree(writer, tree, epoch)
    return writer.layer


def add_tree(writer: LayerWriter, tree: FileTree, epoch: int) -> None:
    """Write the entries of a file tree."""
    for entry in tree:
        if isinstance(entry, File):
            with entry.open() as content:
                writer.add(_member(entry, epoch), content)
        else:
            writer.add(_member(entry, epoch))


def _member(entry: Entry, epoch: int) -> tar.TarEntry:
    match entry:
        case File(path, size, _, mode, uid, gid):
            return tar.TarEntry(path, tar.EntryKind.FILE, mode, uid, gid, size, epoch)
        case Directory(path, mode, uid, gid):
            return tar.TarEntry(path, tar.EntryKind.DIRECTORY, mode, uid, gid, 0, epoch)
        case Symlink(path, target, uid, gid):
            return tar.TarEntry(path, tar.EntryKind.SYMLINK, 0o777, uid, gid, 0, epoch, target)

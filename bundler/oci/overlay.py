"""The file system that the layers of an image make together: names, links, and the contents of chosen files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from bundler.oci.filetree import WHITEOUT
from bundler.oci.layer_format import Readable
from bundler.oci.tar import EntryKind, TarEntry
from bundler.oci.tar_reader import EntryContent

_OPAQUE: Final = ".wh..wh..opq"
_MOST_LINKS: Final = 40  # as Linux follows
# A large image has some 200 000; this bounds the memory that a hostile one takes.
_MOST_NODES: Final = 2_000_000

# Reads the chosen part of a file from its stream.
Reader = Callable[[Readable], bytes]


class Node:
    """A file, directory or symbolic link; ``layer`` is the number of the layer that put it there."""

    __slots__ = ("children", "content", "layer", "target")

    def __init__(
        self, layer: int, *, directory: bool = False, target: str | None = None, content: bytes | None = None
    ) -> None:
        self.layer = layer
        self.children: dict[str, Node] | None = {} if directory else None
        self.target = target
        self.content = content

    @property
    def is_file(self) -> bool:
        """Whether this is a file (or a device): neither directory nor symbolic link."""
        return self.children is None and self.target is None


class Overlay:
    """The union of layers, built from the lowest up (OCI image specification, ``layer.md``, "Applying Changesets").

    ``wanted`` says of a path how to read its content, or None to skip it.
    """

    def __init__(self, wanted: Callable[[str], Reader | None]) -> None:
        self._wanted = wanted
        self._root = Node(0, directory=True)
        self._layer = 0
        self._count = 0

    def apply(self, members: Iterator[tuple[TarEntry, EntryContent]]) -> None:
        """Add a layer on top; raise ``ValueError`` where it is malformed."""
        self._layer += 1
        for member, content in members:
            if member.path:
                self._add(member, content)

    def find(self, path: str) -> tuple[str, Node] | None:
        """Follow symbolic links to the end; return the real absolute path and what is there, or None."""
        located = self._walk(path, create=False)
        return ("/" + "/".join(located[0]), located[1]) if located else None

    def content(self, path: str) -> bytes | None:
        """Return the content that was kept of the file at a path, links followed, or None."""
        located = self.find(path)
        return located[1].content if located else None

    def children(self, path: str) -> Mapping[str, Node]:
        """Return the entries of the directory at a path, links followed; empty where there is none."""
        located = self.find(path)
        return (located[1].children or {}) if located else {}

    def _add(self, member: TarEntry, content: EntryContent) -> None:
        parent_path, _, name = member.path.rpartition("/")
        if name == _OPAQUE:
            if (located := self._walk(parent_path, create=False)) and located[1].children is not None:
                self._prune(located[1].children)
            return
        if name.startswith(WHITEOUT):
            self._remove(parent_path, name.removeprefix(WHITEOUT))
            return
        children = self._directory(parent_path)
        old = children.get(name)
        if member.kind is EntryKind.DIRECTORY and old is not None and old.children is not None:
            old.layer = self._layer
            return
        self._count += old is None
        if self._count > _MOST_NODES:
            raise ValueError(f"the image holds more than {_MOST_NODES} files")
        children[name] = self._node(member, content)

    def _node(self, member: TarEntry, content: EntryContent) -> Node:
        match member.kind:
            case EntryKind.DIRECTORY:
                return Node(self._layer, directory=True)
            case EntryKind.SYMLINK:
                return Node(self._layer, target=member.target)
            case EntryKind.HARD_LINK:
                linked = self._walk(member.target, create=False)
                return Node(self._layer, content=linked[1].content if linked else None)
            case _:
                reader = self._wanted(member.path) if member.kind is EntryKind.FILE else None
                return Node(self._layer, content=reader(content) if reader else None)

    def _directory(self, path: str) -> dict[str, Node]:
        located = self._walk(path, create=True)
        if located is None or located[1].children is None:
            raise ValueError(f"the image has a loop of symbolic links at {path!r:.200}")
        return located[1].children

    def _remove(self, parent_path: str, name: str) -> None:
        located = self._walk(parent_path, create=False)
        children = located[1].children if located else None
        if children and (node := children.get(name)):
            # A whiteout hides entries of lower layers only, wherever it stands in its own layer.
            if node.layer == self._layer and node.children is None:
                return
            if node.children is not None:
                self._prune(node.children)
            if node.layer != self._layer and not node.children:
                del children[name]

    def _prune(self, children: dict[str, Node]) -> None:
        """Remove what lower layers put into a directory."""
        for name, node in list(children.items()):
            if node.children is not None:
                self._prune(node.children)
            if node.layer != self._layer and not node.children:
                del children[name]

    def _walk(self, path: str, *, create: bool) -> tuple[list[str], Node] | None:
        """Follow a path from the root, and links on the way; with ``create``, make the directories that are missing."""
        pending = path.split("/")[::-1]
        names: list[str] = []
        nodes = [self._root]
        links = 0
        while pending:
            name = pending.pop()
            if name in {"", "."}:
                continue
            if name == "..":
                if nodes[-1].children is None:
                    return None
                if names:
                    names.pop()
                    nodes.pop()
                continue
            node = self._child(nodes[-1], name, create=create)
            if node is None:
                return None
            if node.target is None:
                names.append(name)
                nodes.append(node)
                continue
            links += 1
            if links > _MOST_LINKS:
                return None
            if node.target.startswith("/"):
                names, nodes = [], [self._root]
            pending.extend(node.target.split("/")[::-1])
        return names, nodes[-1]

    def _child(self, parent: Node, name: str, *, create: bool) -> Node | None:
        if parent.children is None:
            if not create:
                return None
            parent.children, parent.content = {}, None  # a file that a later layer uses as a directory
        node = parent.children.get(name)
        if node is None and create:
            node = parent.children[name] = Node(self._layer, directory=True)
            self._count += 1
        return node

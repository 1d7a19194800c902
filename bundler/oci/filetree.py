"""File trees: the content of a layer, checked and sorted before any byte of it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, TypeAlias

# OCI image specification, layer.md: a file of this name removes one of a lower layer, whoever put it there.
WHITEOUT: Final = ".wh."


@dataclass(frozen=True)
class File:
    """A regular file; ``open`` yields exactly ``size`` bytes each time it is called."""

    path: str
    size: int
    open: Callable[[], BinaryIO]
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Directory:
    """A directory."""

    path: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Symlink:
    """A symbolic link; ``target`` is written as it stands, absolute or relative to the link's folder."""

    path: str
    target: str
    uid: int = 0
    gid: int = 0


Entry: TypeAlias = File | Directory | Symlink


@dataclass(frozen=True)
class FileTree:
    """Entries sorted by path, each path once; paths are relative to the root, with ``/`` and without a leading one."""

    entries: tuple[Entry, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> FileTree:
        """Sort and check entries.

        Raises:
            ValueError: a path is absolute, escapes the root, is not in its simplest form, would be read as a whiteout,
                occurs twice, or lies below something that is not a directory.
        """
        ordered = tuple(sorted(entries, key=lambda entry: entry.path))
        tree = {entry.path: entry for entry in ordered}
        previous = ""
        for entry in ordered:
            _check_path(entry.path)
            if entry.path == previous:
                raise ValueError(f"the path {entry.path!r} occurs twice")
            previous = entry.path
            for parent in _parents(entry.path):
                if parent in tree and not isinstance(tree[parent], Directory):
                    raise ValueError(f"{entry.path!r} lies below {parent!r}, which is not a directory")
            if isinstance(entry, Symlink):
                _check_target(entry)
        return cls(ordered)

    @classmethod
    def merged(cls, *trees: FileTree) -> FileTree:
        """Join trees; a directory may occur in several of them if it is the same in all.

        Raises:
            ValueError: as ``of`` does, and where trees disagree about a directory.
        """
        directories: dict[str, Directory] = {}
        others: list[Entry] = []
        for entry in (entry for tree in trees for entry in tree):
            if not isinstance(entry, Directory):
                others.append(entry)
            elif directories.setdefault(entry.path, entry) != entry:
                raise ValueError(f"the directory {entry.path!r} occurs twice, with different modes or owners")
        return cls.of([*directories.values(), *others])

    def with_parents(self, mode: int = 0o755) -> FileTree:
        """Add the directories (of root) that entries lie in but that the tree does not name.

        A directory of a layer replaces a symbolic link of the same path in the base image, so a tree
        for a base with merged ``/usr`` must not begin with ``bin`` or ``lib``.
        """
        named = {entry.path for entry in self.entries}
        missing = {parent for path in named for parent in _parents(path)} - named
        return FileTree.of([*self.entries, *(Directory(path, mode) for path in missing)])

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def _parents(path: str) -> Iterator[str]:
    end = path.rfind("/")
    while end > 0:
        path = path[:end]
        yield path
        end = path.rfind("/")


def _check_path(path: str) -> None:
    if not path or path.startswith("/"):
        raise ValueError(f"the path {path!r} must be relative to the root of the image")
    segments = path.split("/")
    if any(segment in ("", ".", "..") for segment in segments):
        raise ValueError(f"the path {path!r} has empty, '.' or '..' parts")
    if any(segment.startswith(WHITEOUT) for segment in segments):
        raise ValueError(f"the path {path!r} would be read as a whiteout, which deletes a file ({WHITEOUT}*)")
    _check_text(path)


def _check_target(link: Symlink) -> None:
    if not link.target:
        raise ValueError(f"the symbolic link {link.path!r} has no target")
    _check_text(link.target)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError(f"the path {text!r} holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the path {text!r} cannot be written as UTF-8") from error

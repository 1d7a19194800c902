"""Read a feature repo from disk: choose the files that are baked, and refuse unsafe ones."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from pathspec import GitIgnoreSpec

from bundler.errors import SpecError
from bundler.feast.rules import ignore_patterns
from bundler.feast.stores import feature_store_yaml as feature_store
from bundler.feast.stores.feature_store_yaml import FeatureStoreConfig
from bundler.model.digest import Digest, Hasher
from bundler.model.spec import FeatureRepoSpec

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_AGAIN: Final = "Build again."
IGNORE_FILE: Final = ".bundlerignore"
FEAST_IGNORE_FILE: Final = ".feastignore"
# Never part of a feature repo, unless a "!pattern" of the site says so: version control, caches, environments, what
# editors leave, files that hold secrets, and what this program reads and writes itself (the lock would else make itself
# stale where spec and repo share a folder). Feast's own .feastignore is not here: `feast apply` reads it in the image.
ALWAYS_LEFT_OUT: Final = (
    ".git",
    ".hg",
    ".svn",
    ".venv/",
    "venv/",
    ".direnv/",
    ".tox/",
    ".nox/",
    ".eggs/",
    "*.egg-info/",
    "node_modules/",
    "__pycache__/",
    "*.py[co]",
    ".ipynb_checkpoints/",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".hypothesis/",
    ".coverage",
    ".idea/",
    ".vscode/",
    ".DS_Store",
    "*.swp",
    "*~",
    ".env",
    ".env.*",
    ".envrc",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "id_rsa*",
    "id_ecdsa*",
    "id_ed25519*",
    ".ssh/",
    ".aws/",
    ".azure/",
    ".kube/",
    ".docker/",
    ".netrc",
    ".pgpass",
    ".pypirc",
    ".git-credentials",
    "bundle.yaml",
    "bundle.lock",
    "*.bundle.tar*",
    ".*.part",
    "*.whl",
    IGNORE_FILE,
)
_SOURCE_LIMIT: Final = 16 << 20  # bytes of one Python file
_TEXT_LIMIT: Final = 1 << 20  # bytes of feature_store.yaml and of the ignore file


@dataclass(frozen=True)
class RepoFile:
    """A file to bake: ``path`` below the repo, with ``/``; ``size`` in bytes."""

    path: str
    source: Path
    size: int
    executable: bool
    digest: Digest

    def opened(self) -> BinaryIO:
        """Open it; its last byte is only read where it is what it was when the repo was read, else ``SpecError``."""
        try:
            stream = self.source.open("rb", buffering=0)
        except OSError as error:
            raise SpecError(f"{self.source} cannot be read any more: {error.strerror}.", remedy=_AGAIN) from error
        return io.BufferedReader(_Unchanged(stream, self))


class _Unchanged(io.RawIOBase):
    """The content of a file as it was; what was reviewed and recorded must be what is baked."""

    def __init__(self, stream: io.FileIO, file: RepoFile) -> None:
        self._stream, self._file = stream, file
        self._hasher, self._left = Hasher(), file.size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")[: self._left]
        count = self._stream.readinto(view) or 0
        self._hasher.update(view[:count])
        self._left -= count
        ended = not count or not self._left
        if ended and (self._left or self._hasher.digest != self._file.digest):
            raise SpecError(f"{self._file.source} was changed while the bundle was built.", remedy=_AGAIN)
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


@dataclass(frozen=True)
class RepoContents:
    """What is baked of a feature repo; the fingerprint depends on paths, contents and executability alone."""

    files: tuple[RepoFile, ...]
    fingerprint: Digest
    config: FeatureStoreConfig

    @property
    def folder(self) -> Path:
        """Where the repo lies on this machine."""
        return Path(self.config.file).parent

    def sources(self) -> Mapping[str, bytes]:
        """Return path -> content of the Python files that ``feast apply`` imports: not those of .feastignore.

        Raises:
            SpecError: one is larger than any that people write.
        """
        ignored = _feast_ignores(self.folder)
        modules = (file for file in self.files if file.path.endswith(".py"))
        return {file.path: _source(file) for file in modules if self.folder / file.path not in ignored}


def read(folder: Path, repo: FeatureRepoSpec) -> RepoContents:
    """Read the repo in ``folder``.

    A symbolic link to a file inside the repo is baked as that file. A link to anywhere else, to a folder, or to
    an excluded file is refused, because it would bake files that were not reviewed.

    Raises:
        SpecError: the folder or its feature_store.yaml is missing, or a file may not be baked or cannot be read.
    """
    if not folder.is_dir():
        raise SpecError(
            f"The feature repo {folder} is not a folder.",
            remedy="Name the folder that holds feature_store.yaml: in a spec by repo.path, relative to the spec.",
        )
    try:
        return _read(folder, repo)
    except OSError as error:
        raise SpecError(
            f"{error.filename or folder} cannot be read: {error.strerror or error}.",
            remedy="Change its mode or owner, or leave it out with repo.exclude.",
        ) from error


def _read(folder: Path, repo: FeatureRepoSpec) -> RepoContents:
    files = tuple(sorted(_chosen(folder, repo), key=lambda file: file.path))
    named = {file.path: file for file in files}
    if feature_store.FILE_NAME not in named:
        raise SpecError(
            f"The feature repo {folder} does not contain {feature_store.FILE_NAME}.",
            remedy="Set repo.path to the folder that holds it; check include, exclude and .bundlerignore.",
        )
    config_file = named[feature_store.FILE_NAME].source
    config = feature_store.parse(_text(config_file), str(config_file))
    return RepoContents(files, _fingerprint(files), config)


def _text(path: Path) -> str:
    with path.open("rb") as stream:
        content = stream.read(_TEXT_LIMIT + 1)
    if len(content) > _TEXT_LIMIT:
        raise SpecError(
            f"{path} has more than {_TEXT_LIMIT} bytes, which is too large for this file.", remedy="Shorten it."
        )
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecError(f"{path}:{line}: is not UTF-8: {error.reason}.", remedy="Save it as UTF-8.") from error


def _feast_ignores(folder: Path) -> frozenset[Path]:
    """Return what .feastignore leaves out, by Feast's own rule: patterns of glob, and the Python files of folders."""
    file = folder / FEAST_IGNORE_FILE
    lines = [line.partition("#")[0].strip() for line in _text(file).splitlines()] if file.is_file() else []
    ignored: set[Path] = set()
    for line in filter(None, lines):
        with suppress(ValueError, NotImplementedError, OSError):  # not a pattern; Feast says so in the image
            for path in folder.glob(line):
                ignored |= {path} if path.is_file() else set(path.glob("**/*.py"))
    return frozenset(ignored)


def _source(file: RepoFile) -> bytes:
    if file.size > _SOURCE_LIMIT:
        raise SpecError(
            f"{file.source} has {file.size} bytes of Python; at most {_SOURCE_LIMIT} are read.",
            remedy="Leave it out: repo.exclude.",
        )
    return file.source.read_bytes()


def _chosen(folder: Path, repo: FeatureRepoSpec) -> Iterator[RepoFile]:
    ignored = folder / IGNORE_FILE
    lines = _text(ignored).splitlines() if ignored.is_file() else []
    include = ignore_patterns.read("repo.include", repo.include)
    ignore_patterns.read(IGNORE_FILE, lines)
    exclude = ignore_patterns.read("repo.exclude", [*ALWAYS_LEFT_OUT, *lines, *repo.exclude])
    for path in _walk(folder, exclude):
        name = path.relative_to(folder).as_posix()
        if include.match_file(name):
            yield _checked(folder, path, name, exclude)


def _walk(root: Path, exclude: GitIgnoreSpec) -> Iterator[Path]:
    """Yield what is not a folder; as in git, nothing comes back out of a folder that is left out."""
    folders = [root]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                name = path.relative_to(root).as_posix()
                is_folder = entry.is_dir(follow_symlinks=False)
                if exclude.match_file(f"{name}/" if is_folder else name):
                    continue
                if is_folder:
                    folders.append(path)
                else:
                    yield path


def _checked(folder: Path, path: Path, name: str, exclude: GitIgnoreSpec) -> RepoFile:
    _check_name(name, folder)
    source = _target(folder, path, exclude) if path.is_symlink() else path
    status = source.stat()
    if not stat.S_ISREG(status.st_mode):
        raise SpecError(f"{path} is not a regular file.", remedy="Leave it out with repo.exclude.")
    if not os.access(source, os.R_OK):
        raise SpecError(f"{path} cannot be read by this user.", remedy="Change its mode, or leave it out.")
    with source.open("rb") as stream:
        digest = Digest.of_stream(stream)
    return RepoFile(name, source, status.st_size, bool(status.st_mode & stat.S_IXUSR), digest)


def _check_name(name: str, root: Path) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SpecError(f"{root}: the name {name!r} is not UTF-8.", remedy="Rename the file.") from error
    if any(ord(character) < 32 for character in name):  # noqa: PLR2004  (control characters)
        raise SpecError(f"{root}: the name {name!r} holds a control character.", remedy="Rename the file.")


def _target(folder: Path, path: Path, exclude: GitIgnoreSpec) -> Path:
    """Return the file inside the repo that a symbolic link names."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop, before CPython 3.13
        raise SpecError(
            f"{path} is a link to a file that does not exist.", remedy="Remove it, or leave it out with repo.exclude."
        ) from error
    root = folder.resolve()
    if not target.is_relative_to(root) or target.is_dir():
        raise SpecError(
            f"{path} is a link to {target}, which is not a file of the feature repo.",
            remedy="Copy the target into the repo, or leave the link out with repo.exclude.",
        )
    if exclude.match_file(target.relative_to(root).as_posix()):
        raise SpecError(
            f"{path} is a link to {target}, which is left out of the bundle.",
            remedy="Leave the link out too, or include its target with a !pattern in .bundlerignore.",
        )
    return target


def _fingerprint(files: tuple[RepoFile, ...]) -> Digest:
    lines = (f"{file.path}\0{int(file.executable)}\0{file.digest.hex}\n" for file in files)
    return Digest.of("".join(lines).encode())

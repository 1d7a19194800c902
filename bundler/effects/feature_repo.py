"""Read a feature repo from disk: which files are baked, and that nothing else gets in."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pathspec import GitIgnoreSpec

from bundler.errors import SpecError
from bundler.feast import feature_store, repository
from bundler.feast.feature_store import FeatureStoreConfig
from bundler.model.digest import Digest
from bundler.model.spec import FeatureRepo

IGNORE_FILE: Final = ".bundlerignore"
# Never part of a feature repo: version control, caches, environments, local state, and files that hold secrets.
ALWAYS_LEFT_OUT: Final = (
    ".git/",
    ".hg/",
    ".svn/",
    ".venv/",
    "venv/",
    "node_modules/",
    "__pycache__/",
    "*.py[co]",
    ".ipynb_checkpoints/",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".DS_Store",
    ".env",
    ".env.*",
    "*.pem",
    "*.key",
    "id_rsa*",
    ".netrc",
    ".pypirc",
    IGNORE_FILE,
)
_SOURCE_LIMIT: Final = 16 << 20  # bytes of one Python file


@dataclass(frozen=True)
class RepoFile:
    """A file to bake: ``path`` below the repo, with ``/``; ``size`` in bytes."""

    path: str
    source: Path
    size: int
    executable: bool

    def digest(self) -> Digest:
        """Hash the content."""
        with self.source.open("rb") as stream:
            return Digest.of_stream(stream)


@dataclass(frozen=True)
class RepoContents:
    """What is baked of a feature repo; the fingerprint depends on paths, contents and executability alone."""

    files: tuple[RepoFile, ...]
    fingerprint: Digest
    config: FeatureStoreConfig

    def sources(self) -> Mapping[str, bytes]:
        """Return path -> content of its Python files."""
        return {file.path: file.source.read_bytes() for file in self.files if file.path.endswith(".py")}


def read(folder: Path, repo: FeatureRepo) -> RepoContents:
    """Read the repo in ``folder``.

    A symbolic link to a file inside the repo is baked as the file it names: one to anywhere else, or to a folder, would
    bake what nobody reviewed, and is refused.

    Raises:
        SpecError: the folder or its feature_store.yaml is missing, a file may not be baked, or Python does not parse.
    """
    if not folder.is_dir():
        raise SpecError(f"The feature repo {folder} is not a folder.", remedy="Set repo.path, relative to the spec.")
    files = tuple(sorted(_chosen(folder, repo), key=lambda file: file.path))
    named = {file.path: file for file in files}
    if feature_store.FILE_NAME not in named:
        raise SpecError(
            f"The feature repo {folder} has no {feature_store.FILE_NAME}.",
            remedy="Set repo.path to the folder that holds it; check include, exclude and .bundlerignore.",
        )
    config_file = named[feature_store.FILE_NAME].source
    config = feature_store.parse(_text(config_file), str(config_file))
    sources = {str(folder / file.path): _source(file) for file in files if file.path.endswith(".py")}
    repository.check_sources(sources)
    return RepoContents(files, _fingerprint(files), config)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"Cannot read {path}: {error}.") from error


def _source(file: RepoFile) -> bytes:
    if file.size > _SOURCE_LIMIT:
        raise SpecError(f"{file.source} has {file.size} bytes of Python.", remedy="Leave it out: repo.exclude.")
    return file.source.read_bytes()


def _chosen(folder: Path, repo: FeatureRepo) -> Iterator[RepoFile]:
    ignored = folder / IGNORE_FILE
    lines = _text(ignored).splitlines() if ignored.is_file() else []
    try:
        include = GitIgnoreSpec.from_lines(repo.include)
        exclude = GitIgnoreSpec.from_lines([*ALWAYS_LEFT_OUT, *lines, *repo.exclude])
    except ValueError as error:
        raise SpecError(f"A pattern of the feature repo cannot be read: {error}.") from error
    for path in _walk(folder, folder, exclude):
        name = path.relative_to(folder).as_posix()
        if include.match_file(name):
            yield _checked(folder, path, name)


def _walk(root: Path, folder: Path, exclude: GitIgnoreSpec) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda found: found.name):
        path = folder / entry.name
        name = path.relative_to(root).as_posix()
        _check_name(name, root)
        is_folder = entry.is_dir(follow_symlinks=False)
        if exclude.match_file(name + "/" if is_folder else name):
            continue
        if is_folder:
            yield from _walk(root, path, exclude)
        else:
            yield path


def _check_name(name: str, root: Path) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SpecError(f"{root}: the name {name!r} is not UTF-8.", remedy="Rename the file.") from error
    if any(ord(character) < 32 for character in name):  # noqa: PLR2004  (control characters)
        raise SpecError(f"{root}: the name {name!r} holds a control character.", remedy="Rename the file.")


def _checked(folder: Path, path: Path, name: str) -> RepoFile:
    source = path
    if path.is_symlink():
        try:
            source = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise SpecError(
                f"{path} is a link to nothing.", remedy="Remove it, or leave it out with repo.exclude."
            ) from error
        if not source.is_relative_to(folder.resolve()) or source.is_dir():
            raise SpecError(
                f"{path} is a link to {source}, which is not a file of the feature repo.",
                remedy="Copy what it names into the repo, or leave the link out with repo.exclude.",
            )
    status = source.stat()
    if not stat.S_ISREG(status.st_mode):
        raise SpecError(f"{path} is not a regular file.", remedy="Leave it out with repo.exclude.")
    if not os.access(source, os.R_OK):
        raise SpecError(f"{path} cannot be read by this user.", remedy="Change its mode, or leave it out.")
    return RepoFile(name, source, status.st_size, bool(status.st_mode & stat.S_IXUSR))


def _fingerprint(files: tuple[RepoFile, ...]) -> Digest:
    state = hashlib.sha256()
    for file in files:
        state.update(f"{file.path}\0{int(file.executable)}\0{file.digest().hex}\n".encode())
    return Digest(state.hexdigest())

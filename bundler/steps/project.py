"""A project: the spec, the feature repo it names, and the lock beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundler.effects import feature_repo
from bundler.effects.feature_repo import RepoContents
from bundler.errors import SpecError
from bundler.model import lock, spec_reader
from bundler.model.lock import BundleLock
from bundler.model.spec import BundleSpec

LOCK_NAME: Final = "bundle.lock"


@dataclass(frozen=True)
class Project:
    """A spec, its file (whose folder its paths are relative to), and what is baked of the feature repo."""

    spec: BundleSpec
    file: Path
    repo: RepoContents

    @property
    def folder(self) -> Path:
        """The spec's folder."""
        return self.file.parent

    @property
    def lock_file(self) -> Path:
        """Where the lock is kept."""
        return self.folder / LOCK_NAME


def load(file: Path) -> Project:
    """Read the spec and the feature repo; raise ``SpecError`` where either cannot be used."""
    spec = spec_reader.read(_text(file), str(file))
    return Project(spec, file.resolve(), feature_repo.read(file.resolve().parent / spec.repo.path, spec.repo))


def read_lock(project: Project) -> BundleLock | None:
    """Return the lock beside the spec, None where there is none; raise ``LockError`` where it cannot be read."""
    try:
        text = project.lock_file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return lock.read(text, str(project.lock_file))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SpecError(
            f"There is no spec {file}.", remedy="Name it with --file, or write one: bundler init REPO -o bundle.yaml"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"Cannot read the spec {file}: {error}.") from error

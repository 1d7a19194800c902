"""Build: from a spec to one offline bundle; each part is a step of its own, and this strings them together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bundler.effects import base_image, feature_repo, files
from bundler.effects.blobs import BlobStore
from bundler.effects.feature_repo import RepoContents
from bundler.errors import LockError, SpecError
from bundler.model import lock as lock_text
from bundler.model import spec_reader
from bundler.model.lock import BundleLock, LockedImage
from bundler.model.platform import Platform
from bundler.model.progress import Progress
from bundler.model.spec import BundleSpec
from bundler.oci import rootfs
from bundler.oci.image import Image
from bundler.oci.rootfs import BaseContents
from bundler.steps import lock
from bundler.steps.lock import Base, LockInputs

LOCK_NAME = "bundle.lock"


@dataclass(frozen=True)
class Project:
    """A spec, the folder that its paths are relative to, and the feature repo it names."""

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
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SpecError(
            f"There is no spec {file}.", remedy="Name it with --file, or write one: bundler init REPO -o bundle.yaml"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"Cannot read the spec {file}: {error}.") from error
    spec = spec_reader.read(text, str(file))
    return Project(spec, file.resolve(), feature_repo.read(file.resolve().parent / spec.repo.path, spec.repo))


def read_lock(project: Project) -> BundleLock | None:
    """Return the lock beside the spec, None where there is none."""
    try:
        text = project.lock_file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return lock_text.read(text, str(project.lock_file))

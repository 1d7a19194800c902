"""Build: from a spec to one offline bundle; each part is a step of its own, and this strings them together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundler.errors import SpecError
from bundler.model import spec_reader
from bundler.model.spec import BundleSpec

LOCK_NAME = "bundle.lock"


@dataclass(frozen=True)
class LoadedSpec:
    """A spec and the folder that its paths are relative to."""

    spec: BundleSpec
    file: Path

    @property
    def folder(self) -> Path:
        """The spec's folder."""
        return self.file.parent

    @property
    def lock_file(self) -> Path:
        """Where the lock is kept."""
        return self.folder / LOCK_NAME


def load_spec(file: Path) -> LoadedSpec:
    """Read the spec; raise ``SpecError`` where it cannot be."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SpecError(
            f"There is no spec {file}.", remedy="Name it with --file, or write one: bundler init REPO -o bundle.yaml"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"Cannot read the spec {file}: {error}.") from error
    return LoadedSpec(spec_reader.read(text, str(file)), file.resolve())


@dataclass(frozen=True)
class LockRequest:
    """What ``bundler lock`` was asked; ``epoch`` in seconds, None means now."""

    spec_file: Path
    epoch: int | None = None
    upgrade: bool = False
    upgrade_packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuildRequest:
    """What ``bundler build`` was asked."""

    spec_file: Path
    output_dir: Path
    epoch: int | None = None
    locked: bool = False
    sign_key: Path | None = None

"""The program skopeo: its commands and its output."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from bundler.effects import files, process
from bundler.effects.blobs import BlobStore
from bundler.effects.registry.endpoint import Access
from bundler.effects.skopeo import access as skopeo_access
from bundler.effects.skopeo import errors as skopeo_errors
from bundler.effects.skopeo.source import SkopeoSource
from bundler.errors import ToolFailedError, ToolMissingError
from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.model.platform import Platform
from bundler.model.progress import Task
from bundler.oci import index

_INSTALL: Final = "Install it: sudo apt-get install skopeo"
_OLDEST: Final = (1, 9)
_INSPECT_SECONDS: Final = 300.0
_RETRIES: Final = 2


def check() -> None:
    """See that the program is here, and new enough; raise ``ToolMissingError`` where it is not."""
    Skopeo(Access())


class Skopeo:
    """The program, in a version that is recent enough."""

    def __init__(self, access: Access) -> None:
        process.find("skopeo", remedy=_INSTALL)
        output = process.run(["skopeo", "--version"], purpose="telling its version", remedy=_INSTALL).stdout
        version = re.search(r"(\d+)\.(\d+)", output)
        if not version or (int(version[1]), int(version[2])) < _OLDEST:
            raise ToolMissingError(
                f"skopeo is too old: {output.strip()!r}.", remedy=f"Install {_OLDEST[0]}.{_OLDEST[1]} or newer."
            )
        self._access = access

    def raw(self, source: SkopeoSource) -> bytes:
        """Return the manifest or index as the source has it."""
        with _explained(source), self._reaching(source) as options:
            command = ["skopeo", "inspect", "--raw", *options, "--", source.argument]
            completed = process.run(command, purpose=f"reading {source}", timeout=_INSPECT_SECONDS)
        return completed.stdout.encode()

    def copy(self, source: SkopeoSource, entry: Descriptor | None, store: BlobStore, task: Task) -> Descriptor:
        """Copy one image, of an index that of the entry; blobs go straight into the store."""
        chosen = ["--preserve-digests"] if source.keeps_digests else []
        if entry and source.addresses_digests:
            source = source.at(entry.digest)
        elif entry and entry.platform:
            chosen += _overrides(entry.platform)
        with files.explained(store.root):
            files.make_private_folder(store.folder)
            # In the store's file system, for blobs are renamed into place from here.
            folder = tempfile.TemporaryDirectory(dir=store.root.absolute(), prefix=".pull-")
        with folder as name, _explained(source), self._reaching(source, "src-") as options:
            command = [
                *("skopeo", f"--tmpdir={name}", "copy", *chosen, *options),
                *(f"--dest-shared-blob-dir={store.folder.absolute()}", "--", source.argument, "oci:layout:image"),
            ]
            with process.streaming(command, purpose=f"copying {source}", cwd=Path(name)) as output:
                for line in output:
                    task.note(line.decode(errors="replace").strip())
            return _named_in(Path(name) / "layout" / "index.json")

    @contextmanager
    def _reaching(self, source: SkopeoSource, side: str = "") -> Iterator[tuple[str, ...]]:
        """Say how often to try, and how to reach a registry where the source is in one."""
        repeating = skopeo_access.retries(self._access, _RETRIES)
        if not source.addresses_digests:
            yield (repeating,)
            return
        with skopeo_access.arguments(self._access, side, insecure=source.insecure) as options:
            yield (repeating, *options)


def _overrides(platform: Platform) -> Iterator[str]:
    yield f"--override-os={platform.os}"
    yield f"--override-arch={platform.architecture}"
    if platform.variant:
        yield f"--override-variant={platform.variant}"


def _named_in(layout_index: Path) -> Descriptor:
    try:
        (image,) = index.parse(layout_index.read_bytes(), media_types.OCI_INDEX).manifests
    except (OSError, ValueError) as error:
        raise ToolFailedError(
            f"skopeo did not write an image layout: {error}.",
            remedy="Run the command again with --verbose; if it fails again, install another release of skopeo.",
        ) from error
    return replace(image, annotations={})


@contextmanager
def _explained(source: SkopeoSource) -> Iterator[None]:
    try:
        yield
    except ToolFailedError as error:
        raise skopeo_errors.translate(error, source) from error

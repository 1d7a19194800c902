"""The content-addressed cache: blobs by digest, and small records by key."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from bundler.effects import files
from bundler.errors import VerificationError
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.oci.hashing import HashingWriter

_OTHER_BYTES: Final = "Run the same command again; if it fails again, where the bytes come from serves other ones."


class BlobWriter(HashingWriter):
    """A blob being written; the bytes are hashed on their way."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream)
        self._stream = stream
        self.repeated = 0
        """Bytes that were written before the blob began again."""

    def restart(self) -> None:
        """Discard the written bytes: the blob begins again."""
        self._stream.seek(0)
        self._stream.truncate()
        self.repeated = max(self.repeated, self.size)
        self.reset()


class BlobStore:
    """A folder of blobs, laid out as the ``blobs`` folder of an OCI image layout.

    A blob is there completely or not at all; several builds of one user may share a store. Nobody else can look into
    it: there are baked feature repos in it. ``skopeo --dest-shared-blob-dir`` can
    write into ``folder`` directly.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "blobs"
        self._records = root / "records"

    def path(self, digest: Digest) -> Path:
        """Return the path that the blob has, or will have."""
        return self.folder / "sha256" / digest.hex

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Tell whether the blob is here (with that size in bytes, where one is given)."""
        try:
            stored = self.path(digest).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return False
        return size is None or stored == size

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob for reading; raise ``FileNotFoundError`` where it is not here."""
        return self.path(digest).open("rb")

    def read(self, digest: Digest, *, limit: int = 16 << 20) -> bytes:
        """Return a small blob (a manifest, a config) whole, verified; raise ``VerificationError`` past ``limit``."""
        with self.open(digest) as stream:
            content = stream.read(limit + 1)
        if len(content) > limit or Digest.of(content) != digest:
            raise VerificationError(
                f"The cached blob {digest} is damaged: its content has another digest.",
                remedy=f"Delete {self.path(digest)} and run the command again.",
            )
        return content

    @contextmanager
    def writing(self, expected: Digest | None = None, size: int | None = None) -> Iterator[BlobWriter]:
        """Write a blob that is named by its digest when the block ends well.

        Raises:
            VerificationError: the bytes are not those of ``expected`` or not ``size`` many; nothing is kept.
        """
        folder = self.folder / "sha256"
        with files.explained(folder):
            files.make_private_folder(self.folder)
            folder.mkdir(exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=".part-")
            temporary = Path(name)
            try:
                with os.fdopen(handle, "wb") as stream:
                    writer = BlobWriter(stream)
                    yield writer
                self._check(writer, expected, size)
                temporary.replace(self.path(writer.digest))
            except BaseException:
                with suppress(FileNotFoundError):
                    temporary.unlink()
                raise

    @staticmethod
    def _check(writer: BlobWriter, expected: Digest | None, size: int | None) -> None:
        if expected is not None and writer.digest != expected:
            raise VerificationError(
                f"Expected a blob of digest {expected}, got {writer.digest} ({writer.size} bytes).", remedy=_OTHER_BYTES
            )
        if size is not None and writer.size != size:
            raise VerificationError(
                f"Expected a blob of {size} bytes, got {writer.size} ({writer.digest}).", remedy=_OTHER_BYTES
            )

    @contextmanager
    def temporary_folder(self) -> Iterator[Path]:
        """Make a folder on the disk of the blobs, and remove it with all that is in it when the block ends."""
        files.make_private_folder(self.folder)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".part-") as name:
            yield Path(name)

    def sweep(self, *, older_than: float = 86400.0) -> None:
        """Remove half-written files of killed runs that are older than ``older_than`` seconds."""
        for leftover in self.folder.glob(".part-*"):
            with suppress(FileNotFoundError):
                if time.time() - leftover.stat().st_mtime <= older_than:
                    continue
                if leftover.is_dir():
                    shutil.rmtree(leftover, ignore_errors=True)
                else:
                    leftover.unlink()

    def put(self, content: bytes) -> Digest:
        """Store a small blob and return its digest."""
        digest = Digest.of(content)
        if not self.has(digest, len(content)):
            with self.writing(digest) as writer:
                writer.write(content)
        return digest

    def remember(self, kind: str, key: str, value: Json) -> None:
        """Keep a small record (e.g. which layer a wheel became) under a kind and a key of any length."""
        with files.explained(self._records):
            files.make_private_folder(self._records)
        files.write(self._record(kind, key), json.dumps({"key": key, "value": value}).encode(), private=True)

    def recall(self, kind: str, key: str) -> Json:
        """Return the record, or None where there is none or it cannot be read."""
        try:
            record = json.loads(self._record(kind, key).read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        if not isinstance(record, dict) or record.get("key") != key:
            return None
        value: Json = record.get("value")
        return value

    def _record(self, kind: str, key: str) -> Path:
        return self._records / kind / Digest.of(key.encode()).hex

"""Fetch one blob into the cache: verified while it streams, continued by Range after a break, written once."""

from __future__ import annotations

from http import HTTPStatus

from bundler.effects import files
from bundler.effects.blobs import BlobStore, BlobWriter
from bundler.effects.registry.faults import RefusedError, RegistryUnreachableError
from bundler.effects.registry.meter import Meter
from bundler.effects.registry.pace import LEAST
from bundler.effects.registry.repository import Repository
from bundler.errors import RegistryError, VerificationError
from bundler.model.descriptor import Descriptor

# Bytes read and written at once. Measured with eight blobs at once on two cores: 512 kB takes a twentieth longer,
# 256 kB a tenth (threads wait for each other more often), 2 MB a sixth (in the kernel).
_PART = 1 << 20


def fetch(repository: Repository, blob: Descriptor, store: BlobStore, meter: Meter) -> None:
    """Fetch a blob, unless the store has it.

    Raises:
        VerificationError: what came is not what the digest says; nothing was kept.
        RegistryError: the registry refused, or could not be reached time and again.
    """
    if store.has(blob.digest, blob.size):
        meter.reached(str(blob.digest), blob.size)
        return
    furthest = 0
    retries = repository.session.retries()
    try:
        with store.writing(blob.digest, blob.size) as writer:
            while (error := _attempt(repository, blob, writer, store, meter)) is not None:
                retries.wait_after(error)
                if writer.size >= furthest + LEAST:  # less is a trickle, which may never end
                    furthest = writer.size
                    retries.reset()
    except VerificationError as error:
        raise VerificationError(
            f"{repository.full_name} serves other bytes than the digest of a blob says. {error.problem}",
            remedy="Run the same command again; if it fails again, push the image again: the registry, or "
            "its cache, holds a damaged copy.",
        ) from error


def _attempt(
    repository: Repository, blob: Descriptor, writer: BlobWriter, store: BlobStore, meter: Meter
) -> RegistryError | None:
    """Fetch what is missing; return what went wrong where something did, with what came before it written."""
    try:
        if not writer.size or not _append(repository, blob, writer, store, meter):
            writer.restart()
            _append(repository, blob, writer, store, meter)
    except RegistryError as error:
        return None if writer.size == blob.size else error
    if writer.size < blob.size:
        return RegistryUnreachableError(
            f"{repository.full_name} sent {writer.size} of {blob.size} bytes of {blob.digest}.",
            remedy="Run the same command again.",
        )
    return None


def _append(repository: Repository, blob: Descriptor, writer: BlobWriter, store: BlobStore, meter: Meter) -> bool:
    """Fetch what is missing; return False where the registry does not send the blob from there on."""
    begin = writer.size
    try:
        with repository.open_blob(blob.digest, begin) as response:
            if begin and response.status == HTTPStatus.PARTIAL_CONTENT and not response.begins_at(begin):
                return False
            skip = begin if response.status == HTTPStatus.OK else 0
            buffer = memoryview(bytearray(min(_PART, blob.size + 1)))  # one more shows that there is too much
            while count := response.read_into(buffer):
                repository.session.cancellation.check()
                _write(buffer[:count][skip:], blob, writer, store)
                skip = max(0, skip - count)
                meter.reached(str(blob.digest), writer.size)
    except RefusedError as error:
        if begin and error.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return False
        raise
    return True


def _write(chunk: memoryview, blob: Descriptor, writer: BlobWriter, store: BlobStore) -> None:
    if writer.size + len(chunk) > blob.size:
        raise VerificationError(
            f"Expected {blob.size} bytes of {blob.digest}, got more.", remedy="Run the same command again."
        )
    with files.explained(store.folder):  # a full disk is not a fault of the registry
        writer.write(chunk)

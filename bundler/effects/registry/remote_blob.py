"""A blob of a registry as something to upload: read from there as it is sent, without a place on disk."""

from __future__ import annotations

from contextlib import ExitStack
from http import HTTPStatus

from bundler.effects.registry.faults import RefusedError, RegistryUnreachableError
from bundler.effects.registry.http import Response
from bundler.effects.registry.repository import Repository
from bundler.errors import RegistryError
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest

_SKIPPED = 1 << 20  # bytes at a time that are read and thrown away
_GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
_NOT_FOR_READERS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.NOT_IMPLEMENTED,
)
_TRIES = 2


class RemoteBlob:
    """The bytes of a blob in a repository, read in order; reading elsewhere opens it again. Close it in the end."""

    def __init__(self, repository: Repository, blob: Descriptor) -> None:
        self._repository = repository
        self._blob = blob
        self._stack = ExitStack()
        self._response: Response | None = None
        self._position = 0

    @property
    def digest(self) -> Digest:
        """What the bytes should hash to."""
        return self._blob.digest

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._blob.size

    @property
    def name(self) -> str:
        """Where they are."""
        return f"The blob {self._blob.digest} of {self._repository.full_name}"

    def read_into(self, offset: int, view: memoryview) -> int:
        """Fill ``view`` from ``offset`` on; return how many bytes that were."""
        if self._response is None or offset != self._position:
            self._open(offset)
        assert self._response is not None  # noqa: S101  (for the type checker)
        try:
            count = self._response.read_into(view)
        except Exception as error:
            self.close()
            raise RegistryUnreachableError(
                f"The connection to {self._repository.full_name} broke while its blob {self.digest} was read.",
                remedy="Run the same command again.",
            ) from error
        self._position += count
        return count

    def close(self) -> None:
        """Give the connection back."""
        self._response = None
        self._stack.close()

    def _open(self, offset: int) -> None:
        self.close()
        self._response = self._opened_at(offset) or self._stack.enter_context(self._repository.open_blob(self.digest))
        self._position = offset
        if not self._response.begins_at(offset):  # all of it, from the beginning
            left = offset
            while left:
                left -= len(self._response.read(min(left, _SKIPPED)))

    def _opened_at(self, offset: int) -> Response | None:
        """Open the blob at an offset, or all of it; return None where the registry gets ranges wrong."""
        try:
            response = self._stack.enter_context(self._repository.open_blob(self.digest, offset))
        except RefusedError as error:
            if offset and error.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return None
            raise
        if offset and response.status == HTTPStatus.PARTIAL_CONTENT and not response.begins_at(offset):
            self.close()
            return None
        return response


def serves(repository: Repository, blob: Descriptor) -> bool:
    """Tell whether a registry gives a blob that it says it has, by asking for its last byte.

    The answer to HEAD may come from a cache of the registry's that does not know of a garbage collection.

    Raises:
        RegistryError: the registry refuses or does not answer.
    """
    if not blob.size:
        return repository.has_blob(blob.digest)
    retries, failures = repository.session.retries(), 0
    while True:
        outcome = _last_byte(repository, blob)
        if isinstance(outcome, bool):
            return outcome
        # docker-registry whose cache has the blob, and whose storage lacks it, breaks off after the headers.
        failures += isinstance(outcome, RegistryUnreachableError) or _is_fault(outcome)
        if failures >= _TRIES and repository.has_blob(blob.digest):
            return False
        retries.wait_after(outcome)


def _last_byte(repository: Repository, blob: Descriptor) -> bool | RegistryError:
    try:
        with repository.open_blob(blob.digest, blob.size - 1) as response:
            return len(response.read(1)) == 1
    except RefusedError as error:
        if error.status in _GONE:
            return False
        if error.status in _NOT_FOR_READERS:  # a login that may push and not pull
            return repository.has_blob(blob.digest)
        return error
    except RegistryUnreachableError as error:
        return error


def _is_fault(error: RegistryError) -> bool:
    return isinstance(error, RefusedError) and error.status == HTTPStatus.INTERNAL_SERVER_ERROR

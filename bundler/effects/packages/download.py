"""One file of a package index into the cache: streamed, verified, continued after a break."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError, SSLError

from bundler.effects.blobs import BlobStore, BlobWriter
from bundler.effects.packages import index_tls as trust
from bundler.effects.packages.index import TRUST, PackageIndexes, masked
from bundler.effects.packages.uv import Candidate
from bundler.effects.registry import faults
from bundler.effects.registry.faults import RefusedError, RegistryUnreachableError
from bundler.effects.registry.gate import Gates, Waiting
from bundler.effects.registry.pace import LEAST
from bundler.effects.registry.retry import Cancellation, Retries
from bundler.errors import LockError, RegistryError, VerificationError
from bundler.model.digest import Digest
from bundler.model.progress import Task

_ATTEMPTS = 5
_CHUNK = 1 << 20
_OK, _PARTIAL, _UNSATISFIABLE = 200, 206, 416
_REFUSED = frozenset({401, 403, 407})
_OTHER_BYTES = "Do not use it: find out why the index serves other bytes than were locked or announced."


class _BrokenError(Exception):
    """A transfer that was interrupted and may be continued."""


class Downloads:
    """Transfers that share connections, a progress bar and an end, and slow down together where an index asks for it.

    ``say`` gets a line for people where they must wait.
    """

    def __init__(
        self,
        store: BlobStore,
        task: Task,
        indexes: PackageIndexes,
        parallel: int,
        say: Callable[[str], None] = lambda text: None,  # noqa: ARG005
    ) -> None:
        self._store, self._task = store, task
        self._indexes = indexes
        self._pool = trust.pool(parallel, indexes)
        self._cancellation = Cancellation()
        self._waiting = Waiting(say)
        self._gates = Gates(parallel, self._cancellation, self._waiting)

    def stop(self) -> None:
        """Make every transfer end soon, unfinished."""
        self._cancellation.cancel()

    def bring(self, candidate: Candidate) -> tuple[str, int]:
        """Store a file; return its SHA-256 and its size in bytes.

        Raises:
            VerificationError: it has another hash or size than announced.
            RegistryError: the index refused, or broke off too often.
        """
        self._task.note(candidate.filename)
        expected = Digest(candidate.sha256) if candidate.sha256 else None
        try:
            with self._store.writing(expected, candidate.size) as writer:
                if candidate.local is None:
                    self._stream(candidate, writer)
                else:
                    self._copy(candidate.local, candidate, writer)
        except VerificationError as error:
            raise VerificationError(
                f"{candidate.filename}: {error.problem}",
                remedy=_OTHER_BYTES,
            ) from error
        return writer.digest.hex, writer.size

    def _copy(self, source: Path, candidate: Candidate, writer: BlobWriter) -> None:
        try:
            stream = source.open("rb")
        except OSError as error:
            raise LockError(
                f"Cannot read {source}: {error.strerror}.", remedy="Give it the right to be read, or copy it again."
            ) from error
        with stream:
            while chunk := stream.read(_CHUNK):
                self._take(chunk, candidate, writer)

    def _take(self, chunk: bytes, candidate: Candidate, writer: BlobWriter) -> None:
        self._cancellation.check()
        writer.write(chunk)
        self._task.advance(max(0, min(len(chunk), writer.size - writer.repeated)))
        if candidate.size is not None and writer.size > candidate.size:
            raise VerificationError(f"Expected a file of {candidate.size} bytes, got more.", remedy=_OTHER_BYTES)

    def _stream(self, candidate: Candidate, writer: BlobWriter) -> None:
        furthest = 0
        retries = Retries(
            _ATTEMPTS,
            self._cancellation,
            refusals=lambda url: self._gates.of(url).refusals,
            waiting=self._waiting.tell,
        )
        while (error := self._attempt(candidate, writer, retries.failures + 1)) is not None:
            retries.wait_after(error)
            if writer.size >= furthest + LEAST:  # less is a trickle, which may never end
                furthest = writer.size
                retries.reset()

    def _attempt(self, candidate: Candidate, writer: BlobWriter, number: int) -> RegistryError | None:
        """Return why the transfer broke off, or None where it is complete; ``number`` counts from 1."""
        try:
            self._continue(candidate, writer)
        except RefusedError as error:
            return error
        except MaxRetryError as error:
            if isinstance(error.reason, SSLError):
                raise RegistryError(
                    f"{masked(candidate.url)} cannot be trusted: {error.reason}.",
                    remedy=TRUST,
                ) from error
            return _broken(candidate, error.reason or error, number)
        except (_BrokenError, HTTPError) as error:
            return _broken(candidate, error, number)
        return None

    def _continue(self, candidate: Candidate, writer: BlobWriter) -> None:
        login = self._indexes.login(candidate.url)
        headers = dict(urllib3.make_headers(basic_auth=":".join(login))) if login else {}
        if writer.size:
            headers["Range"] = f"bytes={writer.size}-"
        with self._gates.of(candidate.url).passing() as passage:
            response = self._pool.request(
                "GET", candidate.url, headers=headers, preload_content=False, decode_content=False
            )
            pause = faults.pause_of(response.headers)
            passage.answered(response.status, slow_down=response.status in faults.BUSY, pause=pause)
        try:
            if writer.size and _sends_no_ranges(response, writer.size):
                writer.restart()
                raise _BrokenError("the index does not continue the file where it broke off")
            _check(response, candidate.url)
            # A server without ranges sends the file from its beginning: skip the bytes that are here already.
            skip = writer.size if response.status == _OK else 0
            while chunk := response.read(_CHUNK):
                fresh = chunk[skip:]
                skip -= len(chunk) - len(fresh)
                self._take(fresh, candidate, writer)
        finally:
            response.close()  # the rest of a broken response must not be read by the next request
            response.release_conn()


def _sends_no_ranges(response: urllib3.BaseHTTPResponse, start: int) -> bool:
    """Tell whether an index, asked to go on at ``start``, refuses, or sends a part that begins elsewhere."""
    elsewhere = not re.match(rf"bytes {start}-", response.headers.get("Content-Range", ""))
    return response.status == _UNSATISFIABLE or (response.status == _PARTIAL and elsewhere)


def _broken(candidate: Candidate, reason: Exception, number: int) -> RegistryUnreachableError:
    return RegistryUnreachableError(
        f"{masked(candidate.url)} broke off {number} time{'s' if number > 1 else ''}: {masked(str(reason))}.",
        remedy="Run the same command again: files that are complete are kept.",
    )


def _check(response: urllib3.BaseHTTPResponse, url: str) -> None:
    status = response.status
    if status in (_OK, _PARTIAL):
        return
    if status in _REFUSED:
        remedy = "Check the login for this host (~/.netrc, or the index's URL)."
    elif status in faults.TRANSIENT_STATUSES:
        remedy = "Run the same command again: files that are complete are kept."
    else:
        remedy = "Correct the address of the index, or see its log."
    raise RefusedError(
        f"The package index answered {status} for {masked(url)}.",
        remedy=remedy,
        details=(),
        status=status,
        codes=frozenset(),
        retry_after=faults.pause_of(response.headers),
        url=url,
    )

"""Upload one blob: read in place, hashed on its way, continued where the registry stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from urllib.parse import quote

from bundler.effects.archive.blob_content import BlobContent
from bundler.effects.registry.faults import HttpAnswer, RefusedError
from bundler.effects.registry.journal import Entry, Journal
from bundler.effects.registry.meter import Meter
from bundler.effects.registry.repository import Repository
from bundler.errors import RegistryError, VerificationError

_PART = 1 << 20  # bytes read, hashed and handed to the socket at a time
CHUNK_SIZE = 64 << 20  # bytes in one request, up to half as many more in the last; a longer blob goes in several
_LEAST_CHUNK = 1 << 20  # what every proxy lets pass (nginx's default limit)
_WORTH_A_NOTE = 8 << 20  # bytes; a smaller blob is sent anew after the client was killed
_STREAM = {"Content-Type": "application/octet-stream"}
# The upload is unknown, out of step, or its bytes came out wrong: another upload may go well.
_LOST = frozenset({400, 404, 409, 410, 412, 416})
_MOST_TIMES_LOST = 3
# A registry that knows no chunks, or puts them together wrongly (ECR, Google's), may say any of these.
_NO_CHUNKS = frozenset({400, 405, 409, 412, 416, 501})


class _Hasher:
    """Hashes a content once, in order, however often and in whatever pieces it is sent."""

    def __init__(self, content: BlobContent) -> None:
        self._content = content
        self._state = hashlib.sha256()
        self._position = 0

    def take(self, offset: int, part: memoryview) -> None:
        """Hash what is new in ``part``; raise ``VerificationError`` when the end is reached with another digest."""
        if offset > self._position:
            self._catch_up(offset)
        fresh = part[self._position - offset :]
        if not fresh:
            return
        self._state.update(fresh)
        self._position += len(fresh)
        if self._position == self._content.size and self._state.hexdigest() != self._content.digest.hex:
            raise damaged(self._content, f"sha256:{self._state.hexdigest()}")

    def _catch_up(self, offset: int) -> None:
        """Hash what the registry has already, without sending it."""
        buffer = memoryview(bytearray(_PART))
        while self._position < offset:
            part = read_part(self._content, self._position, buffer[: offset - self._position])
            self._state.update(part)
            self._position += len(part)


def damaged(content: BlobContent, seen: str) -> VerificationError:
    """Make the error for bytes that are not what their name says."""
    return VerificationError(
        f"{content.name} is damaged: its digest should be {content.digest}, and is {seen}.",
        remedy="Nothing was tagged. Copy the bundle again and compare it with its SHA256SUMS: bundler verify.",
    )


def read_part(content: BlobContent, offset: int, view: memoryview) -> memoryview:
    """Return the next bytes, in ``view``; raise ``VerificationError`` where the file ends too early."""
    try:
        count = content.read_into(offset, view)
    except OSError as error:  # a failing disk or stick: no fault of the registry's
        raise VerificationError(
            f"{content.name} cannot be read: {error.strerror}.", remedy="Copy the bundle again, to another medium."
        ) from error
    if count <= 0:
        raise VerificationError(
            f"{content.name} is damaged: it ends after {offset} of {content.size} bytes.",
            remedy="Nothing was tagged. Copy the bundle again and compare it with its SHA256SUMS.",
        )
    return view[:count]


class _Upload:
    """One blob on its way: ``_url`` takes the byte at ``_offset`` next; where it is None, an upload is to begin."""

    def __init__(
        self, repository: Repository, content: BlobContent, entry: Entry, meter: Meter, chunk_size: int
    ) -> None:
        self._repository = repository
        self._session = repository.session
        self._content = content
        self._entry = entry
        self._meter = meter
        self._chunk_size = chunk_size
        # A last chunk of few bytes would only keep the others waiting.
        self._last_chunk = chunk_size + chunk_size // 2
        self._hasher = _Hasher(content)
        self._doing = f"sending the blob {content.digest} to {repository.name}"
        self._url: str | None = None
        self._offset = 0
        self._furthest = 0
        self._times_lost = 0
        self._chunks = True
        self._spoilt = False
        self._patience = self._session.patience()

    def run(self, begun: str | None) -> None:
        """Send all of it; ``begun`` is an upload that the registry has begun already."""
        if self._entry.location:
            try:
                self._find_out(self._entry.location)
            except RegistryError:
                if self._session.is_own(self._entry.location):
                    raise
                self._entry.forget()  # the registry has another address since
        self._url = self._url or begun
        while not self._advanced_to_the_end():
            pass

    def _advanced_to_the_end(self) -> bool:
        """Make the next request, and what a failure of it asks for; return whether the blob is complete."""
        try:
            complete = self._step()
        except RegistryError as error:
            usable = self._bear(error)
            if self._repository.has_blob(self._content.digest):  # only the answer was lost
                return True
            url, self._url, self._offset = self._url, None, 0
            if url and usable:
                self._find_out(url)
            elif url:
                self._abandon(url)
            complete = False
        if self._offset > self._furthest:
            self._furthest = self._offset
            self._times_lost = 0
            self._patience.progressed()
        return complete

    def _bear(self, error: RegistryError) -> bool:
        """Return whether the upload that was begun may go on, or raise the error where another try is of no use."""
        status = error.status if isinstance(error, RefusedError) else None
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and self._last_chunk > _LEAST_CHUNK:
            smaller = max(_LEAST_CHUNK, min(self._chunk_size, self._content.size) // 4)
            self._chunk_size = self._last_chunk = smaller
            return True
        in_chunks = self._url is not None and self._last_chunk < self._content.size
        if (status in _LOST or (in_chunks and status in _NO_CHUNKS)) and self._times_lost < _MOST_TIMES_LOST:
            self._times_lost += 1
            again = self._times_lost > 1 or status not in _LOST
            if in_chunks and again and status in _NO_CHUNKS:
                self._chunks = False
                self._chunk_size = self._last_chunk = self._content.size
            return not again and not self._spoilt
        self._patience.bear(error)
        return self._chunks  # else what a broken request left could only go on in a chunk

    def _abandon(self, url: str) -> None:
        """Let another upload begin: what the registry has of this one is not what it should be."""
        self._entry.forget()
        self._spoilt = False
        with suppress(RegistryError):
            self._repository.cancel_upload(url)

    def _step(self) -> bool:
        if self._url is None:
            self._url, self._offset = self._repository.begin_upload(), 0
            self._entry.note(self._url)
        left = self._content.size - self._offset
        length = left if left <= self._last_chunk else self._chunk_size
        if left == 0 or (self._offset == 0 and length == left):
            self._finish(self._url)
            return True
        self._patch(self._url, length)
        return False

    def _patch(self, url: str, length: int) -> None:
        """Send one chunk (distribution specification, end-5)."""
        end = self._offset + length
        answer = self._send("PATCH", url, length, {"Content-Range": f"{self._offset}-{end - 1}"})
        if answer.status not in (HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT, HTTPStatus.CREATED):
            raise self._refusal(answer)
        kept = _kept(answer)
        self._url = self._repository.upload_url(answer)
        # Some registries (ECR) say with every chunk how long the first one was.
        self._offset = kept if kept is not None and self._offset < kept <= end else end
        self._entry.note(self._url)

    def _finish(self, url: str) -> None:
        """Send what is left and close the upload (end-6)."""
        closing = f"{url}{'&' if '?' in url else '?'}digest={quote(str(self._content.digest))}"
        answer = self._send("PUT", closing, self._content.size - self._offset, {}, completes=True)
        if answer.status not in (HTTPStatus.CREATED, HTTPStatus.NO_CONTENT, HTTPStatus.OK, HTTPStatus.ACCEPTED):
            # It has bytes that are not ours, as from a damaged copy of the bundle, or put them together wrongly.
            self._spoilt = answer.status == HTTPStatus.BAD_REQUEST
            raise self._refusal(answer)
        self._repository.compare(answer, self._content.digest, self._doing)

    def _send(
        self, method: str, url: str, length: int, headers: dict[str, str], *, completes: bool = False
    ) -> HttpAnswer:
        offset = self._offset
        return self._session.exchange(
            method,
            url,
            doing=self._doing,
            scopes=(self._repository.scope,),
            headers={**_STREAM, **headers, "Content-Length": str(length)},
            body=lambda: self._parts(offset, length),
            completes=completes,
        )

    def _parts(self, offset: int, length: int) -> Iterator[memoryview]:
        """Yield the bytes, hashed; the last of the blob is held back until its digest has proved right."""
        buffer = memoryview(bytearray(min(_PART, length)))
        end = offset + length
        while offset < end:
            self._session.call_off.check()
            part = read_part(self._content, offset, buffer[: end - offset])
            self._hasher.take(offset, part)
            yield part
            offset += len(part)
            self._meter.reached(str(self._content.digest), offset)

    def _find_out(self, url: str) -> None:
        """Ask how much of an upload the registry has kept; where it does not say, let another begin."""
        try:
            answer = self._session.ask(
                "GET",
                url,
                doing=f"asking how much of {self._content.digest} has come",
                expect=(HTTPStatus.NO_CONTENT, HTTPStatus.ACCEPTED, HTTPStatus.OK),
                scopes=(self._repository.scope,),
            )
            kept = _kept(answer) or 0
        except RefusedError:
            kept = 0
        # Nothing kept, and one byte kept, are both told as "0-0": a new upload is in step for sure.
        if 1 < kept <= self._content.size:
            self._url, self._offset = self._session.url(answer.headers.get("location", url), at=url), kept
            self._entry.note(self._url)
        else:
            self._entry.forget()

    def _refusal(self, answer: HttpAnswer) -> RefusedError:
        return self._session.refusal(answer, doing=self._doing, scopes=(self._repository.scope,))


def _kept(answer: HttpAnswer) -> int | None:
    """Return how many bytes the answer's ``Range: 0-LAST`` speaks of, or None."""
    first, _, last = answer.headers.get("range", "").removeprefix("bytes=").partition("-")
    return int(last) + 1 if first == "0" and last.isascii() and last.isdigit() else None


def upload(
    repository: Repository,
    content: BlobContent,
    *,
    journal: Journal,
    meter: Meter,
    begun: str | None = None,
    chunk_size: int = CHUNK_SIZE,
) -> None:
    """Upload a blob; ``begun`` is the URL of an upload that the registry has begun already.

    A blob up to ``chunk_size`` (and half as many bytes more) goes in one request, a longer one in chunks. Where a
    request breaks, the registry is asked how much it has kept, and only the rest is sent; a registry that does not say
    gets the blob anew.

    Raises:
        VerificationError: the content is not what its digest says. The upload was left incomplete.
        RegistryError: the registry refused, or could not be reached time and again.
    """
    notes = journal if content.size >= _WORTH_A_NOTE else Journal(None)
    with notes.entry(repository.full_name, content.digest) as entry:
        try:
            _Upload(repository, content, entry, meter, chunk_size).run(begun)
        except VerificationError:
            if entry.location:
                with suppress(RegistryError):
                    repository.cancel_upload(entry.location)
            entry.forget()
            raise
        entry.forget()

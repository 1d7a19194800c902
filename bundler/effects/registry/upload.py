"""Upload one blob: read in place, hashed on its way, continued where the registry stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from urllib.parse import quote

from bundler.effects.archive.blob_content import BlobContent
from bundler.effects.registry.faults import HttpAnswer, RefusedError, transient
from bundler.effects.registry.journal import Entry, Journal
from bundler.effects.registry.meter import Meter
from bundler.effects.registry.repository import Repository
from bundler.effects.registry.upload_reader import CHUNK, UploadHasher, read_chunk
from bundler.effects.registry.upload_strategy import (
    BEGIN,
    Losses,
    Move,
    RequestKind,
    Strategy,
    UploadRequest,
    classify,
)
from bundler.errors import RegistryError, VerificationError

CHUNK_SIZE = 64 << 20  # bytes in one request, up to half as many more in the last; a longer blob goes in several
_WORTH_A_NOTE = 8 << 20  # bytes; a smaller blob is sent again after the client was killed
_STREAM = {"Content-Type": "application/octet-stream"}


class _Upload:
    """One blob on its way: ``_url`` takes the byte at ``_offset`` next; without a URL, an upload is to begin."""

    def __init__(
        self, repository: Repository, content: BlobContent, entry: Entry, meter: Meter, chunk_size: int
    ) -> None:
        self._repository = repository
        self._session = repository.session
        self._content = content
        self._entry = entry
        self._meter = meter
        self._hasher = UploadHasher(content)
        self._doing = f"sending the blob {content.digest} to {repository.name}"
        self._strategy = Strategy.in_chunks(chunk_size)
        self._losses = Losses()
        self._retries = self._session.retries()
        self._url: str | None = None
        self._offset = 0
        self._furthest = 0

    def run(self, begun: str | None) -> None:
        """Send all of it; ``begun`` is an upload that the registry has begun already."""
        if self._entry.location:
            try:
                self._continue(self._entry.location)
            except RegistryError:
                if self._session.is_own(self._entry.location):
                    raise
                self._entry.forget()  # the registry has another address since
        if begun and not self._url:
            self._url = begun
            self._entry.note(begun)
        complete = False
        while not complete:
            request = self._strategy.next_request(self._offset, self._content.size) if self._url else BEGIN
            try:
                complete = self._make(request)
            except RegistryError as error:
                if isinstance(error, RefusedError) and error.asks_to_slow_down:
                    self._retries.wait_after(error)
                    continue  # nothing was taken, and a question more would only be one more
                move = self._after(error, request)
                # Where only the answer was lost, the blob is there.
                complete = self._repository.has_blob(self._content.digest)
                if not complete:
                    self._follow(move)
            if self._offset > self._furthest:
                self._furthest = self._offset
                self._losses = Losses()
                self._retries.reset()

    def _make(self, request: UploadRequest) -> bool:
        """Make a request and return whether the blob is complete."""
        if self._url is None:
            self._url, self._offset = self._repository.begin_upload(), 0
            self._entry.note(self._url)
        elif request.kind is RequestKind.CHUNK:
            self._send_chunk(self._url, request.length)
        else:
            self._close(self._url)
        return request.kind is RequestKind.CLOSE

    def _after(self, error: RegistryError, request: UploadRequest) -> Move:
        """Return what follows a failure, after the pause that it asks for; raise the error where nothing does."""
        if isinstance(error, RefusedError) and error.refusal and not transient(error):
            raise error  # Harbor says with 412 that a quota is used up
        status = error.status if isinstance(error, RefusedError) else None
        failure = classify(status, request, self._strategy)
        move, self._losses = self._losses.after(failure, request)
        match move:
            case Move.GIVE_UP:
                raise error
            case Move.WAIT:
                self._retries.wait_after(error)
                return Move.CONTINUE if self._strategy.continues else Move.BEGIN_ANEW
            case Move.SMALLER_CHUNKS:
                self._strategy = Strategy.in_smaller_chunks(self._strategy, self._content.size)
                return Move.CONTINUE
            case Move.WHOLE_BLOB:
                self._strategy = Strategy.whole_blob(self._content.size)
                return Move.BEGIN_ANEW
        return move

    def _follow(self, move: Move) -> None:
        """Continue the upload, or let another begin."""
        url, self._url, self._offset = self._url, None, 0
        if url and move is Move.CONTINUE:
            self._continue(url)
        elif url:
            self._entry.forget()
            with suppress(RegistryError):
                self._repository.cancel_upload(url)

    def _continue(self, url: str) -> None:
        """Ask how much of an upload the registry has kept; where it does not say, let another begin."""
        try:
            answer = self._session.ask(
                "GET",
                url,
                doing=f"asking how much of {self._content.digest} has come",
                expect=(HTTPStatus.NO_CONTENT, HTTPStatus.ACCEPTED, HTTPStatus.OK),
                scopes=(self._repository.scope,),
            )
            kept = _bytes_kept(answer) or 0
        except RefusedError:
            kept = 0
        # Nothing kept, and one byte kept, are both told as "0-0": a new upload is in step for sure.
        if 1 < kept <= self._content.size:
            self._url, self._offset = self._session.url(answer.headers.get("location", url), at=url), kept
            self._entry.note(self._url)
        else:
            self._entry.forget()

    def _send_chunk(self, url: str, length: int) -> None:
        """Send one chunk (distribution specification, end-5)."""
        end = self._offset + length
        answer = self._send("PATCH", url, length, {"Content-Range": f"{self._offset}-{end - 1}"})
        if answer.status not in (HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT, HTTPStatus.CREATED):
            raise self._refusal(answer)
        kept = _bytes_kept(answer)
        self._url = self._repository.upload_url(answer)
        # Some registries (ECR) say with every chunk how long the first one was.
        self._offset = kept if kept is not None and self._offset < kept <= end else end
        self._entry.note(self._url)

    def _close(self, url: str) -> None:
        """Send what is left and close the upload (end-6)."""
        closing = f"{url}{'&' if '?' in url else '?'}digest={quote(str(self._content.digest))}"
        answer = self._send("PUT", closing, self._content.size - self._offset, {}, completes=True)
        if answer.status not in (HTTPStatus.CREATED, HTTPStatus.NO_CONTENT, HTTPStatus.OK, HTTPStatus.ACCEPTED):
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
            body=lambda: self._bytes(offset, length),
            completes=completes,
        )

    def _bytes(self, offset: int, length: int) -> Iterator[memoryview]:
        """Yield the bytes, hashed; the last of the blob is held back until its digest has proved right."""
        buffer = memoryview(bytearray(min(CHUNK, length)))
        end = offset + length
        while offset < end:
            self._session.cancellation.check()
            chunk = read_chunk(self._content, offset, buffer[: end - offset])
            self._hasher.take(offset, chunk)
            yield chunk
            offset += len(chunk)
            self._meter.reached(str(self._content.digest), offset)

    def _refusal(self, answer: HttpAnswer) -> RefusedError:
        return self._session.refusal(answer, doing=self._doing, scopes=(self._repository.scope,))


def _bytes_kept(answer: HttpAnswer) -> int | None:
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
    gets the whole blob again.

    Raises:
        VerificationError: the content is not what its digest says. The upload was left incomplete.
        RegistryError: the registry refused, or could not be reached time and again.
    """
    notes = journal if content.size >= _WORTH_A_NOTE else Journal(None)
    with notes.entry(repository.full_name, content.digest) as entry:
        try:
            _Upload(repository, content, entry, meter, chunk_size).run(begun)
        except BaseException as error:  # also an interrupt
            # What is noted continues with the next push. Anything else would take the registry's space for days.
            if entry.location and (isinstance(error, VerificationError) or not entry.is_kept):
                with suppress(RegistryError):
                    repository.cancel_upload(entry.location)
                entry.forget()
            raise
        entry.forget()

"""How a blob is cut into requests, and what follows when one of them fails; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Final

_LEAST_CHUNK: Final = 1 << 20  # what every proxy lets pass (nginx's default limit)
_MOST_LOSSES: Final = 3
"""Uploads lost one after the other, without a byte more than before, after which there is no other attempt."""


@dataclass(frozen=True)
class Strategy:
    """How a blob is sent: in chunks of ``chunk`` bytes, or in one request where it is not longer than ``last``.

    ``continues`` tells whether the rest of a broken request may follow in a chunk.
    """

    chunk: int
    last: int
    continues: bool = True

    @classmethod
    def in_chunks(cls, size: int) -> Strategy:
        """Send chunks; the last may be half as long again, because a chunk of few bytes costs as much as a long one."""
        return cls(size, size + size // 2)

    @classmethod
    def in_smaller_chunks(cls, before: Strategy, blob: int) -> Strategy:
        """Send chunks of a quarter of what was refused as too large."""
        size = max(_LEAST_CHUNK, min(before.chunk, blob) // 4)
        return cls(size, size, before.continues)

    @classmethod
    def whole_blob(cls, blob: int) -> Strategy:
        """Send the whole blob in one request, for a registry that cannot put chunks together."""
        return cls(blob, blob, continues=False)

    @property
    def can_be_smaller(self) -> bool:
        """Tell whether smaller requests are worth a try."""
        return self.last > _LEAST_CHUNK

    def next_request(self, offset: int, blob: int) -> UploadRequest:
        """Return the request that follows when the registry has ``offset`` bytes of ``blob``."""
        left = blob - offset
        length = left if left <= self.last else self.chunk
        if left == 0 or (offset == 0 and length == left):
            return UploadRequest(RequestKind.CLOSE, left, in_chunks=self.last < blob)
        return UploadRequest(RequestKind.CHUNK, length, in_chunks=self.last < blob)


class RequestKind(Enum):
    """The requests that bring a blob to a registry (OCI distribution specification)."""

    BEGIN = "POST, end-4a"
    CHUNK = "PATCH, end-5"
    CLOSE = "PUT, end-6"


@dataclass(frozen=True)
class UploadRequest:
    """One request with ``length`` bytes; ``in_chunks`` tells whether the blob is sent in several."""

    kind: RequestKind
    length: int = 0
    in_chunks: bool = False


BEGIN: Final = UploadRequest(RequestKind.BEGIN)


class Failure(Enum):
    """Why a request failed, as far as it decides what follows."""

    TOO_LARGE = "a proxy or the registry limits the size of a request"
    FORGOTTEN = "the registry does not know the upload"
    OUT_OF_STEP = "the registry expects other bytes; some say the same where they do not know chunks"
    WRONG_BYTES = "what the registry has does not have the blob's digest, as from a damaged copy of the bundle"
    NO_CHUNKS = "the registry does not take chunks"
    OTHER = "another answer, or none"


class Move(Enum):
    """What follows a failure."""

    CONTINUE = "ask how much the registry has kept, and send the rest"
    BEGIN_ANEW = "cancel the upload and begin another"
    WHOLE_BLOB = "cancel the upload and send the whole blob in one request; where it is sent so already: begin again"
    SMALLER_CHUNKS = "continue in smaller chunks"
    WAIT = "wait and continue; give up where another attempt cannot help"
    GIVE_UP = "raise the error"


# Failure -> what follows the first time, and what follows when it repeats without progress in between.
_MOVES: Final = {
    Failure.TOO_LARGE: (Move.SMALLER_CHUNKS, Move.SMALLER_CHUNKS),
    Failure.FORGOTTEN: (Move.CONTINUE, Move.BEGIN_ANEW),
    Failure.OUT_OF_STEP: (Move.CONTINUE, Move.WHOLE_BLOB),
    Failure.WRONG_BYTES: (Move.BEGIN_ANEW, Move.WHOLE_BLOB),
    Failure.NO_CHUNKS: (Move.WHOLE_BLOB, Move.WHOLE_BLOB),
    Failure.OTHER: (Move.WAIT, Move.WAIT),
}
_LOSSES: Final = frozenset({Failure.FORGOTTEN, Failure.OUT_OF_STEP, Failure.WRONG_BYTES, Failure.NO_CHUNKS})

_FAILURES: Final[Mapping[int, Failure]] = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Failure.TOO_LARGE,
    HTTPStatus.NOT_FOUND: Failure.FORGOTTEN,
    HTTPStatus.GONE: Failure.FORGOTTEN,
    HTTPStatus.BAD_REQUEST: Failure.OUT_OF_STEP,
    HTTPStatus.CONFLICT: Failure.OUT_OF_STEP,
    HTTPStatus.PRECONDITION_FAILED: Failure.OUT_OF_STEP,
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: Failure.OUT_OF_STEP,
    HTTPStatus.METHOD_NOT_ALLOWED: Failure.NO_CHUNKS,
    HTTPStatus.NOT_IMPLEMENTED: Failure.NO_CHUNKS,
}


def classify(status: int | None, request: UploadRequest, strategy: Strategy) -> Failure:
    """Sort a failure of ``request``; ``status`` is None where no answer came."""
    failure = _FAILURES.get(status or 0, Failure.OTHER)
    match failure:
        case Failure.TOO_LARGE if not strategy.can_be_smaller:
            return Failure.OTHER
        case Failure.NO_CHUNKS if not request.in_chunks:
            return Failure.OTHER
        case Failure.OUT_OF_STEP if request.kind is RequestKind.CLOSE and status == HTTPStatus.BAD_REQUEST:
            return Failure.WRONG_BYTES
    return failure


@dataclass(frozen=True)
class Losses:
    """How many uploads were lost one after the other, without progress in between."""

    count: int = 0

    def after(self, failure: Failure, request: UploadRequest) -> tuple[Move, Losses]:
        """Return what follows a failure, and the losses from then on."""
        if failure not in _LOSSES:
            return _MOVES[failure][0], self
        if self.count >= _MOST_LOSSES:
            return Move.GIVE_UP, self
        move = _MOVES[failure][1 if self.count else 0]
        if move is Move.WHOLE_BLOB and not request.in_chunks:
            move = Move.BEGIN_ANEW
        return move, Losses(self.count + 1)

"""How a blob is cut into requests, and what follows when one of them fails."""

from __future__ import annotations

import pytest

from bundler.effects.registry.upload_strategy import (
    Failure,
    Losses,
    Move,
    RequestKind,
    Strategy,
    UploadRequest,
    classify,
)

BLOB = 10 << 20
CHUNK = UploadRequest(RequestKind.CHUNK, 1 << 20, in_chunks=True)
CLOSE = UploadRequest(RequestKind.CLOSE, 1 << 20, in_chunks=True)
ONE_REQUEST = UploadRequest(RequestKind.CLOSE, BLOB)
IN_CHUNKS = Strategy.in_chunks(4 << 20)


def _requests(strategy: Strategy, offset: int = 0) -> list[tuple[RequestKind, int]]:
    made: list[tuple[RequestKind, int]] = []
    while not made or made[-1][0] is not RequestKind.CLOSE:
        request = strategy.next_request(offset, BLOB)
        made.append((request.kind, request.length))
        offset += request.length
    return made


def test_a_short_blob_goes_in_one_request() -> None:
    assert _requests(Strategy.in_chunks(7 << 20)) == [(RequestKind.CLOSE, BLOB)]
    assert _requests(Strategy.whole_blob(BLOB)) == [(RequestKind.CLOSE, BLOB)]


def test_a_long_blob_goes_in_chunks_and_is_closed_by_an_empty_request() -> None:
    assert _requests(IN_CHUNKS) == [(RequestKind.CHUNK, 4 << 20), (RequestKind.CHUNK, 6 << 20), (RequestKind.CLOSE, 0)]


def test_the_rest_of_a_broken_request_goes_in_a_chunk() -> None:
    assert _requests(Strategy.in_chunks(7 << 20), 5) == [(RequestKind.CHUNK, BLOB - 5), (RequestKind.CLOSE, 0)]


def test_chunks_become_smaller_until_every_proxy_lets_them_pass() -> None:
    strategy, sizes = IN_CHUNKS, []
    while classify(413, CHUNK, strategy) is Failure.TOO_LARGE:
        strategy = Strategy.in_smaller_chunks(strategy, BLOB)
        sizes.append(strategy.chunk)
    assert sizes == [1 << 20]
    assert classify(413, CHUNK, strategy) is Failure.OTHER


@pytest.mark.parametrize(
    ("status", "request_", "first", "again"),
    [
        (404, CHUNK, Move.CONTINUE, Move.BEGIN_ANEW),
        (416, CHUNK, Move.CONTINUE, Move.WHOLE_BLOB),
        (416, ONE_REQUEST, Move.CONTINUE, Move.BEGIN_ANEW),
        (400, CHUNK, Move.CONTINUE, Move.WHOLE_BLOB),
        (400, CLOSE, Move.BEGIN_ANEW, Move.WHOLE_BLOB),
        (400, ONE_REQUEST, Move.BEGIN_ANEW, Move.BEGIN_ANEW),
        (405, CHUNK, Move.WHOLE_BLOB, Move.WHOLE_BLOB),
        (405, ONE_REQUEST, Move.WAIT, Move.WAIT),
        (503, CHUNK, Move.WAIT, Move.WAIT),
        (None, CHUNK, Move.WAIT, Move.WAIT),
    ],
)
def test_each_failure_has_its_move(status: int | None, request_: UploadRequest, first: Move, again: Move) -> None:
    failure = classify(status, request_, IN_CHUNKS)
    move, losses = Losses().after(failure, request_)
    assert (move, losses.after(failure, request_)[0]) == (first, again)


def test_uploads_that_are_lost_again_and_again_are_given_up() -> None:
    losses, moves = Losses(), []
    for _ in range(4):
        move, losses = losses.after(Failure.FORGOTTEN, CHUNK)
        moves.append(move)
    assert moves == [Move.CONTINUE, Move.BEGIN_ANEW, Move.BEGIN_ANEW, Move.GIVE_UP]

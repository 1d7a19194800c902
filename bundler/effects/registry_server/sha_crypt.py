"""Passwords hashed by SHA-crypt (``$5$``, ``$6$``), which Python's standard library has no function for any more.

After "Unix crypt using SHA-256 and SHA-512" (Ulrich Drepper, 2008), step by step.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

_ALPHABET: Final = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FORM: Final = re.compile(
    r"\$(?P<kind>[56])\$(?:rounds=(?P<rounds>[0-9]{4,7})\$)?(?P<salt>[^$:\s]{0,16})\$(?P<hash>[./0-9A-Za-z]+)"
)
_ROUNDS: Final = 5000
_MOST_ROUNDS: Final = 1_000_000  # a second of work; the form itself allows a thousand times that
_LEAST_ROUNDS: Final = 1000
_LETTERS: Final = {"5": 43, "6": 86}
_MOST_PASSWORD: Final = 256  # bytes; the work grows with it
# The order in which the bytes of the result are written, three at a time.
_TRIPLES: Final = {
    "5": tuple((21 * place % 30, (21 * place + 10) % 30, (21 * place + 20) % 30) for place in range(10)),
    "6": tuple((22 * place % 63, (22 * place + 21) % 63, (22 * place + 42) % 63) for place in range(21)),
}


def check(text: str) -> None:
    """Raise ``ValueError`` where a text is not such a hash, or would take more than a second."""
    match = _FORM.fullmatch(text)
    if match is None or len(match["hash"]) != _LETTERS[match["kind"]]:
        raise ValueError("it is not a SHA-crypt hash ($5$ or $6$)")
    if match["rounds"] and not _LEAST_ROUNDS <= int(match["rounds"]) <= _MOST_ROUNDS:
        raise ValueError(f"it has fewer than {_LEAST_ROUNDS} or more than {_MOST_ROUNDS} rounds")


def matches(password: bytes, text: str) -> bool:
    """Tell whether a password has a hash that ``check`` accepts."""
    match = _FORM.fullmatch(text)
    if match is None or len(password) > _MOST_PASSWORD:
        return False
    rounds = int(match["rounds"] or _ROUNDS)
    digest = _hashed(match["kind"], password, match["salt"].encode(), rounds)
    return hmac.compare_digest(digest, match["hash"])


def _hashed(kind: str, password: bytes, salt: bytes, rounds: int) -> str:
    sha: Callable[[bytes], Any] = hashlib.sha256 if kind == "5" else hashlib.sha512
    other = sha(password + salt + password).digest()
    begin = password + salt + _repeated(other, len(password))
    count = len(password)
    while count:
        begin += other if count & 1 else password
        count >>= 1
    state = sha(begin).digest()
    word = _repeated(sha(password * len(password)).digest(), len(password))
    spice = _repeated(sha(salt * (16 + state[0])).digest(), len(salt))
    for number in range(rounds):
        text = word if number & 1 else state
        text += spice if number % 3 else b""
        text += word if number % 7 else b""
        text += state if number & 1 else word
        state = sha(text).digest()
    return "".join(_letters(kind, state))


def _repeated(block: bytes, length: int) -> bytes:
    return (block * (length // len(block) + 1))[:length]


def _letters(kind: str, state: bytes) -> Iterator[str]:
    for high, middle, low in _TRIPLES[kind]:
        yield _word((state[high] << 16) | (state[middle] << 8) | state[low], 4)
    if kind == "5":
        yield _word((state[31] << 8) | state[30], 3)
    else:
        yield _word(state[63], 2)


def _word(value: int, letters: int) -> str:
    return "".join(_ALPHABET[(value >> (6 * place)) & 0x3F] for place in range(letters))

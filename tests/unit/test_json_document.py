"""JSON of unknown origin becomes a value with one meaning, or a sentence; work and memory are bounded by the bytes."""

from __future__ import annotations

import json
import time

import pytest

from bundler.model import json_document, limits

SIZE = 4 << 20


def read(content: bytes) -> object:
    return json_document.parse(content, "the document", size=SIZE)


@pytest.mark.parametrize("value", [None, True, 0, -1, 1.5, "ä", [], {}, {"a": [1, {"b": None}]}])
def test_what_is_json_is_read(value: object) -> None:
    assert read(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON"),
        (b"\xff", "byte 0 is not UTF-8"),
        (b'\xef\xbb\xbf{"a":1}', "BOM"),
        (b'{"a":1,"b":2,"a":3}', "the name 'a' occurs twice"),
        (b"NaN", "NaN is not a number"),
        (b"[Infinity]", "Infinity is not a number"),
        (b"1e999", "not a finite number"),
        (b"1" * 5000, "a number has 5000 digits"),
        (b'"\\ud800"', "surrogate"),
        (b"[" * 100_000, "nested deeper"),
    ],
)
def test_what_has_no_one_meaning_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(content)


def test_each_limit_is_held_and_what_is_at_it_is_read() -> None:
    deep = b"[" * limits.JSON_DEPTH + b"]" * limits.JSON_DEPTH
    assert read(deep)
    with pytest.raises(ValueError, match=f"nested deeper than {limits.JSON_DEPTH} levels"):
        read(b"[" + deep + b"]")
    long = b'"' + b"a" * (SIZE - 2) + b'"'
    assert read(long)
    with pytest.raises(ValueError, match="more than the limit"):
        read(long + b" ")
    many = b"[" + b"1," * (limits.JSON_VALUES - 1) + b"1]"
    assert read(many)
    with pytest.raises(ValueError, match="more than 500000 values"):
        read(b"[1," + many[1:])
    assert read(b"9" * limits.DIGITS)


def test_a_name_that_occurs_twice_among_very_many_is_found_soon() -> None:
    names = b",".join(b'"%x":0' % number for number in range(200_000))
    began = time.process_time()
    with pytest.raises(ValueError, match="occurs twice"):
        read(b"{" + names + b',"7":0}')
    assert time.process_time() - began < 5

"""Mutated inputs end in a value or in one of our errors, soon; ``make fuzz`` does this for minutes."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import hypothesis
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import ALLOWED, SMALL, Target, targets

MINUTES = float(os.environ.get("FUZZ_MINUTES", "0"))
EXAMPLES = 25
SECONDS = 5.0  # of processor time for one input
TOKENS = (
    b"\0",
    b"\n",
    b"\t",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b'"',
    b"*a",
    b"&a ",
    b"<<: ",
    b"!!binary ",
    b"-1",
    b"1e999",
)
LONG_TOKENS = (
    b"9" * 5000,
    b"[" * 3000,
    b"\xff\xfe",
    b"\x1b[2J",
    b"2020-01-01",
    b"true",
    b"null",
    b"../",
    b"sha256:",
    b"\\ud800",
)


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        begin = draw(st.integers(0, len(content)))
        end = min(len(content), begin + draw(st.integers(0, 64)))
        match draw(st.sampled_from(("flip", "token", "remove", "repeat", "move", "noise", "cut"))):
            case "flip" if begin < len(content):
                content[begin] ^= 1 << draw(st.integers(0, 7))
            case "token":
                content[begin:begin] = draw(st.sampled_from(TOKENS + LONG_TOKENS))
            case "remove":
                del content[begin:end]
            case "repeat":
                content[begin:end] = content[begin:end] * draw(st.integers(2, 50))
            case "move":
                piece = content[begin:end]
                del content[begin:end]
                place = draw(st.integers(0, len(content)))
                content[place:place] = piece
            case "noise":
                content[begin:end] = draw(st.binary(max_size=32))
            case "cut":
                del content[begin:]
    return bytes(content[: 2 * SMALL])


def fuzzer(target: Target, examples: int) -> Callable[[], None]:
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=not MINUTES,
    )
    @given(mutated(target.seeds))
    def run(content: bytes) -> None:
        began = time.process_time()
        with suppress(*ALLOWED):
            target.read(content)
        assert time.process_time() - began < SECONDS

    return run


@pytest.mark.parametrize("name", targets())
def test_mutated_inputs_end_in_a_value_or_an_error(name: str) -> None:
    target = targets()[name]
    fuzzer(target, EXAMPLES)()
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ends = time.monotonic() + MINUTES * 60 * workers / len(targets())
    while time.monotonic() < ends:
        hypothesis.seed(secrets.randbits(64))(fuzzer(target, 200))()


@pytest.mark.parametrize("name", targets())
def test_seeds_end_in_a_value_or_an_error(name: str) -> None:
    target = targets()[name]
    assert target.seeds
    for content in target.seeds:
        with suppress(*ALLOWED):
            target.read(content)

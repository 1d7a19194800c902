"""Slowing down together: one pause for all, half as many requests at once, and more again after successes."""

from __future__ import annotations

import threading

import pytest

from bundler.effects.registry import faults
from bundler.effects.registry.gate import Gate, Gates, Passage, Spacing, Waiting
from bundler.effects.registry.retry import Cancellation, CancelledError, Retries
from bundler.errors import RegistryError


class _Instant(Cancellation):
    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.check()
        self.slept.append(seconds)


def _gate(workers: int = 8) -> tuple[Gate, _Instant, list[str]]:
    cancellation, said = _Instant(), list[str]()
    return Gate("r.example", workers, cancellation, Waiting(said.append)), cancellation, said


def _together(gate: Gate, statuses: list[int], pause: float | None = None) -> None:
    """Let as many requests in as there are statuses, and then answer each."""
    entered = [gate.passing() for _ in statuses]
    passages: list[Passage] = [passing.__enter__() for passing in entered]
    for passing, passage, status in zip(entered, passages, statuses, strict=True):
        passage.answered(status, slow_down=status == 429, pause=pause)
        passing.__exit__(None, None, None)


def test_refusals_of_requests_under_way_together_halve_once_and_are_waited_out_once() -> None:
    gate, cancellation, said = _gate()
    _together(gate, [429] * 8, pause=7)
    assert (gate.limit, gate.refusals) == (4, 1)
    _together(gate, [200])
    assert len(cancellation.slept) == 1
    assert 6.5 < cancellation.slept[0] < 7.2
    assert said == ["r.example asks to slow down (429); waiting 7 s."]


def test_the_limit_goes_down_to_one_and_comes_back_with_successes() -> None:
    gate, _, _ = _gate()
    for _ in range(5):
        _together(gate, [429])
    assert (gate.limit, gate.refusals) == (1, 5)
    for _ in range(5 * (1 + 2 + 3 + 4 + 5 + 6 + 7)):
        _together(gate, [200])
    assert (gate.limit, gate.refusals) == (8, 0)


def test_anything_that_passes_is_progress() -> None:
    gate, _, _ = _gate()
    _together(gate, [429, 200, 429])
    assert gate.refusals == 0
    _together(gate, [429, 404])
    assert gate.refusals == 0
    _together(gate, [429, 500])
    assert gate.refusals == 1


def test_no_more_than_the_limit_are_under_way() -> None:
    gate, _, _ = _gate(4)
    _together(gate, [429] * 4, pause=0)
    most, under_way, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal most, under_way
        with gate.passing():
            with lock:
                under_way += 1
                most = max(most, under_way)
            threading.Event().wait(0.01)
            with lock:
                under_way -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most <= 2


def test_a_request_that_is_made_of_another_does_not_wait_for_itself() -> None:
    gate, _, _ = _gate(2)
    _together(gate, [429, 429], pause=0)
    assert gate.limit == 1
    with gate.passing(), gate.passing():
        pass


def test_who_waits_at_a_gate_is_cancelled_at_once() -> None:
    gate, cancellation, _ = _gate()
    _together(gate, [429], pause=9)
    cancellation.cancel()
    with pytest.raises(CancelledError), gate.passing():
        pass


def test_pauses_without_a_word_of_the_server_grow() -> None:
    gate, cancellation, said = _gate()
    for _ in range(4):
        _together(gate, [429])
    _together(gate, [200])
    assert all(0.15 * 2**number < pause < 0.41 * 2**number for number, pause in enumerate(cancellation.slept))
    assert len(cancellation.slept) == 4
    assert len(said) == 1  # not with each of them


@pytest.mark.parametrize("most", [2, 5, 10])
def test_requests_are_kept_apart_where_a_host_allows_so_many_a_second(most: int) -> None:
    spacing, now, seen, refused = Spacing(), 0.0, list[int](), 0
    for number in range(300):
        now = spacing.turn(now) + 0.002
        seen.append(int(now))
        if seen.count(int(now)) > most:
            refused += 1
            spacing.refused(now, few=True)
            now += 0.3
        else:
            spacing.passed()
            if number % 5 == 4:
                spacing.shrink()
    assert refused < 300 / 5
    assert (300 - refused) / now > 0.7 * most


def test_nothing_is_kept_apart_where_the_server_says_how_long_to_wait() -> None:
    gate, cancellation, _ = _gate(2)
    for _ in range(20):
        _together(gate, [200] * 3)
        _together(gate, [429], pause=0)
    assert sum(cancellation.slept) < 0.1


def test_requests_come_closer_together_before_there_are_more_of_them() -> None:
    spacing = Spacing()
    assert not spacing.shrink()
    for now in (1.0, 2.0, 3.0):
        for _ in range(5):
            spacing.passed()
        spacing.refused(now, few=True)
    assert spacing.gap == pytest.approx(0.2)
    for _ in range(30):
        spacing.shrink()
    assert spacing.gap == 0


def _slow_down(url: str) -> faults.RefusedError:
    answer = faults.HttpAnswer(429, {}, b"", url)
    return faults.refused(answer, doing="pushing", host="r.example", login=None)


def test_a_host_that_refuses_everything_is_given_up_and_one_that_lets_something_through_is_not() -> None:
    cancellation = _Instant()
    gates = Gates(8, cancellation, Waiting(list[str]().append))
    error = _slow_down("https://r.example/v2/")
    retries = Retries(3, cancellation, refusals=lambda url: gates.of(url).refusals)
    for _ in range(20):
        _together(gates.of(error.url), [429])
        retries.wait_after(error)
        _together(gates.of(error.url), [200])
    for _ in range(2):
        _together(gates.of(error.url), [429])
        retries.wait_after(error)
    _together(gates.of("https://r.example/token"), [429])
    with pytest.raises(RegistryError, match="429"):
        retries.wait_after(error)


def test_a_task_that_alone_is_refused_is_given_up_though_others_go_on() -> None:
    gates = Gates(8, _Instant(), Waiting(list[str]().append))
    error = _slow_down("https://r.example/v2/")
    retries = Retries(2, _Instant(), refusals=lambda url: gates.of(url).refusals)
    for _ in range(19):
        retries.wait_after(error)
    with pytest.raises(RegistryError, match="429"):
        retries.wait_after(error)


def test_a_server_that_is_busy_slows_all_down_and_is_given_up_sooner() -> None:
    gates = Gates(8, _Instant(), Waiting(list[str]().append))
    answer = faults.HttpAnswer(503, {}, b"", "https://r.example/v2/")
    error = faults.refused(answer, doing="pushing", host="r.example", login=None)
    retries = Retries(6, _Instant(), refusals=lambda url: gates.of(url).refusals)
    for _ in range(5):
        retries.wait_after(error)
    with pytest.raises(RegistryError, match="503"):
        retries.wait_after(error)


def test_a_server_in_trouble_that_says_how_long_is_one_that_asks_to_slow_down() -> None:
    assert faults.asks_to_slow_down(503, 5.0)
    assert not faults.asks_to_slow_down(503, None)
    assert not faults.asks_to_slow_down(500, 5.0)

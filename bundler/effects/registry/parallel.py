"""Work on many things at once, and end soon when one of them fails."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from bundler.effects.registry.retry import Cancellation, CancelledError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_GRACE = 3.0  # seconds that others get to clean up after one has failed
_RAMP = 0.5  # seconds after which one more joins those that began


def each(
    items: Iterable[_Item],
    work: Callable[[_Item], _Result],
    *,
    workers: int,
    cancellation: Cancellation,
    at_first: int | None = None,
) -> tuple[_Result, ...]:
    """Do ``work`` on every item, first come first served, and return the results in the order of the items.

    ``at_first`` of the workers begin at once, and one more joins them every half a second: few workers are best for
    short tasks, and long ones soon have all of them. The first error, or an interrupt, cancels the rest and is raised.
    Threads are daemons: one that hangs on a stalled socket does not keep the program from ending.
    """
    waiting: queue.SimpleQueue[tuple[int, _Item]] = queue.SimpleQueue()
    results: dict[int, _Result] = {}
    errors: list[BaseException] = []
    for numbered in enumerate(items):
        waiting.put(numbered)
    count = waiting.qsize()
    nothing_left = threading.Event()

    def loop(pause: float) -> None:
        try:
            nothing_left.wait(pause)
            while not errors:
                number, item = waiting.get_nowait()
                results[number] = work(item)
        except queue.Empty:
            pass
        except BaseException as error:  # noqa: BLE001  (carried to the caller's thread, whatever it is)
            errors.append(error)
            cancellation.cancel()
        nothing_left.set()

    late = count if at_first is None else at_first
    pauses = [max(0, number - late + 1) * _RAMP for number in range(min(workers, count))]
    threads = [threading.Thread(target=loop, args=(pause,), daemon=True) for pause in pauses]
    for thread in threads:
        thread.start()
    _wait(threads, errors, cancellation)
    if errors:
        raise next((error for error in errors if not isinstance(error, CancelledError)), errors[0])
    return tuple(results[number] for number in range(count))


def _wait(threads: list[threading.Thread], errors: list[BaseException], cancellation: Cancellation) -> None:
    """Wait for all of them, but only for a moment where one has failed or we are interrupted."""
    try:
        for thread in threads:
            while thread.is_alive() and not errors:
                thread.join(0.1)
    finally:
        if any(thread.is_alive() for thread in threads):
            cancellation.cancel()
            deadline = time.monotonic() + _GRACE
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))

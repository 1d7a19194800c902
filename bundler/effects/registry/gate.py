"""One gate for each host: where it asks to slow down, all requests to it wait together and fewer are under way."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from bundler.effects.registry.http import origin
from bundler.effects.registry.retry import WORTH_TELLING, Cancellation, backoff

_LONGEST = 300.0  # seconds; a server may ask for more, and is asked again then
_POLL = 0.1  # seconds
# Successes for each that may be under way before there is one more. Of 60 layers at five requests a second, a third of
# the requests is refused then, and a half where each round lets one more through.
_ROUNDS = 5
_TOLD_EVERY = 10.0  # seconds
# Seconds between the beginnings of two requests, where fewer at once do not suffice: at first, at least, at most.
_FIRST_GAP, _SMALLEST_GAP, _LONGEST_GAP = 0.05, 0.005, 0.5
_FEW = 2  # requests at once; where more are allowed, their number is halved first
_ENOUGH = 2  # successes between two refusals that tell a rate; less may be a server that refuses at random
_CLOSER = 0.8  # how much of a gap remains after some rounds of successes


class Waiting:
    """Tells people that, and why, nothing happens for a while; not more often than they can read."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._told_at: float | None = None
        self._lock = threading.Lock()

    def tell(self, why: str, seconds: float) -> None:
        """Tell of a pause, unless one was told of just now."""
        with self._lock:
            now = self._clock()
            if self._told_at is not None and now - self._told_at < _TOLD_EVERY:
                return
            self._told_at = now
        self._say(f"{why}; waiting {seconds:.0f} s." if seconds >= 1 else f"{why}; waiting a moment.")


@dataclass
class Passage:
    """A request that went through a gate; ``asked`` is set where the answer asked to slow down."""

    period: int
    status: int | None = None
    asked: bool = False
    pause: float | None = None

    def answered(self, status: int, *, slow_down: bool, pause: float | None) -> None:
        """Note the answer; ``pause`` is how many seconds it asks to wait, None: it does not say."""
        self.status, self.asked, self.pause = status, slow_down, pause


class Spacing:
    """Keeps requests apart where few at once are still too many: limits are on requests a second, not on how many wait.

    The gap grows with each refusal, up to what passed in fact since the one before, and shrinks with successes.
    """

    def __init__(self) -> None:
        self.gap = 0.0
        self._next = 0.0
        self._since = 0.0
        self._passed = 0

    def turn(self, now: float) -> float:
        """Take the next turn; return when that is."""
        turn = max(now, self._next)
        self._next = turn + self.gap * (0.9 + random.random() / 5)  # noqa: S311  (not a secret)
        return turn

    def passed(self) -> None:
        """Note a success."""
        self._passed += 1

    def refused(self, now: float, *, few: bool) -> None:
        """Note a refusal; ``few``: few requests may be under way, and the server does not say how long to wait."""
        if not self._passed:  # the pause was too short, which says nothing of the gap
            return
        if few and self._passed >= _ENOUGH:
            rate = (now - self._since) / self._passed
            self.gap = min(max(2 * self.gap, _FIRST_GAP), max(rate, self.gap), _LONGEST_GAP)
        self._since, self._passed = now, 0

    def shrink(self) -> bool:
        """Let requests come closer together; return False where nothing keeps them apart."""
        if not self.gap:
            return False
        self.gap = self.gap * _CLOSER if self.gap * _CLOSER >= _SMALLEST_GAP else 0.0
        return True


class Gate:
    """Lets requests to one host through: at most ``workers`` at once, half as many after each refusal, none meanwhile.

    Several refusals of requests that were under way together are one: they halve once, and the pause that they ask for
    is waited out once, by all. Where few at once are still too many, they are kept apart. Some rounds of successes let
    them come closer together, and then let one more through again.
    """

    def __init__(self, host: str, workers: int, cancellation: Cancellation, waiting: Waiting) -> None:
        self._host, self._workers, self._cancellation, self._waiting = host, workers, cancellation, waiting
        self._changed = threading.Condition()
        self._inside = threading.local()
        self._under_way = 0
        self._passed = 0
        self._period = 0
        self._opens_at = 0.0
        self._spacing = Spacing()
        self.limit = workers
        self.refusals = 0
        """Refusals in a row: while anything passes, the host is not to be given up."""

    @contextmanager
    def passing(self) -> Iterator[Passage]:
        """Wait for the gate; tell the passage what the answer was before the block ends."""
        # A request may be made of what another one reads: it must not wait for itself.
        depth = getattr(self._inside, "depth", 0)
        passage = Passage(self._enter(nested=depth > 0))
        self._inside.depth = depth + 1
        try:
            yield passage
        finally:
            self._inside.depth = depth
            self._leave(passage)

    def _enter(self, *, nested: bool) -> int:
        waited_for = 0.0
        while True:
            with self._changed:
                now = time.monotonic()
                opens_at, pause = self._opens_at, self._opens_at - now
                if pause <= 0 or opens_at == waited_for:
                    if nested or self._under_way < self.limit or self.limit >= self._workers:
                        self._under_way += 1
                        turn, period = self._spacing.turn(now), self._period
                        break
                    self._cancellation.check()  # only who must wait: an upload is cancelled after the task was
                    self._changed.wait(_POLL)
                    continue
            self._cancellation.sleep(pause)
            waited_for = opens_at
        if turn > now:
            self._wait_for(turn - now)
        return period

    def _wait_for(self, pause: float) -> None:
        try:
            self._cancellation.sleep(pause)
        except BaseException:
            with self._changed:
                self._under_way -= 1
            raise

    def _leave(self, passage: Passage) -> None:
        pause = 0.0
        with self._changed:
            under_way, self._under_way = self._under_way, self._under_way - 1
            if passage.asked:
                if passage.period == self._period:
                    self._period += 1
                    self.refusals += 1
                    self._spacing.refused(time.monotonic(), few=self.limit <= _FEW and passage.pause is None)
                    self.limit = max(1, min(self.limit, under_way) // 2)
                    self._passed = 0
                pause = self._pause(passage.pause)
                self._opens_at = max(self._opens_at, time.monotonic() + pause)
            elif passage.status is not None and passage.status < 500:  # noqa: PLR2004  (a server's own trouble)
                self.refusals = 0
                self._passed += 1
                self._spacing.passed()
                if self._passed >= self.limit * _ROUNDS and self.limit < self._workers:
                    self._passed = 0
                    if not self._spacing.shrink():
                        self.limit += 1
            self._changed.notify_all()
        if not passage.asked:
            return
        if passage.status == HTTPStatus.TOO_MANY_REQUESTS or passage.pause is not None:
            self._waiting.tell(f"{self._host} asks to slow down ({passage.status})", pause)
        elif pause >= WORTH_TELLING:  # it may be in trouble for a moment
            self._waiting.tell(f"{self._host} is busy ({passage.status})", pause)

    def _pause(self, asked: float | None) -> float:
        if asked:
            return min(asked, _LONGEST) + random.random() * _POLL  # noqa: S311  (not a secret)
        return backoff(self.refusals) if asked is None or self.refusals > 1 else 0.0


class Gates:
    """A gate for each host that a session speaks to."""

    def __init__(self, workers: int, cancellation: Cancellation, waiting: Waiting) -> None:
        self._workers, self._cancellation, self._waiting = workers, cancellation, waiting
        self._gates: dict[tuple[str, str, int], Gate] = {}
        self._lock = threading.Lock()

    def of(self, url: str) -> Gate:
        """Return the gate of a URL's host; raise ``InvalidURL`` where it has none."""
        server = origin(url)
        with self._lock:
            if server not in self._gates:
                host = urlsplit(url).netloc.rpartition("@")[2]
                self._gates[server] = Gate(host, self._workers, self._cancellation, self._waiting)
            return self._gates[server]

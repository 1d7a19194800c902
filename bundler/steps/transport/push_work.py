"""What every part of a push works with: bundle, registry, what was asked, and what failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from bundler.effects.archive.reader import Bundle
from bundler.effects.registry import parallel
from bundler.effects.registry.journal import Journal
from bundler.effects.registry.repository import Repository
from bundler.effects.registry.session import Session
from bundler.model.progress import Progress
from bundler.steps.transport.push_failures import Failures
from bundler.steps.transport.push_options import PushOptions

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class PushWork:
    """One push."""

    bundle: Bundle
    options: PushOptions
    session: Session
    progress: Progress
    journal: Journal
    failures: Failures

    def repository(self, name: str) -> Repository:
        """Return a repository to be written to."""
        return Repository(self.session, name, write=True)

    def each(
        self, items: Iterable[_Item], work: Callable[[_Item], _Result], *, at_first: int | None = None
    ) -> tuple[_Result, ...]:
        """Do ``work`` on every item, several at a time; see ``parallel.each``."""
        workers = self.options.access.connection.parallel
        return parallel.each(items, work, workers=workers, cancellation=self.session.cancellation, at_first=at_first)

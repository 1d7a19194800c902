"""Preparation: what a running pod needs before the CronJob's commands run in it, and what has no stand-in here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bundler import resources
from bundler.effects.engine.container import Ran
from bundler.model.descriptor import Json
from bundler.model.findings import Finding, Status

_PROBE: Final = "rehearsal/prepare.py"
_NOT_PLAYED: Final = "Look at the features at the site: bundler install --feature asks its online server for them."


def command(replaced: str | None) -> tuple[str, ...]:
    """Return what prepares a pod; ``replaced`` is the configuration that the rehearsal took from it, if it did."""
    return ("python3", "-c", resources.read(_PROBE).decode(), json.dumps({"replaced": replaced}))


@dataclass(frozen=True)
class Preparation:
    """What a pod said: ``refused`` of the site's own configuration, ``tables`` that were made, sources ``unplayed``."""

    replaced: bool
    refused: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    unplayed: tuple[str, ...] = ()
    problem: str = ""

    @classmethod
    def read(cls, ran: Ran, *, replaced: bool) -> Preparation:
        """Read the answer; a pod that gives none could not be prepared."""
        try:
            answer = json.loads(ran.output.strip().splitlines()[-1])
            refused, tables, unplayed = (_texts(answer[name]) for name in ("configuration", "tables", "unplayed"))
            return cls(replaced, refused, tables, unplayed, str(answer["problem"]))
        except (ValueError, KeyError, IndexError, TypeError):
            return cls(replaced, problem="; ".join(ran.last_lines) or f"exit status {ran.status}")

    @property
    def can_go_on(self) -> bool:
        """Whether the CronJob's commands have what they need."""
        return not self.refused and not self.unplayed

    def findings(self) -> Iterator[Finding]:
        """Yield what was seen; a problem with the definitions is left to ``feast apply``."""
        if self.replaced and self.refused:
            title = "Feast refuses the feature_store.yaml of the site"
            yield Finding("configuration", title, Status.FAIL, self.refused, "Correct it, and build again.")
        elif self.replaced and not self.problem:
            yield Finding(
                "configuration",
                "Feast reads the feature_store.yaml of the site",
                Status.PASS,
                ("its stores were replaced afterwards: nothing connected to them",),
            )
        if self.tables:
            title = "Tables were made of the schemas of feature views, with values of the rehearsal"
            yield Finding("sources", title, Status.PASS, self.tables)
        if self.unplayed:
            title = "Not played: the CronJob's commands, and features"
            yield Finding("sources", title, Status.MANUAL, self.unplayed, _NOT_PLAYED)


def _texts(value: Json) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(value)
    return tuple(map(str, value))

"""Wheels grouped into layers by how often they change, so that an update moves little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from packaging.utils import canonicalize_name

from bundler.model.lock import LockedWheel

# Images may have 127 layers, registries and kubelets dislike many: only wheels that weigh like a layer get their own.
_ALONE: Final = 12_000_000
_MOST_ALONE: Final = 8


@dataclass(frozen=True)
class WheelGroup:
    """Wheels that share a layer, sorted by name."""

    title: str
    wheels: tuple[LockedWheel, ...]


def group(wheels: Sequence[LockedWheel]) -> tuple[WheelGroup, ...]:
    """Return groups from rarely to often changing: the biggest wheels each alone, the others together, Feast last."""
    ordered = sorted(wheels, key=lambda wheel: wheel.name)
    feast = tuple(wheel for wheel in ordered if canonicalize_name(wheel.name) == "feast")
    others = [wheel for wheel in ordered if wheel not in feast]
    heavy = sorted((wheel for wheel in others if wheel.size >= _ALONE), key=lambda wheel: (-wheel.size, wheel.name))
    alone = heavy[:_MOST_ALONE]
    together = tuple(wheel for wheel in others if wheel not in alone)
    groups = [WheelGroup(f"{wheel.name} {wheel.version}", (wheel,)) for wheel in alone]
    if together:
        groups.append(WheelGroup(f"{len(together)} Python packages", together))
    if feast:
        groups.append(WheelGroup(f"feast {feast[0].version}", feast))
    return tuple(groups)

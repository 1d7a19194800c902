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


def group(wheels: Sequence[LockedWheel], requested: frozenset[str] = frozenset()) -> tuple[WheelGroup, ...]:
    """Return groups from rarely to often changing.

    The biggest wheels each alone, the other dependencies, Feast, and what the spec asks for by name
    (``requested``, normalised): a changed line of a requirement file moves the last one only.
    """
    ordered = sorted(wheels, key=lambda wheel: wheel.name)
    feast = tuple(wheel for wheel in ordered if canonicalize_name(wheel.name) == "feast")
    others = [wheel for wheel in ordered if wheel not in feast]
    heavy = sorted((wheel for wheel in others if wheel.size >= _ALONE), key=lambda wheel: (-wheel.size, wheel.name))
    alone = heavy[:_MOST_ALONE]
    light = [wheel for wheel in others if wheel not in alone]
    asked = tuple(wheel for wheel in light if canonicalize_name(wheel.name) in requested)
    came = tuple(wheel for wheel in light if wheel not in asked)
    groups = [WheelGroup(f"{wheel.name} {wheel.version}", (wheel,)) for wheel in alone]
    groups.append(WheelGroup(_count(came, "that others need"), came))
    groups += [WheelGroup(f"feast {wheel.version}", (wheel,)) for wheel in feast]
    groups.append(WheelGroup(_count(asked, "asked for"), asked))
    return tuple(wheel_group for wheel_group in groups if wheel_group.wheels)


def _count(wheels: Sequence[LockedWheel], which: str) -> str:
    return f"{len(wheels)} Python {'package' if len(wheels) == 1 else 'packages'} {which}"

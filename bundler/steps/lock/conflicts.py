"""Conflicts: what gives way where requirements and constraints have no solution together, the weaker ones first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from bundler.effects.packages import uv
from bundler.effects.packages.uv import Candidate, Resolution
from bundler.effects.packages.uv_errors import NoSolutionError
from bundler.model.progress import Progress
from bundler.steps.lock.requirements import Asked, Bounds, Requirements

_NO_WHEELS: Final = re.compile(r"(?<![\w.-])([a-z0-9._-]+)==(\S+) has no usable wheels")
_NO_WHEELS_AT_ALL: Final = re.compile(r"Wheels are required for `([^`]+)`")  # whichever version was tried
_MOST_MISSING: Final = 12
_EXTRAS: Final = r"(?<![\w.-]){name}\[([\w.,-]+)\]"


@dataclass(frozen=True)
class Settled:
    """Files that fit together, and what gave way for that, for people."""

    candidates: tuple[Candidate, ...]
    gave_way: tuple[str, ...] = ()


def settle(wanted: Resolution, asked: Requirements, bounds: Bounds, progress: Progress) -> Settled:
    """Resolve; where there is no solution, first the versions of Feast's own lock give way, then what others ask for.

    Feast's lock is for Feast without extras, so an extra may contradict it; then its versions are only preferred. Where
    an extra asks for another version of what somebody asks for by name, the name counts.

    Raises:
        LockError: there is no solution even then; the error is that of the last trial.
        RegistryError: an index refused or cannot be reached.
    """
    try:
        return Settled(uv.resolve(wanted))
    except NoSolutionError as error:
        first = error
    preferred = {**bounds.pins, **wanted.preferences}
    loose = replace(wanted, constraints=bounds.fixed, preferences=preferred)
    try:
        if not bounds.pins:
            raise first
        return _reported(Settled(uv.resolve(loose)), bounds, progress)
    except NoSolutionError as second:
        text = "\n".join((*first.details, *second.details))
        lines = [*_contradicted(asked, second)]
        named = {line.name: line for line in lines}
        if len(named) < len(lines):  # the site's own lines contradict each other: none of them is the weaker one
            raise second from None
        if not named:
            raise _without_wheels(loose, second) from None
        overrides = tuple(_override(line, text) for line in named.values())
        resolution = uv.resolve(replace(loose, overrides=overrides))
        notes = tuple(f"{line.requirement} ({line.place}) instead of what others ask for" for line in named.values())
        return _reported(Settled(resolution, notes), bounds, progress)


def _without_wheels(wanted: Resolution, error: NoSolutionError) -> NoSolutionError:
    """Return the error with every package that has no wheel, found by leaving out one after the other."""
    missing: dict[str, str] = {}
    latest = error
    for _ in range(_MOST_MISSING):
        text = "\n".join(latest.details)
        rows = dict.fromkeys(_NO_WHEELS_AT_ALL.findall(text), "") | dict(_NO_WHEELS.findall(text))
        if not rows.keys() - missing:
            break
        missing = {**rows, **missing}
        try:
            uv.resolve(replace(wanted, overrides=tuple(f"{name} ; python_version < '3'" for name in missing)))
        except NoSolutionError as next_error:
            latest = next_error
        else:
            break
    if len(missing) < 2:  # noqa: PLR2004  (the error names one itself)
        return error
    pins = [f"{name}=={version}" if version else name for name, version in sorted(missing.items())]
    return NoSolutionError(
        f"{', '.join(pins)} have no wheels that run in the image; sources are not built.",
        remedy=f"Let a container engine build them (engine: docker, sdists: {pins}; docs/engines.md), or build wheels "
        f"of them once on a machine like the image (pip wheel --no-deps {' '.join(pins)} -w wheels) and keep them in "
        "the folder 'wheels' beside the spec.",
        details=error.details,
    )


def _reported(settled: Settled, bounds: Bounds, progress: Progress) -> Settled:
    """Add which versions of Feast's lock gave way, and say all of it."""
    moved = [
        f"{candidate.name} {candidate.version} instead of {bounds.pins[candidate.name]}"
        for candidate in settled.candidates
        if candidate.name in bounds.pins and candidate.version != bounds.pins[candidate.name]
    ]
    everything = (*settled.gave_way, *moved)
    progress.say(f"The versions of {bounds.source} do not all fit together. Chosen: {', '.join(everything)}")
    return replace(settled, gave_way=everything)


def _contradicted(asked: Requirements, error: NoSolutionError) -> Iterator[Asked]:
    """Yield what is asked for by name, in one version or range, and is part of the contradiction."""
    text = "\n".join(error.details)
    for line in asked.asked:
        named = re.search(rf"(?<![\w.-]){re.escape(line.requirement.name)}(?![\w.-])", text, re.IGNORECASE)
        if line.name != "feast" and line.requirement.specifier and named:
            yield line


def _override(line: Asked, text: str) -> str:
    """Return a requirement with all extras that the contradiction names, which an override would else take away."""
    requirement = line.requirement
    matches = re.findall(_EXTRAS.format(name=re.escape(requirement.name)), text, re.IGNORECASE)
    extras = sorted({*requirement.extras, *(extra for group in matches for extra in group.split(","))})
    listed = f"[{','.join(extras)}]" if extras else ""
    marker = f" ; {requirement.marker}" if requirement.marker else ""
    return f"{requirement.name}{listed}{requirement.specifier}{marker}"

"""Authentication challenges: what a registry asks for in ``WWW-Authenticate`` (RFC 9110, section 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  (RFC 9110's grammar, not a secret)
# Servers forget quotes and commas: values that only quoted strings may hold end at a space or comma, but that of a
# scope continues behind the comma of its actions.
_UNQUOTED = r'[^\s",]+(?:,(?:pull|push|delete|\*)(?![^\s,]))*'
_PARAMETER = re.compile(rf'\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_UNQUOTED}))(?:\s*(?:,|$)|\s+)')
_SCHEME = re.compile(rf"\s*,*\s*({_TOKEN})(?:\s+|\s*$|\s*,)")


@dataclass(frozen=True)
class Challenge:
    """One scheme (lower case) with its parameters (names in lower case)."""

    scheme: str
    parameters: Mapping[str, str]


def parse(header: str) -> tuple[Challenge, ...]:
    """Read a header that may hold several challenges; what cannot be read ends the list."""
    challenges: list[Challenge] = []
    position = 0
    while (match := _SCHEME.match(header, position)) is not None:
        parameters: dict[str, str] = {}
        position = match.end()
        while (pair := _PARAMETER.match(header, position)) is not None:
            name, quoted, plain = pair.groups()
            parameters[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            position = pair.end()
        challenges.append(Challenge(match[1].lower(), parameters))
    return tuple(challenges)


def choose(header: str) -> Challenge | None:
    """Return the challenge to answer: Bearer before Basic, None where neither is offered."""
    offered = {challenge.scheme: challenge for challenge in reversed(parse(header))}
    bearer = offered.get("bearer")
    return bearer if bearer and "realm" in bearer.parameters else offered.get("basic")

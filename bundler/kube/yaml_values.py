"""YAML documents of unknown origin as JSON values; the work grows with the bytes alone."""

from __future__ import annotations

from collections.abc import Iterator

from bundler.errors import SpecError
from bundler.kube import plain_yaml
from bundler.kube.yaml_budget import Budget
from bundler.model import limits
from bundler.model.descriptor import Json


def documents(text: str, budget: Budget | None = None) -> Iterator[Json]:
    """Yield the value of each document, None for an empty one; dates stay the text that was written.

    ``budget`` is what many texts share, a new one by default.

    Raises:
        ValueError: not YAML, past a limit (``limits.YAML_SIZE`` and below), a key twice in one mapping, a tag or a
            number that JSON has no value for, or an alias inside of what it names. Says the line.
    """
    if len(text) > limits.YAML_SIZE:
        raise ValueError(f"{len(text)} characters, more than the limit of {limits.YAML_SIZE}")
    try:
        yield from plain_yaml.documents(text)
    except plain_yaml.NotPlainError:
        from bundler.kube import yaml_events  # noqa: PLC0415  (PyYAML is a fifth of the start of a command)

        yield from yaml_events.documents(text, budget or Budget())


def read(text: str, file: str, *, remedy: str = "Correct the file.", budget: Budget | None = None) -> tuple[Json, ...]:
    """Parse every document of a file but the empty ones; raise ``SpecError`` naming the file where it is not YAML."""
    try:
        return tuple(document for document in documents(text, budget) if document is not None)
    except ValueError as error:
        raise SpecError(f"{file}: not YAML that can be used: {error}.", remedy=remedy) from error

"""Errors of an engine, and calls that it does not answer, as errors with remedies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import docker
import urllib3

from bundler.errors import ToolFailedError

_NO_SPACE: Final = "no space left on device"
FREE_SPACE: Final = "Free some space where the engine keeps its data."


@contextmanager
def explained(purpose: str) -> Iterator[None]:
    """Turn the engine's errors into errors with remedies; ``purpose`` completes "failed while ..."."""
    try:
        yield
    except docker.errors.APIError as error:
        message = str(error.explanation or error)
        remedy = FREE_SPACE if _NO_SPACE in message.lower() else ""
        raise ToolFailedError(f"The engine failed while {purpose}: {message.strip()}", remedy=remedy) from error
    # requests raises OSError; urllib3 raises its own errors while a stream is read.
    except (docker.errors.DockerException, OSError, urllib3.exceptions.HTTPError) as error:
        raise ToolFailedError(
            f"The engine does not answer while {purpose}: {error}.",
            remedy="Check that the engine is running, then run the command again.",
        ) from error

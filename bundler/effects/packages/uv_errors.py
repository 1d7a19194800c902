"""uv's messages when it cannot resolve, as errors with remedies."""

from __future__ import annotations

import re
from pathlib import Path

from bundler.effects.packages.index import TRUST, masked
from bundler.errors import BundlerError, LockError, RegistryError, ToolFailedError
from bundler.wheels.compatibility import ImagePython

_UNREACHABLE = re.compile(
    r"failed to fetch|error sending request|dns error|connection refused|timed out|certificate|could not be queried"
    r"|network connectivity is disabled|status (?:client|server) error \(|\b40[13] (?:Unauthorized|Forbidden)",
    re.IGNORECASE,
)
_UNTRUSTED = re.compile(r"invalid peer certificate: UnknownIssuer|UnknownIssuer|self-signed certificate", re.IGNORECASE)
_NO_WHEEL = re.compile(
    r"([A-Za-z0-9._-]+)((?:==|<|>|<=|>=)\S+)? ha(?:s|ve) no (?:usable )?wheels|Wheels are required for `([^`]+)`"
)
_UNREADABLE = re.compile(r"couldn't parse|unexpected|invalid version|file not found", re.IGNORECASE)
_NOT_FOUND = re.compile(
    r"Because (?:(\S+) was not found in the package registry|there is no version of (\S+) and you require \2)"
)


class NoSolutionError(LockError):
    """Requirements and constraints contradict each other; fewer constraints may have a solution."""


def wheel_remedy(requirement: str) -> str:
    """Return how to get a wheel that the index does not have."""
    return (
        f"Build it once on a machine like the image (pip wheel --no-deps '{requirement}' -w wheels) and keep it in the "
        "folder 'wheels' beside the spec, name it in 'sdists' for a container engine to build it, or ask for a release "
        "that has one."
    )


def explained(error: ToolFailedError, python: ImagePython, folder: Path, pins: str) -> BundlerError:
    """Return the error for what uv wrote.

    ``folder`` is the temporary folder of its input, removed from messages; ``pins`` is where constraints come from.
    """
    lines = (
        masked(line).removeprefix("error: ").replace(f"{folder}/requirements.in", "the spec") for line in error.details
    )
    details = tuple(line for line in lines if line.strip() and not line.startswith("warning:"))
    text = "\n".join(details)
    where = f"Python {python.full_version} on {python.platform}"
    if fault := _fault_of_the_index(text, details):
        return fault
    if match := _NO_WHEEL.search(text):
        name = match[1] or match[3]
        return NoSolutionError(
            f"{name}{match[2] or ''} has no wheel that runs in the image ({where}); sources are not built.",
            remedy=wheel_remedy(f"{name}{match[2]}" if (match[2] or "").startswith("==") else name),
            details=details,
        )
    if match := _NOT_FOUND.search(text):
        return LockError(
            f"The package index does not have {match[1] or match[2]}.",
            remedy="Correct name or version, or configure the index that has it (UV_INDEX).",
            details=details,
        )
    if _UNREADABLE.search(text):
        return LockError("A requirement cannot be read.", remedy="Correct it: see PEP 508.", details=details)
    if "No solution found" not in text:
        return ToolFailedError("uv failed while resolving the requirements.", remedy=error.remedy, details=details)
    return NoSolutionError(
        f"The requirements cannot be met together ({where}).",
        remedy="Change one of the requirements in the details."
        + (f" Versions that your requirements do not name come from {pins}." if pins else ""),
        details=details,
    )


def _fault_of_the_index(text: str, details: tuple[str, ...]) -> RegistryError | None:
    if _UNTRUSTED.search(text):
        return RegistryError(
            "The package index is not trusted: its certificate is not signed by a trusted authority.",
            remedy=TRUST,
            details=details,
        )
    if _UNREACHABLE.search(text):
        return RegistryError(
            "The package index refused or cannot be reached.",
            remedy="Check the index, proxy, certificates and login that uv or pip are configured with "
            "(UV_DEFAULT_INDEX, UV_INDEX, HTTPS_PROXY, SSL_CERT_FILE, ~/.netrc).",
            details=details,
        )
    return None

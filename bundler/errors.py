"""Every error that the program shows: a class for each exit code, with the problem and its remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line; unique, documented in docs/exit-codes.md."""

    DONE = 0
    BUG = 1
    USAGE = 2
    SPEC = 3
    TOOL_MISSING = 4
    TOOL_FAILED = 5
    VERIFICATION = 6
    REGISTRY = 7
    CLUSTER = 8
    ARTIFACTS = 9


class BundlerError(Exception):
    """An error that the user can act on: what happened, and what to do next.

    ``problem`` says what happened, to what, and what was seen; ``remedy`` what to do now. ``details`` are further
    lines (a program's output, a list of differences) shown below the sentence.
    """

    exit_code = ExitCode.BUG

    def __init__(self, problem: str, *, remedy: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy
        self.details = details

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}".strip()


class UsageError(BundlerError):
    """The command line cannot be carried out as it is written."""

    exit_code = ExitCode.USAGE


class SpecError(BundlerError):
    """The spec, the feature repo or the lock cannot be used as it stands."""

    exit_code = ExitCode.SPEC


class SeveralSpecProblemsError(SpecError):
    """Several of them, each with its remedy among the details."""


class SpecProblems:
    """Gathers the errors of parts that do not depend on each other, so that one run tells them all."""

    def __init__(self) -> None:
        self._errors: list[SpecError] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Keep the ``SpecError`` of the block, which ends there."""
        try:
            yield
        except SpecError as error:
            self._errors.append(error)

    def refuse(self) -> None:
        """Raise what was noted: one error as it is, several as one with all of them in its details."""
        if not self._errors:
            return
        if len(self._errors) == 1:
            raise self._errors[0]
        rows = (
            error.details if isinstance(error, SeveralSpecProblemsError) else (str(error), *error.details)
            for error in self._errors
        )
        details = tuple(dict.fromkeys(line for lines in rows for line in lines))
        raise SeveralSpecProblemsError("There are several problems.", remedy="Correct each.", details=details)


class LockError(SpecError):
    """The lock is stale or unreadable, or the requirements cannot be resolved."""


class ToolMissingError(BundlerError):
    """An external program is absent or too old."""

    exit_code = ExitCode.TOOL_MISSING

    @classmethod
    def of_all(cls, errors: Sequence[ToolMissingError]) -> ToolMissingError:
        """Return one error that says all that is missing."""
        if len(errors) == 1:
            return errors[0]
        details = tuple(str(error) for error in errors)
        return cls("Several programs that this needs are missing.", remedy="Install them.", details=details)


class ToolFailedError(BundlerError):
    """An external program or the operating system failed: non-zero exit, no space, no permission, timeout."""

    exit_code = ExitCode.TOOL_FAILED


class VerificationError(BundlerError):
    """Bytes do not match their digest, size or signature."""

    exit_code = ExitCode.VERIFICATION


class RegistryError(BundlerError):
    """A registry or package index refused or could not be reached."""

    exit_code = ExitCode.REGISTRY


class ClusterError(BundlerError):
    """The cluster is not reachable or not ready."""

    exit_code = ExitCode.CLUSTER


class ForbiddenError(ClusterError):
    """The cluster does not allow this user to do that."""


class ClusterUnreachableError(ClusterError):
    """The cluster does not answer, or does not accept this user's login."""

"""What the tests of one run share: what takes long is made once, and the workers get their tests in a good order."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

_STAGES: Final = ("tests/unit/", "tests/integration/", "tests/e2e/")
_BUILDS_THE_EXAMPLE: Final = "tests/e2e/test_reproducible.py::test_the_build_stays_below_250_megabytes_of_memory"
"""It runs beside the integration tests, so that the end-to-end tests need not wait for the bundle that they share."""
_LONGEST_FIRST: Final = (
    "tests/e2e/test_rehearse.py",
    "tests/e2e/test_engines.py",
    "tests/e2e/test_reproducible.py",
    "tests/e2e/test_interrupted.py",
)
_ONE_BY_ONE: Final = frozenset({"tests/e2e/test_reproducible.py", "tests/e2e/test_interrupted.py"})
"""Files whose tests share nothing but the example's bundle, so that each can run on any worker."""


class BySharing(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Give a worker one file of tests after the other, or one test where a file's tests share nothing.

    The grouping that pytest-xdist 3.8 has for this writes an attribute that pytest 9.2 does not read.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file in _ONE_BY_ONE else file


def in_stages(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return the tests in the order of unit, integration and end to end, and of the last the longest files first."""

    def place(item: pytest.Item) -> tuple[int, int]:
        if item.nodeid == _BUILDS_THE_EXAMPLE:
            return 1, -1
        file = item.nodeid.partition("::")[0]
        stage = next((number for number, start in enumerate(_STAGES) if file.startswith(start)), len(_STAGES))
        return stage, _LONGEST_FIRST.index(file) if file in _LONGEST_FIRST else len(_LONGEST_FIRST)

    return sorted(items, key=place)


def run_folder(factory: pytest.TempPathFactory) -> Path:
    """Return the temporary folder of this test run, which is the same for all of its workers."""
    own = factory.getbasetemp()
    return own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Any]) -> Any:
    """Return what ``make`` returned in the first worker of this run that asked for ``name``.

    Args:
        factory: Knows the folder of the run.
        name: Of what is made; a folder of this name is given to ``make``.
        make: Called once in a run, while the other workers that ask for the same wait. What it returns must be JSON.

    Raises:
        pytest.fail.Exception: ``make`` failed, in this worker or in another one.
    """
    folder = run_folder(factory) / name
    told = folder.with_suffix(".json")
    with _alone(folder.with_suffix(".lock")):
        if not told.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                made = {"value": make(folder)}
            except Exception as error:
                made = {"failed": f"{type(error).__name__}: {error}"}
                told.write_text(json.dumps(made))
                raise
            told.write_text(json.dumps(made))
    made = json.loads(told.read_text())
    if "failed" in made:
        pytest.fail(f"{name} could not be made in another worker: {made['failed']}")
    return made["value"]


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield

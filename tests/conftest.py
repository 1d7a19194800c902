"""What holds for every test: in CI nothing real is skipped, and a failure shows what the programs beside it said."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer

from tests.support import programs
from tests.support.sharing import BySharing, in_stages, run_folder


def pytest_configure() -> None:
    """Test on slow machines as on others, and let programs be interrupted also in the background of a shell.

    Such a shell lets its children ignore the signal, and theirs too; what has a handler here is at its default there.
    """
    # How fast this machine is at the moment is no fault of what is tested.
    settings.register_profile("any machine", suppress_health_check=[HealthCheck.too_slow], deadline=None)
    settings.load_profile("any machine")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> BySharing:
    """Say how tests are given to workers; called by pytest-xdist."""
    return BySharing(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the quick tests first."""
    items[:] = in_stages(items)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache that all builds of this test run share, on every worker; BUNDLER_TEST_CACHE keeps it between runs."""
    kept = os.environ.get("BUNDLER_TEST_CACHE")
    folder = Path(kept) if kept else run_folder(tmp_path_factory) / "cache"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip of an integration or end-to-end test into a failure where CI=true; show the logs of what runs."""
    report = yield
    real = item.get_closest_marker("integration") or item.get_closest_marker("e2e")
    if report.skipped and real and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {call.excinfo.value if call.excinfo else 'no reason'}"
    if report.failed:
        report.sections += [(f"log of {name}", programs.last_words(log)) for name, log in programs.LOGS.items()]
    return report

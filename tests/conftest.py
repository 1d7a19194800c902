"""In CI nothing is skipped: a test with real programs that skips has not shown what it is there to show."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip of an integration or end-to-end test into a failure where CI=true."""
    report = yield
    real = item.get_closest_marker("integration") or item.get_closest_marker("e2e")
    if report.skipped and real and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {call.excinfo.value if call.excinfo else 'no reason'}"
    return report

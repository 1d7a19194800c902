from __future__ import annotations

from pathlib import Path

import pytest

from bundler.effects.packages.uv_errors import explained
from bundler.errors import BundlerError, LockError, RegistryError, ToolFailedError
from bundler.model.platform import Platform
from bundler.wheels.compatibility import ImagePython

PYTHON = ImagePython((3, 11), "3.11.2", (2, 36), Platform("linux", "arm64"))


def told(*lines: str, pins: str = "") -> BundlerError:
    return explained(ToolFailedError("uv failed", details=lines), PYTHON, Path("/tmp/x"), pins)


@pytest.mark.parametrize(
    "line",
    [
        "error: Failed to fetch: http://127.0.0.1:9/simple/demo/",
        "  cause: HTTP status server error (503 Service Unavailable) for url (https://index.example/simple/demo/)",
        "  cause: invalid peer certificate: UnknownIssuer",
        "hint: An index URL (https://index.example) could not be queried: lack of credentials (401 Unauthorized)",
        "  cause: Network connectivity is disabled, but the requested data wasn't found in the cache for: demo",
    ],
)
def test_what_the_index_did_is_an_error_of_the_registry(line: str) -> None:
    assert isinstance(told("error: No solution found when resolving dependencies", line), RegistryError)


def test_a_version_that_looks_like_a_status_is_not_one() -> None:
    line = "  cause: Because you require demo==4.401 and demo<4.403, we can conclude that your requirements are..."
    error = told("error: No solution found when resolving dependencies", line)
    assert isinstance(error, LockError)
    assert "cannot be met together (Python 3.11.2 on linux/arm64)" in error.problem


def test_what_has_no_wheel_is_named_with_the_command_that_makes_one() -> None:
    error = told(
        "error: No solution found when resolving dependencies",
        "  cause: Because pyspark==3.5.3 has no usable wheels and you require pyspark==3.5.3, we can conclude that ...",
    )
    assert isinstance(error, LockError)
    assert error.problem.startswith("pyspark==3.5.3 has no wheel")
    assert "pip wheel --no-deps 'pyspark==3.5.3' -w wheels" in error.remedy
    assert "'sdists'" in error.remedy


def test_our_temporary_folder_warnings_and_logins_are_not_shown() -> None:
    error = told(
        "warning: Failed to inspect Python interpreter from search path",
        "error: Couldn't parse requirement in `/tmp/x/requirements.in` at position 0",
        "  index https://me:s3cret@index.example/simple",
    )
    assert error.problem == "A requirement cannot be read."
    assert error.details == (
        "Couldn't parse requirement in `the spec` at position 0",
        "  index https://***@index.example/simple",
    )


def test_a_fault_that_is_not_about_requirements_is_the_tools() -> None:
    error = told("error: Failed to parse: `uv.toml`", "  cause: TOML parse error at line 1, column 1")
    assert isinstance(error, ToolFailedError)


def test_a_certificate_that_is_not_trusted_is_told_with_what_to_do() -> None:
    error = told(
        "error: Failed to fetch: https://x.example/simple/", "  cause: invalid peer certificate: UnknownIssuer"
    )
    assert "not trusted" in error.problem
    assert "update-ca-certificates" in error.remedy

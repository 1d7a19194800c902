"""The engines that other tests stand on run a real image, with no network, as any user."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import engines, images
from tests.support.engines import Engine
from tests.support.unpacked import unpacked

pytestmark = pytest.mark.integration

NAME = "localhost/bash:test"
# Bash alone: it counts the lines of the table of routes, of which the first one is the heading.
SCRIPT = """
mapfile -t routes < /proc/net/route
echo "user $UID, ${#routes[@]} line(s) of routes, status $(exit 7; echo $?)"
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of bash and nothing else, without a network to fetch one from."""
    return images.make_layout(tmp_path_factory.mktemp("bash") / "layout", "x", images.program("bash"))


@pytest.fixture(scope="module", params=["docker", "podman"])
def engine(request: pytest.FixtureRequest, image: str) -> Iterator[Engine]:
    with {"docker": engines.docker, "podman": engines.podman}[request.param]() as started:
        started.take(image, NAME)
        yield started


def test_an_engine_runs_an_image_as_any_user_without_a_network(engine: Engine) -> None:
    ran = engine.run(NAME, SCRIPT, "--user", "54321:0")
    assert ran.status == 0, ran.output
    assert "user 54321, 1 line(s) of routes" in ran.output


def test_an_engine_tells_how_a_program_ended(engine: Engine) -> None:
    assert engine.run(NAME, "echo last words; exit 7").status == 7


def test_an_image_unpacked_by_umoci_runs_as_any_user_without_a_network(image: str) -> None:
    with unpacked(image) as runtime_bundle:
        ran = runtime_bundle.run(SCRIPT, user=54321, read_only=True)
        refused = runtime_bundle.run("echo > /file", user=0, read_only=True)
    assert ran.status == 0, ran.output
    assert "user 54321, 1 line(s) of routes" in ran.output
    assert "Read-only file system" in refused.output
    assert refused.status == 1

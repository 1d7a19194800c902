"""What can be wrong with an engine is one clear error each: rights, age, space, its end in the middle of a build."""

from __future__ import annotations

import gc
import os
import signal
import socketserver
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from bundler.effects.engine import build as engine_build
from bundler.effects.engine import connection as engine_connection
from bundler.effects.engine.connection import EngineChoice
from bundler.errors import ToolFailedError
from tests.integration.test_engine_build import BASE, Notes, build
from tests.support import engines, host_images
from tests.support.programs import require_root

pytestmark = pytest.mark.integration
_NOBODY = 65534


def _use(address: str) -> None:
    choice = EngineChoice("docker", {"DOCKER_HOST": address})
    with engine_connection.connected(choice, "test-faults"):
        pass


@contextmanager
def old_engine(socket: Path) -> Iterator[None]:
    """Answer as a Docker of 2015 does when it is asked for its version."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"Version": "1.7.0", "ApiVersion": "1.19"}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "somebody"

        def log_message(self, *_: object) -> None:
            pass

    with socketserver.ThreadingUnixStreamServer(str(socket), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def forgetful() -> Iterator[None]:
    """Collect the sockets that docker-py forgets to close where it cannot connect them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def test_an_engine_that_is_too_old_is_to_be_upgraded(tmp_path: Path) -> None:
    with (
        old_engine(tmp_path / "s"),
        pytest.raises(ToolFailedError, match="API versions below") as caught,
    ):
        _use(f"unix://{tmp_path / 's'}")
    assert "Upgrade the engine" in caught.value.remedy


@pytest.mark.usefixtures("forgetful")
def test_a_socket_without_rights_says_who_may_use_it(tmp_path: Path) -> None:
    require_root("dockerd")
    for folder in (tmp_path, *tmp_path.parents):  # pytest's own are for this user alone
        if folder.stat().st_uid == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o111)
    with old_engine(tmp_path / "s"):
        (tmp_path / "s").chmod(0o600)
        os.seteuid(_NOBODY)
        try:
            with pytest.raises(ToolFailedError, match="Permission denied") as caught:
                _use(f"unix://{tmp_path / 's'}")
        finally:
            os.seteuid(0)
    assert "the group docker" in caught.value.remedy


def test_an_engine_without_space_is_told_from_one_that_is_broken(tmp_path: Path) -> None:
    tar = host_images.write(tmp_path / "root.tar", host_images.SHELL)
    with engines.docker(space=40) as started:
        engines.call([*started.program, "import", tar, BASE])
        choice = EngineChoice("docker", {"DOCKER_HOST": started.program[-1]})
        filling = "RUN while echo 0123456789012345678901234567890123456789012345678901234567890123; do :; done > /full"
        with (
            pytest.raises(ToolFailedError, match="failed at this step of the Dockerfile: RUN while") as caught,
            engine_connection.connected(choice, "test-faults") as engine,
        ):
            engine_build.run(engine, build(filling), Notes())
    assert "Free some space" in caught.value.remedy


@pytest.mark.usefixtures("forgetful")
def test_an_engine_that_ends_in_the_middle_of_a_step_is_one_error(tmp_path: Path) -> None:
    tar = host_images.write(tmp_path / "root.tar", host_images.SHELL)

    class Killing(Notes):
        """Somebody ends the engine when the long step has begun."""

        def note(self, text: str) -> None:
            if "sleep" in text:
                os.kill(pid, signal.SIGKILL)

    with engines.docker() as started:
        pid = int((Path(started.program[-1].removeprefix("unix://")).parent / "pid").read_text())
        engines.call([*started.program, "import", tar, BASE])
        choice = EngineChoice("docker", {"DOCKER_HOST": started.program[-1]})
        with (
            pytest.raises(ToolFailedError, match="does not answer while building") as caught,
            engine_connection.connected(choice, "test-faults") as engine,
        ):
            engine_build.run(engine, build("RUN sleep 30"), Killing())
    assert "is running" in caught.value.remedy

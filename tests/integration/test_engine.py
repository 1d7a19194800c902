"""A real Docker and a real Podman, driven through their API: what is made is as asked, and goes with the run."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from bundler.effects.engine import connection as engine_connection
from bundler.effects.engine.api import Engine
from bundler.effects.engine.connection import EngineChoice
from bundler.effects.engine.container import ContainerPlan, EngineContainer
from bundler.errors import ToolFailedError
from tests.support import engines, host_images

pytestmark = pytest.mark.integration
IMAGE = "localhost/busy:1"


@pytest.fixture(scope="module")
def docker_host() -> Iterator[str]:
    with engines.docker() as started:
        yield started.program[-1]


@pytest.fixture(scope="module")
def busybox(tmp_path_factory: pytest.TempPathFactory, docker_host: str) -> str:
    """An image of this machine's own shell, with the libraries that it needs."""
    tar = host_images.write(tmp_path_factory.mktemp("image") / "root.tar", host_images.SHELL)
    subprocess.run(["docker", "-H", docker_host, "import", str(tar), IMAGE], check=True, capture_output=True)
    return IMAGE


@pytest.fixture
def engine(docker_host: str) -> Iterator[Engine]:
    choice = EngineChoice("docker", {**os.environ, "DOCKER_HOST": docker_host})
    with engine_connection.connected(choice, "test-engine") as found:
        yield found


def test_a_container_joins_the_network_of_another_that_leads_nowhere(engine: Engine, busybox: str) -> None:
    owner = engine.create(ContainerPlan("owner", busybox, ("/bin/sleep", "60"), hosts={"redis.stores": "127.0.1.1"}))
    owner.start()
    plan = ContainerPlan("joined", busybox, ("/bin/sh", "-c", "cat /etc/hosts /proc/net/route; id"), network=owner)
    joined = engine.create(plan)
    joined.start()
    assert joined.wait(10).exit_code == 0
    said = joined.logs()
    assert "127.0.1.1\tredis.stores" in said
    assert said[-2].startswith("Iface")  # no route below the heading


def test_a_volume_that_is_empty_stays_empty_and_keeps_its_mode(engine: Engine, busybox: str) -> None:
    volume = engine.volume("data")
    mounts = {"/data": volume}
    first = engine.create(ContainerPlan("a", busybox, ("/bin/sleep", "60"), mounts=mounts, privileged_user=True))
    first.put("/data", {"a/b": b"text"})
    first.start()
    assert first.run(("/bin/chmod", "0777", "/data")).status == 0
    second = engine.create(
        ContainerPlan(
            "b",
            busybox,
            ("/bin/sh", "-c", "cat a/b && touch /data/c"),
            working_folder="/data",
            mounts=mounts,
            user="5:0",
        )
    )
    second.start()
    assert (second.wait(10).exit_code, second.logs()) == (0, ("text",))


def test_a_command_says_how_it_ended(engine: Engine, busybox: str) -> None:
    one = engine.create(ContainerPlan("c", busybox, ("/bin/sleep", "60")))
    one.start()
    ran = one.run(("/bin/sh", "-c", "echo out; echo err >&2; exit 3"))
    assert (ran.status, sorted(ran.last_lines)) == (3, ["err", "out"])


def test_nothing_is_left_behind(docker_host: str, busybox: str) -> None:
    choice = EngineChoice("docker", {**os.environ, "DOCKER_HOST": docker_host})
    with pytest.raises(KeyboardInterrupt):
        _interrupted(choice, busybox)
    for listing in (["ps", "--all", "--quiet"], ["volume", "ls", "--quiet"]):
        done = subprocess.run(["docker", "-H", docker_host, *listing], capture_output=True, text=True, check=True)
        assert done.stdout == ""


def _interrupted(choice: EngineChoice, image: str) -> None:
    with engine_connection.connected(choice, "gone") as found:
        mounts = {"/v": found.volume("v")}
        found.create(ContainerPlan("c", image, ("/bin/sleep", "60"), mounts=mounts)).start()
        raise KeyboardInterrupt


@pytest.mark.parametrize("chosen", ["used", "named"])
def test_an_engine_is_found_by_docker_context(docker_host: str, busybox: str, chosen: str, tmp_path: Path) -> None:
    environment = {"DOCKER_CONFIG": str(tmp_path)}
    context = ["docker", "context"]
    made = {**os.environ, **environment}
    subprocess.run([*context, "create", "site", "--docker", f"host={docker_host}"], env=made, check=True)
    if chosen == "used":
        subprocess.run([*context, "use", "site"], env=made, check=True)
    choice = EngineChoice("docker", environment | ({"DOCKER_CONTEXT": "site"} if chosen == "named" else {}))
    with engine_connection.connected(choice, "by-context") as found:
        one = found.create(ContainerPlan("c", busybox, ("/bin/sh", "-c", "exit 7")))
        one.start()
        assert one.wait(10).exit_code == 7


def test_an_image_that_is_not_there_is_an_error_for_people(engine: Engine) -> None:
    with pytest.raises(ToolFailedError, match="No such image"):
        engine.create(ContainerPlan("d", "localhost/nowhere:1", ("x",)))


def test_an_engine_that_is_not_there_is_an_error_for_people() -> None:
    choice = EngineChoice("docker", {"DOCKER_HOST": "unix:///nowhere/docker.sock"})
    with pytest.raises(ToolFailedError, match="cannot be used"), engine_connection.connected(choice, "x"):
        pass


def _answer(server: socket.socket, answers: list[bytes]) -> None:
    """Send one answer a connection, each in one packet."""
    for answer in answers:
        connection, _ = server.accept()
        with connection:
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(65536)
            length = re.search(rb"content-length: (\d+)", request.lower())
            while length and len(request.partition(b"\r\n\r\n")[2]) < int(length[1]):
                request += connection.recv(65536)
            connection.sendall(answer)


def test_output_that_comes_in_one_packet_with_the_headers_is_not_lost(tmp_path: Path) -> None:
    frame = b"\x01\0\0\0" + (4).to_bytes(4, "big") + b"out\n"
    stream = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n" + frame

    def document(text: bytes) -> bytes:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        return head % len(text) + text

    address = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        answers = [document(b'{"Id": "e"}'), stream, document(b'{"ExitCode": 3}')]
        thread = threading.Thread(target=_answer, args=(server, answers), daemon=True)
        thread.start()
        api = docker.APIClient(base_url=f"unix://{address}", version="1.41", timeout=10)
        ran = EngineContainer(api, ContainerPlan("c", IMAGE, ()), "c").run(("/bin/echo", "out"))
        thread.join(10)
    assert (ran.output, ran.status) == ("out\n", 3)

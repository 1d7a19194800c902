"""Builds in a real Docker and a real Podman: what fails is said with its step, and nothing is left behind."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from bundler.effects.engine import build as engine_build
from bundler.effects.engine import connection as engine_connection
from bundler.effects.engine import runs as engine_runs
from bundler.effects.engine.api import Engine
from bundler.effects.engine.build import Build, ContextFile
from bundler.effects.engine.connection import EngineChoice
from bundler.errors import ToolFailedError, ToolMissingError
from bundler.model.digest import Digest
from bundler.oci import saved_image
from bundler.render import dockerfile
from bundler.render.dockerfile import SystemPackages
from tests.support import engines, host_images
from tests.support.programs import require
from tests.unit.test_dockerfile import RECIPE

pytestmark = pytest.mark.integration
BASE = "localhost/test-build/base:1"


@dataclass(frozen=True)
class Kitchen:
    """An engine, found by its environment, with a base of this machine's own shell."""

    name: str
    environment: Mapping[str, str]
    program: tuple[str, ...]

    @contextmanager
    def connected(self) -> Iterator[Engine]:
        choice = EngineChoice(self.name, {**os.environ, **self.environment})
        with engine_connection.connected(choice, "test-build") as engine:
            yield engine

    def listed(self, *command: str) -> set[str]:
        ran = engines.call([*self.program, *command], self.environment)
        assert ran.status == 0, ran.output
        return set(ran.output.split())

    def everything(self) -> set[str]:
        """Return every image, also without a name, and every container, also of a build."""
        containers = ["ps", "--all"] + (["--external"] if self.name == "podman" else [])
        full = "--quiet", "--no-trunc"
        return self.listed("images", "--all", *full) | self.listed(*containers, *full)


@pytest.fixture(scope="module", params=["docker", "podman"])
def kitchen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kitchen]:
    folder = tmp_path_factory.mktemp(request.param)
    tar = host_images.write(folder / "root.tar", host_images.SHELL)
    if request.param == "docker":
        with engines.docker() as started:
            yield _with_base(Kitchen("docker", {"DOCKER_HOST": started.program[-1]}, started.program), tar)
        return
    with pytest.MonkeyPatch.context() as patching, engines.podman_home(folder) as environment:
        for variable, value in environment.items():  # of the service, too, which is started with what this process has
            patching.setenv(variable, value)
        yield _with_base(Kitchen("podman", environment, ("podman",)), tar)


def _with_base(made: Kitchen, tar: Path) -> Kitchen:
    assert engines.call([*made.program, "import", tar, BASE], made.environment).status == 0
    return made


def text(path: str, content: str) -> ContextFile:
    raw = content.encode()
    return ContextFile(path, len(raw), lambda: io.BytesIO(raw), Digest.of(raw))


def build(*instructions: str, network: str = "none") -> Build:
    lines = "\n".join((f"FROM {BASE} AS first", *instructions))
    return Build((text("Dockerfile", lines), text("files/a", "one\n")), "localhost/test-build/made:1", network)


@dataclass
class Notes:
    """A task that remembers what it was told."""

    told: list[str] = field(default_factory=list)

    def advance(self, amount: int) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Remember."""
        self.told.append(text)


def test_an_image_is_built_and_taken_out_and_nothing_stays(kitchen: Kitchen, tmp_path: Path) -> None:
    before, notes = kitchen.everything(), Notes()
    stages = (f"FROM {BASE}", "COPY --from=first /made /made", "COPY files/ /files/", 'LABEL told="yes"')
    with kitchen.connected() as engine:
        made = build("RUN cat /proc/net/route > /made", *stages)
        engine_build.run(engine, made, notes)
        engine_build.save(engine, made.name, tmp_path / "saved.tar")
        assert kitchen.everything() > before
    assert kitchen.everything() == before
    with saved_image.opened(tmp_path / "saved.tar") as saved:
        assert saved.config.labels["told"] == "yes"
        assert len(saved.layers) == 3
    assert any("COPY files/ /files/" in told for told in notes.told)


def test_a_step_without_a_network_has_no_route_and_one_with_it_has_the_hosts(kitchen: Kitchen) -> None:
    routes = len(Path("/proc/net/route").read_text().splitlines())
    check = "RUN n=0; while read -r line; do n=$((n+1)); done < /proc/net/route; test $n"
    with kitchen.connected() as engine:
        engine_build.run(engine, build(f"{check} -le 1"), Notes())
        engine_build.run(engine, build(f"{check} -eq {routes}", network="host"), Notes())


def test_a_step_that_fails_is_named_with_its_last_lines(kitchen: Kitchen) -> None:
    before = kitchen.everything()
    failing = build("RUN echo fine", r"RUN printf '\033[31mthe reason\033[0m\n' >&2; exit 7", "COPY files/ /x/")
    with pytest.raises(ToolFailedError, match="failed at this step of the Dockerfile: RUN printf") as caught:
        _run(kitchen, failing)
    assert "the reason" in caught.value.details
    assert any("7" in line for line in caught.value.details[-1:])
    assert kitchen.everything() == before


def _run(kitchen: Kitchen, made: Build) -> None:
    with kitchen.connected() as engine:
        engine_build.run(engine, made, Notes())


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("write /var/x: no space left on device", "Free some space"),
        ("E: Unable to locate package nowhere", "system_packages"),
        ("W: Failed to fetch http://x  Could not resolve 'x'", "package sources"),
    ],
)
def test_the_remedy_is_for_what_the_step_said(kitchen: Kitchen, said: str, remedy: str) -> None:
    with pytest.raises(ToolFailedError) as caught:
        _run(kitchen, build(f'RUN echo "{said}"; exit 1'))
    assert remedy in caught.value.remedy


def test_a_base_that_is_not_there_is_one_error(kitchen: Kitchen) -> None:
    made = build()
    absent = replace(made, files=(text("Dockerfile", "FROM localhost/nowhere:1\n"),))
    with pytest.raises(ToolFailedError, match="localhost/nowhere"):
        _run(kitchen, absent)


def test_an_interrupted_build_leaves_no_container_and_no_image(kitchen: Kitchen) -> None:
    before = kitchen.everything()

    class Interrupting(Notes):
        """Somebody presses Ctrl-C when the long step has begun."""

        def note(self, text: str) -> None:
            if "sleep" in text:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), kitchen.connected() as engine:
        engine_build.run(engine, build("RUN echo one > /one", "RUN sleep 30", "RUN echo two"), Interrupting())
    _await(lambda: kitchen.everything() == before)
    assert kitchen.everything() == before


KILLED = """
import os, sys
from pathlib import Path
from bundler.effects.engine import build as engine_build
from bundler.effects.engine import connection as engine_connection
from bundler.effects.engine import runs as engine_runs
from bundler.effects.engine.connection import EngineChoice
from tests.integration.test_engine_build import BASE, Notes, build

class Telling(Notes):
    def note(self, text):
        print(text, flush=True)

with engine_connection.connected(EngineChoice(sys.argv[1], dict(os.environ)), "bundler-killed") as engine:
    with engine_runs.noted(Path(sys.argv[2]), engine):
        engine.api.tag(BASE, "localhost/bundler-killed/base", "latest")
        stages = "RUN echo one > /one", "FROM localhost/bundler-killed/base", "RUN sleep 30", "RUN echo two"
        engine_build.run(engine, build(*stages), Telling())
"""


def test_what_a_killed_build_left_is_removed_by_the_next_one(kitchen: Kitchen, tmp_path: Path) -> None:
    before = kitchen.everything()
    environment = {**os.environ, **kitchen.environment}
    command = [sys.executable, "-c", KILLED, kitchen.name, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert any("sleep" in line for line in process.stdout)
        process.kill()
    assert kitchen.everything() > before
    assert [note.name for note in tmp_path.iterdir()] == ["bundler-killed"]
    with kitchen.connected() as engine, engine_runs.noted(tmp_path, engine):
        assert {note.name for note in tmp_path.iterdir()} == {"test-build"}
    assert kitchen.everything() == before
    assert not [*tmp_path.iterdir()]


PLAYING = """
import os, sys, time
from pathlib import Path
from bundler.effects.engine import connection as engine_connection
from bundler.effects.engine import runs as engine_runs
from bundler.effects.engine.container import ContainerPlan
from bundler.effects.engine.connection import EngineChoice
from tests.integration.test_engine_build import BASE

with engine_connection.connected(EngineChoice(sys.argv[1], dict(os.environ)), "rehearsal-killed") as engine:
    with engine_runs.noted(Path(sys.argv[2]), engine):
        engine.api.tag(BASE, "localhost/rehearsal-killed/image", "1")
        volume = engine.volume("data")
        asleep = {"image": "localhost/rehearsal-killed/image:1", "command": ("sleep", "60")}
        first = engine.create(ContainerPlan("net", mounts={"/data": volume}, **asleep))
        first.start()
        engine.create(ContainerPlan("pod", network=first, mounts={"/data": volume}, **asleep)).start()
        print("playing", flush=True)
        time.sleep(60)
"""


def test_what_a_killed_rehearsal_left_is_removed_by_the_next_run(kitchen: Kitchen, tmp_path: Path) -> None:
    def everything() -> set[str]:
        names = kitchen.listed("images", "--format={{.Repository}}")
        return kitchen.everything() | names | kitchen.listed("volume", "ls", "--quiet")

    before = everything()
    environment = {**os.environ, **kitchen.environment}
    command = [sys.executable, "-c", PLAYING, kitchen.name, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "playing\n"
        process.kill()
    assert len(everything() - before) >= 4, "two containers, a volume, a name"
    with kitchen.connected() as engine:
        listed = engine.api.containers
        worst = patch.object(engine.api, "containers", lambda **every: sorted(listed(**every), key=_network_first))
        with worst, engine_runs.noted(tmp_path, engine):
            pass
    assert everything() == before
    assert not [*tmp_path.iterdir()]


def _network_first(row: Mapping[str, Any]) -> bool:
    """Order containers as is worst for removing them; engines list those of one second at random."""
    return not any(name.endswith("-net") for name in row["Names"])


def _await(reached: object) -> None:
    """Wait until something holds: engines clean up after a build that nobody listens to, in their own time."""
    pause = threading.Event()
    for _ in range(60):
        if callable(reached) and reached():
            return
        pause.wait(0.25)


def test_no_engine_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    choice = EngineChoice("podman", {"XDG_RUNTIME_DIR": str(tmp_path)})
    with pytest.raises(ToolMissingError, match="podman"), engine_connection.connected(choice, "x"):
        pass


@pytest.mark.parametrize("system", [None, SystemPackages("apt", ("a", "b=1")), SystemPackages("rpm", ("a",))])
@pytest.mark.parametrize("sources", [(), ("one", "two")])
@pytest.mark.parametrize("user", ["", "1001:0"])
def test_the_dockerfile_is_clean_to_hadolint(
    system: SystemPackages | None, sources: tuple[str, ...], user: str
) -> None:
    beside = Path(sys.executable).parent / "hadolint"
    hadolint = str(beside) if beside.exists() else require("hadolint")
    made = dockerfile.render(replace(RECIPE, system=system, sources=sources, user=user, writable="feast/x.json"))
    assert len(made) == (2 if system else 1)
    for content in made.values():
        done = subprocess.run([hadolint, "-"], input=content, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")

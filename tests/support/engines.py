"""Real container engines for the tests: a dockerd of their own, and a Podman with a storage of its own."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.programs import require, require_root, serving

_TIMEOUT = 60.0
# Podman's own defaults may be more than this session is allowed to give.
_LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")


@dataclass(frozen=True)
class Ran:
    """What a program did; output and errors in one text."""

    status: int
    output: str


def call(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Ran:
    """Run a program to its end."""
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    return Ran(done.returncode, done.stdout)


@dataclass(frozen=True)
class Engine:
    """An engine: how its program is called, and how skopeo puts an image into it under a name."""

    program: tuple[str, ...]
    transport: str
    copy_options: tuple[str, ...] = ()
    run_options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def take(self, source: str, name: str) -> None:
        """Copy an image into the engine by skopeo."""
        done = call(["skopeo", "copy", "-q", *self.copy_options, source, f"{self.transport}{name}"])
        assert done.status == 0, done.output

    def run(self, name: str, script: str, *options: str) -> Ran:
        """Run a bash script in a container without any network, and remove the container."""
        # Removed afterwards: with --rm, Podman 4.3 may lose the exit code to the removal.
        container = f"run-{secrets.token_hex(4)}"
        command = (*self.program, "run", "--name", container, "--network", "none", *self.run_options, *options)
        ran = call([*command, "--entrypoint", "bash", name, "-ec", script], self.environment)
        call([*self.program, "rm", "--force", container], self.environment)
        return ran


@contextmanager
def docker(space: int | None = None) -> Iterator[Engine]:
    """Start a dockerd that touches nothing of the host's network; stop it and remove its data.

    ``space`` is how much that may be, in MB; its process id is in the file ``pid`` beside its socket.
    """
    daemon = require_root("dockerd")
    with tempfile.TemporaryDirectory(prefix="dkr-") as name:  # a short path: sockets allow 108 characters
        folder = Path(name)
        if space:
            (folder / "data").mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={space}m", "tmpfs", folder / "data"], check=True)
        socket = f"unix://{folder}/docker.sock"
        options = [f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
        client = (require("docker"), "-H", socket)
        try:
            with serving(
                [daemon, "--iptables=false", "--bridge=none", f"--host={socket}", *options],
                folder / "log",
                lambda: call([*client, "info"]).status == 0,
                timeout=_TIMEOUT,
            ):
                yield Engine(client, "docker-daemon:", ("--dest-daemon-host", socket))
        finally:
            _clear(folder)


def _clear(folder: Path) -> None:
    """End what an engine left running, and take away what is mounted below its folder.

    A daemon that was killed leaves its containers; Podman's cleanup after a container may outlive a reset, and then
    makes the storage anew.
    """
    _kill("cmdline", f"{folder}/")
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for place in reversed(mounted):
        if place.startswith(f"{folder}/"):
            call(["umount", "--lazy", place])


def _kill(kind: str, text: str) -> None:
    """Kill the processes that have a text in their ``cmdline`` or ``environ``; but for this one."""
    for file in Path("/proc").glob(f"[0-9]*/{kind}"):
        process = int(file.parent.name)
        with suppress(OSError):
            if process != os.getpid() and text.encode() in file.read_bytes():
                os.kill(process, signal.SIGKILL)


@contextmanager
def podman() -> Iterator[Engine]:
    """Use Podman with a storage of its own, and remove that."""
    require("podman")
    require("runc")
    with tempfile.TemporaryDirectory(prefix="pod-") as name:
        root, run = f"{name}/root", f"{name}/run"
        storage = f"containers-storage:[overlay@{root}+{run}]"
        # runc, as Docker uses it: crun refuses hosts that mount cgroup versions 1 and 2 side by side.
        places = (f"--root={root}", f"--runroot={run}", f"--tmpdir={name}/tmp")
        program = ("podman", *places, "--cgroup-manager=cgroupfs", "--runtime=runc")
        try:
            yield Engine(program, storage, run_options=_LIMITS)
        finally:
            call([*program, "system", "reset", "--force"])
            _clear(Path(name))


@contextmanager
def podman_home(folder: Path) -> Iterator[Mapping[str, str]]:
    """Yield the variables by which any Podman, also one that is started elsewhere, uses a storage of its own."""
    require("podman")
    require("runc")
    with tempfile.TemporaryDirectory(prefix="pod-") as name:  # a short path, and no other file system below it
        engine = folder / "containers.conf"
        own = f'tmp_dir = "{name}/tmp"'  # the common one goes with the first that is reset
        engine.write_text(f'[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n{own}\n')
        storage = folder / "storage.conf"
        storage.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{name}/root"\nrunroot = "{name}/run"\n')
        environment = {"CONTAINERS_CONF": str(engine), "CONTAINERS_STORAGE_CONF": str(storage)}
        try:
            yield environment
        finally:
            _kill("environ", f"CONTAINERS_STORAGE_CONF={storage}\0")  # services of tests that killed who started them
            call(["podman", "system", "reset", "--force"], environment)
            _clear(Path(name))

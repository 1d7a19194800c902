"""Real stores for the tests: Redis and PostgreSQL on loopback ports, each with a password."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.programs import free_port, require, serving

HOST = "127.0.0.1"
# Debian keeps the programs of the server off PATH, one folder a version.
_DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


@dataclass(frozen=True)
class Redis:
    """A Redis that runs."""

    port: int
    password: str = field(repr=False)
    host: str = HOST

    @property
    def connection_string(self) -> str:
        """The address as Feast's ``connection_string`` has it."""
        return f"{self.host}:{self.port},password={self.password}"

    def ask(self, *commands: str) -> list[str]:
        """Send commands of one word each argument, after the login; return the lines of all answers but the login's."""
        text = "".join(f"{command}\r\n" for command in (f"AUTH {self.password}", *commands, "QUIT"))
        with socket.create_connection((self.host, self.port), timeout=10) as connection:
            connection.sendall(text.encode())
            with connection.makefile("rb") as answer:
                lines = answer.read().decode().split("\r\n")
        if lines[0] != "+OK":
            raise ConnectionError(lines[0])
        return lines[1:-2]


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL that runs, with one user and one database."""

    port: int
    password: str = field(repr=False)
    user: str = "feast"
    database: str = "feast"
    host: str = HOST

    @property
    def url(self) -> str:
        """The address as SQLAlchemy takes it, with Feast's driver."""
        return f"postgresql+psycopg://{self.user}:{self.password}@{self.host}:{self.port}/{self.database}"

    def ask(self, query: str) -> str:
        """Run a query by psql and return what it prints, bare; raise ``ConnectionError`` where psql fails."""
        command = [require("psql", *_DEBIAN), "--no-psqlrc", "--no-align", "--tuples-only", "--no-password"]
        command += ["--host", self.host, "--port", str(self.port), "--username", self.user, "--dbname", self.database]
        done = subprocess.run(
            [*command, "--command", query],
            env={**os.environ, "PGPASSWORD": self.password, "PGCONNECT_TIMEOUT": "5"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            raise ConnectionError(done.stderr)
        return done.stdout.strip()


@contextmanager
def redis() -> Iterator[Redis]:
    """Run a Redis that keeps nothing on disk."""
    program = require("redis-server")
    store = Redis(free_port(), secrets.token_hex(12))
    with tempfile.TemporaryDirectory(prefix="redis-") as name:
        folder = Path(name)
        (folder / "redis.conf").write_text(
            f"bind {HOST}\nport {store.port}\nrequirepass {store.password}\ndir {folder}\nsave ''\nappendonly no\n"
        )
        with serving([program, folder / "redis.conf"], folder / "log", lambda: _answers(store)):
            yield store


def _answers(store: Redis) -> bool:
    try:
        return store.ask("PING") == ["+PONG"]
    except OSError:
        return False


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a PostgreSQL of its own data, as somebody who is not root."""
    initdb, server = require("initdb", *_DEBIAN), require("postgres", *_DEBIAN)
    store = Postgres(free_port(), secrets.token_hex(12))
    user = _somebody()
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        data = folder / "data"
        (folder / "password").write_text(store.password)
        for path in (folder, folder / "password"):
            os.chown(path, -1 if user is None else user, -1)
        options = [f"--pwfile={folder / 'password'}", "--auth=scram-sha-256", "--no-sync", "--locale=C"]
        _run([initdb, "--pgdata", data, "--username", store.user, "--encoding=UTF8", *options], user)
        _run([server, "--single", "-D", data, "postgres"], user, f"CREATE DATABASE {store.database}\n")
        command: list[str | Path] = [
            server,
            "-D",
            data,
            "-h",
            HOST,
            "-p",
            str(store.port),
            "-c",
            "unix_socket_directories=",
        ]
        # SIGINT ends it without waiting for those who are still connected.
        with serving(
            [*command, "-c", "fsync=off"], folder / "log", lambda: _ready(store), user=user, end=signal.SIGINT
        ):
            yield store
    finally:
        shutil.rmtree(folder)


def _somebody() -> int | None:
    """Return who runs the server: PostgreSQL refuses to run as root."""
    return None if os.geteuid() else pwd.getpwnam("nobody").pw_uid


def _run(command: Sequence[str | Path], user: int | None, text: str = "") -> None:
    done = subprocess.run(
        [str(part) for part in command],
        input=text,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout}"


def _ready(store: Postgres) -> bool:
    try:
        return store.ask("SELECT 1") == "1"
    except ConnectionError:
        return False

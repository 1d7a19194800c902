"""Every reader takes the same bundles: what one accepts and another refuses is a fault of ours.

The corpus is in ``tests/support/hostile_cases.py``. ``python -m tests.integration.test_readers_agree`` writes the table
in ``docs/readers.md`` anew.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import pytest

from bundler.cli import program
from bundler.model import layout
from bundler.steps.transport import load, serve
from tests.support import hostile_cases, memory_registry
from tests.support.hostile import Draft, Place
from tests.support.memory import peak_of
from tests.unit import packed

TABLE = Path(__file__).resolve().parents[2] / "docs" / "readers.md"
RESOURCES = Path(program.__file__).resolve().parents[1] / "resources"
# What the readers that need no bundler say that they do not check.
UNCHECKED = {
    "verify.py": {Place.IMAGES, Place.DOCUMENTS},
    "install.sh": {Place.TAR, Place.MANIFEST, Place.IMAGES, Place.DOCUMENTS, Place.NAMES},
}
SECONDS = 5.0  # of processor time
MEGABYTES = 150
_PROCESSES = 2
# A delta is read, and then refused for what it is (2), or because its base is not there (7); no case here is one.
ACCEPTED, REFUSED = 0, 6


class _ReadError(Exception):
    """A bundle was read, and everything after that is left out."""


@contextmanager
def read_only() -> Iterator[None]:
    """Let ``serve`` and ``load`` end where they have read the bundle."""

    @contextmanager
    def listening(*_: object) -> Iterator[None]:
        raise _ReadError
        yield

    def find(*_: object) -> object:
        return type("Engine", (), {"load": lambda *_: None})()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serve, "listening", listening)
        patch.setattr(load._Engine, "find", find)
        yield


def run(*arguments: str | Path) -> tuple[int, str, float]:
    """Run a command in this process; return its exit code, what it said, and its seconds of processor time."""
    said = io.StringIO()
    began = time.process_time()
    status: object = None
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            program.main([str(argument) for argument in arguments])
        except SystemExit as ended:
            status = ended.code
        except _ReadError:
            status = 0
    assert isinstance(status, int), said.getvalue()
    return status, said.getvalue(), time.process_time() - began


def commands(registry: str, honest: Path) -> dict[str, Callable[[Path], tuple[str | Path, ...]]]:
    target = ("--registry", f"{registry}/x", "--plain-http", "--retry-times", "0")
    return {
        "inspect": lambda path: ("inspect", path),
        "verify": lambda path: ("verify", "--quiet", path),
        "push": lambda path: ("push", "--quiet", path, *target),
        "serve": lambda path: ("serve", "--quiet", path),
        "load": lambda path: ("load", "--quiet", path),
        "install": lambda path: ("install", "--quiet", path, "--registry", "r.example/x", "--dry-run=client"),
        "diff": lambda path: ("diff", honest, path),
    }


def run_verifier(path: Path) -> tuple[int, str]:
    command = [sys.executable, "-I", str(RESOURCES / layout.VERIFIER), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def run_installer(path: Path, folder: Path) -> tuple[int, str] | None:
    """Unpack a bundle as the documents say, and verify it with the trusted script; None where tar unpacks nothing."""
    folder.mkdir()
    unpacked = subprocess.run(
        ["tar", "--no-same-owner", "-xf", path, "-C", folder], capture_output=True, text=True, check=False
    )
    if unpacked.returncode or not any(folder.iterdir()):
        return None
    script = folder / layout.INSTALL_SCRIPT
    script.unlink(missing_ok=True)
    script.write_bytes((RESOURCES / layout.INSTALL_SCRIPT).read_bytes())
    done = subprocess.run(["sh", script, "verify"], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@lru_cache
def table() -> tuple[dict[str, dict[str, int]], tuple[str, ...]]:
    """Return the exit code of every reader for every case, and what was wrong besides.

    Processes of their own share the cases: two processors take half of the time, and nothing measures their coverage.
    """
    with ProcessPoolExecutor(_PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        parts = list(pool.map(_part, range(_PROCESSES)))
    found = {name: row for rows, _ in parts for name, row in rows.items()}
    return {name: found[name] for name in hostile_cases.CASES}, tuple(line for _, wrong in parts for line in wrong)


def _part(position: int) -> tuple[dict[str, dict[str, int]], list[str]]:
    rows: dict[str, dict[str, int]] = {}
    wrong: list[str] = []
    with (
        tempfile.TemporaryDirectory() as place,
        memory_registry.running(memory := memory_registry.MemoryRegistry()) as registry,
        read_only(),
    ):
        folder = Path(place)
        honest = packed.bundle(folder).path
        draft = Draft.of(honest)
        readers = commands(registry, honest)
        for number, (name, (_, make)) in list(enumerate(hostile_cases.CASES.items()))[position::_PROCESSES]:
            path = folder / f"{number}.bundle.tar"
            path.write_bytes(make(draft.copy()))
            row = rows[name] = {}
            for reader, arguments in readers.items():
                row[reader], said, seconds = run(*arguments(path))
                if seconds > SECONDS:
                    wrong.append(f"{name}: {reader} took {seconds:.1f} s")
                if any(letter < " " and letter not in "\n\t" for letter in said):
                    wrong.append(f"{name}: {reader} steers the terminal: {said[:200]!r}")
            row["verify.py"], said = run_verifier(path)
            if "Traceback" in said:
                wrong.append(f"{name}: verify.py: {said[-300:]}")
            if (installed := run_installer(path, folder / f"{number}")) is not None:
                row["install.sh"] = installed[0]
            if row["verify"] and memory.manifests:
                wrong.append(f"{name}: a manifest at the registry")
            memory.manifests.clear()
            path.unlink()
    return rows, wrong


def text(rows: dict[str, dict[str, int]]) -> str:
    """Return the table as a document."""
    names = [*next(iter(rows.values()))]
    lines = [
        "# Readers and what they refuse",
        "",
        "Each row is a bundle with one fault, each column a reader: 0 is accepted, 6 refused. A test writes this.",
        "The commands agree on every row. `verify.py` and `install.sh verify` say in one line what they do not check:",
        "what images, Kubernetes manifests and other documents say; `install.sh` sees nothing of the tar, and `-` is a",
        "tar that `tar` does not unpack.",
        "",
        f"| case | {' | '.join(names)} |",
        f"|---|{'---|' * len(names)}",
    ]
    lines += [f"| {case} | {' | '.join(str(row.get(name, '-')) for name in names)} |" for case, row in rows.items()]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", hostile_cases.CASES)
def test_all_readers_say_the_same(name: str) -> None:
    place, row = hostile_cases.CASES[name][0], table()[0][name]
    expected = ACCEPTED if place is Place.NOTHING else REFUSED
    own = {reader: code for reader, code in row.items() if reader not in UNCHECKED}
    assert set(own.values()) == {expected}, own
    for reader, places in UNCHECKED.items():
        if reader in row and (place not in places or row[reader] != ACCEPTED):
            assert row[reader] == expected, reader


def test_no_case_takes_long_steers_a_terminal_or_reaches_a_tag() -> None:
    assert table()[1] == ()


def test_the_table_in_the_documents_is_this_one() -> None:
    assert TABLE.read_text(encoding="utf-8") == text(table()[0]), "python -m tests.integration.test_readers_agree"


@pytest.mark.parametrize(
    "name",
    [
        "bundle.json: very many lists",
        "index.json: very many names",
        "image: very many names",
        "image: indexes of 512 platforms",
        "Kubernetes: aliases of aliases",
        "Kubernetes: large",
        "bill of materials: very many values",
    ],
)
def test_no_case_takes_much_memory(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.bundle.tar"
    path.write_bytes(hostile_cases.CASES[name][1](Draft.of(packed.bundle(tmp_path).path)))
    command = [sys.executable, "-m", "bundler", "verify", "--quiet", str(path)]
    assert peak_of(command, REFUSED) >> 20 < MEGABYTES


if __name__ == "__main__":
    found, faults = table()
    TABLE.write_text(text(found), encoding="utf-8")
    sys.stdout.write("".join(f"{fault}\n" for fault in faults))

"""Rules that the import contracts cannot hold: who touches disk, programs, network, environment and clock."""

from __future__ import annotations

import ast
import collections
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import tomllib

from bundler.effects import offline_program

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "bundler"

# What touches the world, by the name that it is called by.
OUTSIDE = frozenset(
    {
        *("open", "os.open", "io.open", "os.scandir", "os.listdir", "os.walk", "os.stat"),
        *("subprocess.run", "subprocess.Popen", "os.system", "os.execv", "os.fork"),
        *("socket.socket", "socket.create_connection", "tempfile.mkdtemp", "tempfile.mkstemp"),
        *(
            "tempfile.TemporaryDirectory",
            "tempfile.NamedTemporaryFile",
            "shutil.which",
            "shutil.rmtree",
            "shutil.copytree",
        ),
    }
)
# Methods of paths: what has such a method is taken for a path.
OUTSIDE_METHODS = frozenset(
    {
        *(
            "read_text",
            "read_bytes",
            "write_text",
            "write_bytes",
            "iterdir",
            "glob",
            "rglob",
            "is_file",
            "is_dir",
            "exists",
        ),
        *("mkdir", "unlink", "rmdir", "touch", "stat", "lstat", "symlink_to", "chmod"),
    }
)
ENVIRONMENT_AND_CLOCK = frozenset(
    {
        *("os.environ", "os.getenv", "os.getcwd", "Path.cwd", "Path.home"),
        *("time.time", "dt.datetime.now", "datetime.now", "datetime.datetime.now", "dt.date.today"),
    }
)

TOUCHES_THE_WORLD: Mapping[str, str] = {
    "cli/init.py": "asks before it overwrites the spec",
    "oci/filetree.py": "calls the function that a file of the tree brings, named open",
    "resources/__init__.py": "finds the package's own templates, installed or in a checkout",
    "steps/build/engine_context.py": "copies pip's own files into the build context",
    "steps/build/run.py": "tries whether the output folder can be written, before the long work",
    "steps/install/site_checklist.py": "makes the folder that --checklist names",
    "steps/lock/init.py": "looks at what lies beside a feature repo, and believes none of it",
    "steps/lock/requirements.py": "follows requirement files that include one another",
    "steps/lock/sdists.py": "hands requirements to uv in a temporary folder",
    "steps/rehearsal/filled_manifests.py": "lists the folder that --manifests names",
    "steps/transport/load.py": "looks for the program of a container engine",
    "wheels/archive.py": "is_dir of an entry in a zip, not of a path",
    "wheels/install.py": "calls the function that a wheel's entry brings, named open",
}
READS_ENVIRONMENT_OR_CLOCK: Mapping[str, str] = {
    "effects/blobs.py": "clock: how old a leftover of a killed run is",
    "effects/debian/host.py": "environment: the proxy that apt has, handed to mmdebstrap",
    "effects/kubectl.py": "environment: kubectl's own, which is handed on as it is",
    "effects/packages/bytecode.py": "environment: where interpreters of other versions are installed",
    "effects/packages/index.py": "environment: how pip and uv are configured on this host",
    "effects/process.py": "environment: what programs get of it",
    "effects/registry/endpoint.py": "environment: the default of a connection, which tests replace",
    "effects/registry/faults.py": "clock: how far away a Retry-After is that names a date",
    "effects/registry/journal.py": "clock: how old a note of an unfinished upload is",
    "effects/skopeo/source.py": "current folder: relative paths in a source",
    "steps/lock/lockfile.py": "clock: when a new lock was made, unless SOURCE_DATE_EPOCH says it",
    "steps/rehearsal/run.py": "clock: until when the certificates of a rehearsal hold",
    "steps/sources/mirror.py": "environment: where registries.conf of this host lies",
}
# Programs of their own, which run elsewhere without the rest of the package.
PROGRAMS = ("resources/verify.py", "resources/online_probe.py", "resources/rehearsal/")


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attribute):
            return f"{_name(value)}.{attribute}"
    return "?"


def _uses(source: str, names: frozenset[str], methods: frozenset[str] = frozenset()) -> Iterator[tuple[int, str]]:
    """Yield line and name of each use: a name that is called or read, a method that is called on anything."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in methods:
            if _name(node.func.value) != "files":  # the module of effects that reads and writes for others
                yield node.lineno, f".{node.func.attr}"
        elif isinstance(node, ast.Attribute | ast.Name) and _name(node) in names:
            yield node.lineno, _name(node)


def _modules(*floors: str) -> Iterator[tuple[str, str]]:
    """Yield path below the package and text of every module that is not on one of the floors."""
    for file in sorted(PACKAGE.rglob("*.py")):
        path = file.relative_to(PACKAGE).as_posix()
        if not path.startswith((*(f"{floor}/" for floor in floors), *PROGRAMS)):
            yield path, file.read_text(encoding="utf-8")


def _offenders(names: frozenset[str], methods: frozenset[str], *floors: str) -> dict[str, list[str]]:
    found = {
        path: [f"{path}:{line} {name}" for line, name in _uses(text, names, methods)]
        for path, text in _modules(*floors)
    }
    return {path: uses for path, uses in found.items() if uses}


def test_only_effects_touch_disk_programs_and_network() -> None:
    found = _offenders(OUTSIDE, OUTSIDE_METHODS, "effects")
    assert found.keys() == TOUCHES_THE_WORLD.keys(), found


def test_only_the_command_line_reads_environment_and_clock() -> None:
    found = _offenders(ENVIRONMENT_AND_CLOCK, frozenset(), "cli")
    assert found.keys() == READS_ENVIRONMENT_OR_CLOCK.keys(), found


@pytest.mark.parametrize("text", ["open('x')", "p = Path('x').read_text()", "import subprocess\nsubprocess.run(['x'])"])
def test_a_planted_use_of_the_world_is_found(text: str) -> None:
    assert list(_uses(text, OUTSIDE, OUTSIDE_METHODS))


@pytest.mark.parametrize("text", ["import os\nos.environ['X']", "import time\ntime.time()", "dt.datetime.now()"])
def test_a_planted_use_of_environment_or_clock_is_found(text: str) -> None:
    assert list(_uses(text, ENVIRONMENT_AND_CLOCK))


def test_no_class_name_is_defined_twice() -> None:
    names = collections.Counter(
        node.name
        for _, text in _modules()
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_the_contract_of_the_offline_half_names_all_of_its_commands() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (offline,) = [contract for contract in contracts if contract["type"] == "forbidden"]
    held = {module.rpartition(".")[2] for module in offline["source_modules"]}
    assert held == {*offline_program.COMMANDS, "program"}

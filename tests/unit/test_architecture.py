"""Rules that the import contracts cannot hold: who touches disk, programs, network, environment and clock."""

from __future__ import annotations

import ast
import collections
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import pytest
import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bundler.effects import offline_program
from tests.support import syntax

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

# MODULE FUNCTION USE -> why it is there nevertheless.
TOUCHES_THE_WORLD: Mapping[str, str] = {
    "resources/__init__.py folder .is_dir": "finds the package's own templates, installed or in a checkout",
}
READS_ENVIRONMENT_OR_CLOCK: Mapping[str, str] = {
    "effects/blobs.py BlobStore.sweep time.time": "how old a leftover of a killed run is",
    "effects/debian/host.py proxy_environment os.environ": "the proxy that apt has, handed to mmdebstrap",
    "effects/kubectl.py Kubectl.find os.environ": "kubectl's own, which is handed on as it is",
    "effects/packages/bytecode.py _candidates os.environ": "where interpreters of other versions are installed",
    "effects/packages/index.py PackageIndexes.of_this_host os.environ": "how pip and uv are configured on this host",
    "effects/process.py _start os.environ": "what programs get of it",
    "effects/registry/endpoint.py _this_environment os.environ": "the default of a connection, which tests replace",
    "effects/registry/faults.py retry_after time.time": "how far away a Retry-After is that names a date",
    "effects/registry/journal.py Journal.tidy time.time": "how old a note of an unfinished upload is",
    "effects/skopeo/source.py _absolute Path.cwd": "relative paths in a source",
    "steps/rehearsal/run.py run_input dt.datetime.now": "until when the certificates of a rehearsal hold",
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


def _uses(source: str, names: frozenset[str], methods: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield ``FUNCTION USE`` for each use: a name that is called or read, a method that is called on anything.

    The function is named with its class, ``-`` stands for none.
    """
    return _uses_below(syntax.parsed(source), (), names, methods)


def _uses_below(
    node: ast.AST, within: tuple[str, ...], names: frozenset[str], methods: frozenset[str]
) -> Iterator[str]:
    where = ".".join(within) or "-"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in methods:
        if _name(node.func.value) != "files":  # the module of effects that reads and writes for others
            yield f"{where} .{node.func.attr}"
    elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load) and _name(node) in names:
        yield f"{where} {_name(node)}"
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        within = (*within, node.name)
    for child in ast.iter_child_nodes(node):
        yield from _uses_below(child, within, names, methods)


def _modules(*floors: str) -> Iterator[tuple[str, str]]:
    """Yield path below the package and text of every module that is not on one of the floors."""
    for file in sorted(PACKAGE.rglob("*.py")):
        path = file.relative_to(PACKAGE).as_posix()
        if not path.startswith((*(f"{floor}/" for floor in floors), *PROGRAMS)):
            yield path, file.read_text(encoding="utf-8")


def _offenders(names: frozenset[str], methods: frozenset[str], *floors: str) -> set[str]:
    return {f"{path} {use}" for path, text in _modules(*floors) for use in _uses(text, names, methods)}


def test_only_effects_touch_disk_programs_and_network() -> None:
    assert _offenders(OUTSIDE, OUTSIDE_METHODS, "effects") == TOUCHES_THE_WORLD.keys()


def test_only_the_command_line_reads_environment_and_clock() -> None:
    assert _offenders(ENVIRONMENT_AND_CLOCK, frozenset(), "cli") == READS_ENVIRONMENT_OR_CLOCK.keys()


@pytest.mark.parametrize("text", ["open('x')", "p = Path('x').read_text()", "import subprocess\nsubprocess.run(['x'])"])
def test_a_planted_use_of_the_world_is_found(text: str) -> None:
    assert list(_uses(text, OUTSIDE, OUTSIDE_METHODS))


@pytest.mark.parametrize("text", ["import os\nos.environ['X']", "import time\ntime.time()", "dt.datetime.now()"])
def test_a_planted_use_of_environment_or_clock_is_found(text: str) -> None:
    assert list(_uses(text, ENVIRONMENT_AND_CLOCK))


def _imports() -> Mapping[str, set[str]]:
    """Return module -> modules of the package that it imports anywhere, also for type checking or when it runs."""
    files = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): text for path, text in _modules()}
    imports: dict[str, set[str]] = {}
    for module, text in files.items():
        nodes = [node for node in ast.walk(syntax.parsed(text)) if isinstance(node, ast.ImportFrom) and node.module]
        named = {f"{node.module}.{alias.name}" for node in nodes for alias in node.names}
        named |= {str(node.module) for node in nodes}
        imports[module] = {name.removeprefix("bundler.") for name in named} & files.keys()
    return imports


def _circle(imports: Mapping[str, set[str]]) -> list[str]:
    """Return modules that import each other in a circle, none where there is no circle: leaves are taken off."""
    left = {module: set(imported) for module, imported in imports.items()}
    while leaves := {module for module, imported in left.items() if not imported & left.keys()}:
        for module in leaves:
            del left[module]
    return sorted(left)


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert _circle(_imports()) == []


def test_a_circle_is_found() -> None:
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


def test_no_class_name_is_defined_twice() -> None:
    names = collections.Counter(
        node.name
        for _, text in _modules()
        for node in syntax.parsed(text).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_the_contract_of_the_offline_half_forbids_every_other_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {canonicalize_name(Requirement(line).name) for line in project["project"]["dependencies"]}
    modules = {
        module
        for module, distributions in metadata.packages_distributions().items()
        if {canonicalize_name(name) for name in distributions} & needed - {"click", "pyyaml"}
    }
    contracts = project["tool"]["importlinter"]["contracts"]
    (offline,) = [contract for contract in contracts if contract["type"] == "forbidden"]
    assert {module for module in modules if not module.startswith("_")} == set(offline["forbidden_modules"])


def test_the_contract_of_the_offline_half_names_all_of_its_commands() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (offline,) = [contract for contract in contracts if contract["type"] == "forbidden"]
    held = {module.rpartition(".")[2] for module in offline["source_modules"]}
    assert held == {*offline_program.COMMANDS, "program"}

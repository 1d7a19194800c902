"""What the files around a feature repo declare: requirements and the Python for them, in the forms of many tools."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import yaml
from packaging.requirements import InvalidRequirement, Requirement

from bundler.model import toml_document

# Conda packages that are not packages of PyPI: the interpreter, compilers, libraries, programs.
_CONDA_ONLY: Final = re.compile(
    r"(_.*|lib.*|python|pip|setuptools|wheel|openjdk|gcc.*|gxx.*|c-compiler|cxx-compiler|compilers|cmake|make|git|nodejs"
    r"|cudatoolkit|cuda.*|mkl.*|openssl|ca-certificates|unixodbc|postgresql|redis-server|jupyter.*|notebook|conda.*)"
)
_CARET: Final = re.compile(r"[\^~](\d+(?:\.\d+)*)")


@dataclass(frozen=True)
class Declaration:
    """What one part of a file declares: ``part`` is empty for what is always installed, else e.g. ``extra dev``.

    ``requirements`` are lines of PEP 508. ``left`` are those that cannot be taken as they stand, each with the reason.
    """

    file: str
    part: str = ""
    requirements: tuple[str, ...] = ()
    python: str = ""
    left: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return f"{self.part} of {self.file}" if self.part else self.file


def pyproject(text: str, file: str) -> Iterator[Declaration]:
    """Yield what a pyproject.toml declares: PEP 621, PEP 735 and Poetry; nothing where it is not TOML."""
    document = _toml(text)
    project = _table(document.get("project"))
    if project:
        taken, left = _lines(project.get("dependencies"))
        yield Declaration(file, "", taken, str(project.get("requires-python", "")), left)
        for name, lines in _table(project.get("optional-dependencies")).items():
            yield Declaration(file, f"the extra {name}", *_with_left(lines))
    groups = _table(document.get("dependency-groups"))
    for name in groups:
        yield Declaration(file, f"the group {name}", *_with_left(_group(groups, name, frozenset())))
    poetry = _table(_table(document.get("tool")).get("poetry"))
    if poetry:
        yield _poetry(_table(poetry.get("dependencies")), file, "")
        for name, group in _table(poetry.get("group")).items():
            yield _poetry(_table(_table(group).get("dependencies")), file, f"the group {name}")


def _with_left(lines: object) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    taken, left = _lines(lines)
    return taken, "", left


def _group(groups: Mapping[str, object], name: str, seen: frozenset[str]) -> list[object]:
    """Return the lines of a dependency group with those of the groups that it includes."""
    rows = groups.get(name)
    lines: list[object] = []
    for row in rows if isinstance(rows, list) and name not in seen else []:
        inner = row.get("include-group") if isinstance(row, dict) else None
        lines += _group(groups, inner, seen | {name}) if isinstance(inner, str) else [row]
    return lines


def _poetry(rows: Mapping[str, object], file: str, part: str) -> Declaration:
    taken: list[str] = []
    left: list[str] = []
    python = ""
    for name, value in rows.items():
        chosen = value[0] if isinstance(value, list) and value else value
        row = chosen if isinstance(chosen, dict) else {"version": chosen}
        if name == "python":
            python = _specifier(str(row.get("version", "")))
        elif source := next((key for key in ("git", "path", "url", "file") if key in row), None):
            left.append(f"{name}: comes from {source} {row[source]}")
        elif row.get("optional") is True:
            left.append(f"{name}: is optional")
        else:
            extras = row.get("extras")
            listed = f"[{','.join(map(str, extras))}]" if isinstance(extras, list) else ""
            markers = f" ; {row['markers']}" if "markers" in row else ""
            taken.append(f"{name}{listed}{_specifier(str(row.get('version', '')))}{markers}")
    return Declaration(file, part, tuple(taken), python, tuple(left))


def _specifier(version: str) -> str:
    """Return a constraint of Poetry or Pipenv as PEP 440 has it: ``^1.2`` is ``>=1.2,<2``, a bare version a pin."""
    ranges = (text.strip() for text in version.replace("||", ",").split(","))
    return ",".join(filter(None, (_one_specifier(text) for text in ranges)))


def _one_specifier(text: str) -> str:
    if text in ("", "*"):
        return ""
    if text.startswith("~="):
        return text
    if match := _CARET.fullmatch(text):
        numbers = [int(number) for number in match[1].split(".")]
        kept = 1 if text.startswith("~") and len(numbers) == 1 else 2 if text.startswith("~") else _caret_width(numbers)
        upper = [*numbers[: kept - 1], numbers[kept - 1] + 1]
        return f">={match[1]},<{'.'.join(map(str, upper))}"
    return f"=={text}" if text[0].isdigit() else text.replace(" ", "")


def _caret_width(numbers: list[int]) -> int:
    """Return how many numbers of a version ``^`` counts: up to the first that is not zero."""
    return next((index + 1 for index, number in enumerate(numbers) if number), len(numbers))


def pipfile(text: str, file: str) -> Iterator[Declaration]:
    """Yield what a Pipfile declares."""
    document = _toml(text)
    python = str(_table(document.get("requires")).get("python_version", ""))
    main = _poetry(_table(document.get("packages")), file, "")
    yield Declaration(file, "", main.requirements, f"=={python}.*" if python else "", main.left)
    yield _poetry(_table(document.get("dev-packages")), file, "dev-packages")


def setup_cfg(text: str, file: str) -> Iterator[Declaration]:
    """Yield what a setup.cfg declares."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error:
        return
    options = parser["options"] if parser.has_section("options") else {}
    taken, left = _lines(options.get("install_requires", "").splitlines())
    yield Declaration(file, "", taken, options.get("python_requires", "").strip(), left)
    section = "options.extras_require"
    for name, lines in parser[section].items() if parser.has_section(section) else ():
        yield Declaration(file, f"the extra {name}", *_with_left(lines.splitlines()))


def setup_py(text: str, file: str) -> Iterator[Declaration]:
    """Yield what a setup.py writes out in its call of ``setup``; it is never run."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last one: absurd nesting
        return
    constants = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "setup":
            arguments = {keyword.arg: _literal(keyword.value, constants) for keyword in node.keywords}
            taken, left = _lines(arguments.get("install_requires"))
            if "install_requires" in arguments and arguments["install_requires"] is None:
                left = (*left, "install_requires: is computed when setup.py runs")
            yield Declaration(file, "", taken, str(arguments.get("python_requires") or ""), left)
            extras = arguments.get("extras_require")
            for name, lines in extras.items() if isinstance(extras, dict) else ():
                yield Declaration(file, f"the extra {name}", *_with_left(lines))


def fault(text: str, file: str) -> str:
    """Return why nothing can be read from a file, empty where it can."""
    try:
        if file.endswith((".yml", ".yaml")):
            yaml.safe_load(text)
        elif file.endswith(".toml") or file == "Pipfile":
            toml_document.parse(text)
        elif file.endswith(".py"):
            ast.parse(text)
    except (yaml.YAMLError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return ""


def _literal(node: ast.expr, constants: Mapping[str, ast.expr]) -> object:
    try:
        return ast.literal_eval(constants.get(node.id, node) if isinstance(node, ast.Name) else node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return None


def conda(text: str, file: str) -> Iterator[Declaration]:
    """Yield what an environment.yml declares: its pip lines, and what conda and PyPI call by the same name."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        return
    rows = _table(document).get("dependencies")
    taken: list[str] = []
    left: list[str] = []
    python = ""
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict):
            pip_taken, pip_left = _lines(row.get("pip"))
            taken, left = [*taken, *pip_taken], [*left, *pip_left]
            continue
        name, specifier = _conda_row(str(row))
        if name == "python":
            python = specifier
        elif _CONDA_ONLY.fullmatch(name):
            left.append(f"{name}: is a package of conda, not of PyPI; what is not Python goes into system_packages")
        else:
            taken.append(f"{name}{specifier}")
    yield Declaration(file, "", tuple(taken), python, tuple(left))


def _conda_row(row: str) -> tuple[str, str]:
    """Split a line such as ``conda-forge::numpy=1.26=py311_0``."""
    text = row.rpartition("::")[2].partition("#")[0].strip()
    match = re.match(r"([A-Za-z0-9._-]+)\s*(.*)", text)
    if not match:
        return text, ""
    name, rest = match[1].lower(), match[2].strip()
    if re.match(r"=[^=]", rest):
        version = rest[1:].partition("=")[0]
        return name, f"=={version}" if version.endswith("*") else f"=={version}.*"
    if rest and rest[0].isdigit():
        rest = f"=={rest.split()[0]}"
    return name, rest.replace(" ", "")


def requirement_lines(text: str, file: str) -> Declaration:
    """Return what a requirement file declares; its options and the files that it includes are read by others."""
    joined = re.sub(r"\\\r?\n", " ", text)
    lines = [re.sub(r"(^|\s+)#.*$", "", line).strip() for line in joined.splitlines()]
    taken, left = _lines([re.sub(r"\s--.*$", "", line) for line in lines if line and not line.startswith("-")])
    return Declaration(file, "", taken, "", left)


def _lines(rows: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the lines that are requirements of an index, and the others with the reason why they are not taken."""
    taken: list[str] = []
    left: list[str] = []
    for row in rows if isinstance(rows, list) else []:
        line = str(row).partition(" #")[0].strip()
        if not line or line.startswith("#"):
            continue
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            left.append(f"{line}: is not a requirement by name")
            continue
        if requirement.url:
            left.append(f"{requirement.name}: comes from {requirement.url}")
        else:
            taken.append(line)
    return tuple(taken), tuple(left)


def _toml(text: str) -> Mapping[str, object]:
    try:
        return toml_document.parse(text)
    except ValueError:
        return {}


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}

"""What projects declare is read in the forms of the tools that people use, and nothing of it is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.effects.packages import declared
from bundler.effects.packages.declared import Declaration
from bundler.effects.packages.surroundings import Surroundings
from bundler.feast.rules import supported
from bundler.model import spec_reader
from bundler.steps.lock import init

STORE = "project: shop\nregistry: /feast-data/registry.db\n"


def around(folder: Path, **files: str) -> Surroundings:
    for name, text in {"repo/feature_store.yaml": STORE, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return Surroundings(folder / "repo", folder)


PEP_621 = """\
[project]
requires-python = ">=3.12"
dependencies = ["feast[redis]>=0.60,<0.63", "holidays>=0.50", "ours @ git+https://git.example/ours"]
[project.optional-dependencies]
dev = ["ruff"]
"""
POETRY = """\
[tool.poetry.dependencies]
python = "^3.10"
feast = {version = "~0.61.0", extras = ["redis"]}
pandas = "2.2.1"
numpy = "^1.26"
ours = {path = "../ours"}
[tool.poetry.group.dev.dependencies]
pytest = "*"
"""


def test_pep_621_is_read_with_its_extras() -> None:
    main, extra = declared.pyproject(PEP_621, "pyproject.toml")
    assert main.requirements == ("feast[redis]>=0.60,<0.63", "holidays>=0.50")
    assert main.python == ">=3.12"
    assert main.left == ("ours: comes from git+https://git.example/ours",)
    assert (extra.place, extra.requirements) == ("the extra dev of pyproject.toml", ("ruff",))


def test_poetry_is_read_with_its_carets_and_groups() -> None:
    main, group = declared.pyproject(POETRY, "pyproject.toml")
    assert main.requirements == ("feast[redis]>=0.61.0,<0.62", "pandas==2.2.1", "numpy>=1.26,<2")
    assert (main.python, main.left) == (">=3.10,<4", ("ours: comes from path ../ours",))
    assert group.place == "the group dev of pyproject.toml"


@pytest.mark.parametrize(
    ("written", "meant"),
    [("^0.2.3", ">=0.2.3,<0.3"), ("^0.0.3", ">=0.0.3,<0.0.4"), ("~1", ">=1,<2"), ("*", ""), (">=1,<2", ">=1,<2")],
)
def test_a_constraint_of_poetry_is_one_of_pep_440(written: str, meant: str) -> None:
    (found,) = declared.pyproject(f'[tool.poetry.dependencies]\na = "{written}"\n', "p")
    assert found.requirements == (f"a{meant}",)


def test_dependency_groups_include_one_another_and_end() -> None:
    text = '[dependency-groups]\na = ["x", {include-group = "b"}]\nb = ["y", {include-group = "a"}]\n'
    assert [part.requirements for part in declared.pyproject(text, "p")] == [("x", "y"), ("y", "x")]


def test_an_environment_of_conda_is_read_by_names_that_pypi_shares() -> None:
    text = (
        "dependencies:\n  - python=3.12\n  - conda-forge::scikit-learn=1.3.2=py312\n  - openjdk=17\n  - pandas >=2\n"
        "  - pip:\n    - feast==0.64.0\n    - -e .\n"
    )
    (found,) = declared.conda(text, "environment.yml")
    assert found.requirements == ("scikit-learn==1.3.2.*", "pandas>=2", "feast==0.64.0")
    assert found.python == "==3.12.*"
    assert [line.partition(":")[0] for line in found.left] == ["openjdk", "-e ."]


def test_setup_files_and_pipfiles_are_read_without_being_run() -> None:
    (cfg,) = declared.setup_cfg("[options]\npython_requires = >=3.10\ninstall_requires =\n  feast==0.62.0\n", "s")
    assert (cfg.requirements, cfg.python) == (("feast==0.62.0",), ">=3.10")
    (setup,) = declared.setup_py("import os\nos.abort()\nsetuptools.setup(install_requires=['a', 'b>1'])\n", "s")
    assert setup.requirements == ("a", "b>1")
    main, _ = declared.pipfile('[packages]\nfeast = "==0.63.0"\n[requires]\npython_version = "3.11"\n', "Pipfile")
    assert (main.requirements, main.python) == (("feast==0.63.0",), "==3.11.*")


@pytest.mark.parametrize("text", ["", "[", "{{", "\0", "- - -", "[project]\ndependencies = 3\n", "dependencies: 3\n"])
def test_what_cannot_be_read_declares_nothing(text: str) -> None:
    readers = (declared.pyproject, declared.setup_cfg, declared.setup_py, declared.pipfile, declared.conda)
    for reader in readers:
        assert not [part for part in reader(text, "f") if part.requirements or part.left or part.python]


def test_a_range_of_feast_gives_its_newest_release(tmp_path: Path) -> None:
    found = around(tmp_path, **{"pyproject.toml": PEP_621}).feast()
    assert (found.version, found.source) == ("0.62.0", "the newest that pyproject.toml allows: feast<0.63,>=0.60")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("uv.lock", "[[package]]\nname = 'feast'\nversion = '0.64.0'\nsource = { git = 'https://git.example/f' }\n"),
        ("poetry.lock", "[[package]]\nname = 'feast'\nversion = '0.64.0'\n[package.source]\ntype = 'git'\n"),
        ("requirements.txt", "feast @ git+https://git.example/feast@v0.64.0\n"),
    ],
)
def test_no_release_is_taken_from_a_git_source(tmp_path: Path, file: str, text: str) -> None:
    assert not around(tmp_path, **{file: text}).feast().known


def test_requirement_files_are_found_in_folders_and_followed(tmp_path: Path) -> None:
    files = {
        "requirements/base.txt": "feast==0.63.0\n",
        "requirements/prod.txt": "-r base.txt\nholidays\n",
        "requirements/dev.txt": "-r prod.txt\nruff\n",
    }
    found = around(tmp_path, **files)
    assert [found.relative(path) for path in found.requirement_files] == [
        "requirements/base.txt",
        "requirements/prod.txt",
    ]
    assert found.feast().version == "0.63.0"
    assert list(found.left()) == ["requirements/dev.txt: not the requirements of servers"]


@pytest.mark.parametrize(
    ("files", "suite", "image"),
    [
        ({}, "bookworm", None),
        ({"pyproject.toml": "[project]\nrequires-python = '>=3.12'\n"}, "trixie", None),
        ({".python-version": "3.13.1\n"}, "trixie", None),
        ({".python-version": "3.11\n"}, "bookworm", None),
        ({".python-version": "3.12\n"}, "trixie", "3.12"),
        ({"pyproject.toml": "[project]\nrequires-python = '==3.12.*'\n"}, None, "3.12"),
        ({"environment.yml": "dependencies: [python=3.10]\n"}, None, "3.10"),
    ],
)
def test_the_base_has_a_python_that_fits(
    tmp_path: Path, files: dict[str, str], suite: str | None, image: str | None
) -> None:
    found = around(tmp_path, **files).python()
    assert (found.suite, found.image and found.image.partition(":")[2].partition("-")[0]) == (suite, image)


def test_the_spec_says_what_was_taken_from_where_and_what_was_not(tmp_path: Path) -> None:
    around(tmp_path, **{"pyproject.toml": PEP_621, "repo/old.ipynb": "{}", "repo/data/a.parquet": "x" * 200_000})
    proposal = init.propose(tmp_path / "repo")
    spec = spec_reader.read(proposal.text, "bundle.yaml")
    assert (spec.packages, spec.feast.extras, spec.base.debian) == (("holidays>=0.50",), ("redis",), "trixie")
    for line in (
        "# Taken from pyproject.toml:",
        "# Not taken: pyproject.toml: ours: comes from git+https://git.example/ours",
        "# Not taken: the extra dev of pyproject.toml: is not always installed",
        "The largest: data/a.parquet 200.0 kB",
        "# Looks like data: data/a.parquet",
        "# Looks left over: old.ipynb",
    ):
        assert line in proposal.text


def test_a_release_that_is_too_old_is_said_at_once_with_the_reason(tmp_path: Path) -> None:
    around(tmp_path, **{"requirements.txt": "feast==0.44.0\n"})
    proposal = init.propose(tmp_path / "repo")
    spec = spec_reader.read(proposal.text, "bundle.yaml")
    assert (spec.feast.version, spec.operator.version) == ("0.44.0", supported.NEWEST_OPERATOR)
    assert proposal.notes[0].startswith("Feast 0.44.0 is older than 0.50, the oldest that works: the operator starts")
    assert supported.too_old("0.50.0") == supported.too_old("not a version") == ""


def test_spark_and_flink_get_java(tmp_path: Path) -> None:
    around(tmp_path, **{"repo/feature_store.yaml": f"{STORE}batch_engine: {{type: spark.engine}}\n"})
    text = init.propose(tmp_path / "repo").text
    assert spec_reader.read(text, "bundle.yaml").system_packages == ("openjdk-17-jre-headless",)


def test_a_declaration_names_its_place() -> None:
    assert Declaration("a.toml").place == "a.toml"


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("pyproject.toml", "[project\n", "pyproject.toml: cannot be read: "),
        ("environment.yml", "a: [\n", "environment.yml: cannot be read: "),
        ("setup.py", "def (:\n", "setup.py: cannot be read: "),
        ("setup.py", "setup(install_requires=read())\n", "install_requires: is computed when setup.py runs"),
        (
            "pyproject.toml",
            "[project]\nrequires-python = '<3.10'\n",
            "Python <3.10 in pyproject.toml: none of the Pythons",
        ),
    ],
)
def test_what_init_could_not_use_is_said(tmp_path: Path, file: str, text: str, said: str) -> None:
    assert any(said in line for line in around(tmp_path, **{file: text}).left())


@pytest.mark.parametrize("text", ["3.13\n", "# of the team\n3.13.1\n3.11\n", "cpython-3.13\n", "python3.13\n"])
def test_the_python_of_the_developers_is_the_first_one_that_is_named(tmp_path: Path, text: str) -> None:
    assert around(tmp_path, **{".python-version": text}).python().suite == "trixie"

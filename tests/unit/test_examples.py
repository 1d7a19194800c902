"""The examples are whole: what their specs name is there, and the data is what its script makes."""

from __future__ import annotations

import runpy
from pathlib import Path

import pyarrow.parquet
import pytest

from bundler.feast.stores.feature_store_yaml import literal_credentials
from bundler.steps.lock import project

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("name", ["driver-stats", "official"])
def test_everything_that_an_examples_spec_names_is_there(name: str) -> None:
    loaded = project.load(EXAMPLES / name / "bundle.yaml")
    assert all((loaded.folder / file).is_file() for file in loaded.spec.requirements)
    assert [file.path for file in loaded.repo.files] == [
        "data/driver_stats.parquet",
        "definitions.py",
        "feature_store.yaml",
        "scoring.py",
    ]


def test_the_example_holds_no_credential() -> None:
    loaded = project.load(EXAMPLES / "driver-stats" / "bundle.yaml")
    assert literal_credentials(loaded.repo.config.document) == ()
    expected = ("POSTGRES_HOST", "POSTGRES_PASSWORD", "POSTGRES_USER", "REDIS_HOST", "REDIS_PASSWORD")
    assert loaded.repo.config.variables == expected


def test_the_examples_data_is_what_its_script_makes() -> None:
    made = runpy.run_path(str(EXAMPLES / "driver-stats" / "make_data.py"))["rows"]()
    held = pyarrow.parquet.read_table(EXAMPLES / "driver-stats/feature_repo/data/driver_stats.parquet").to_pylist()
    assert held == made
    assert len(held) == 120

"""What `init` proposes for ten feature repos as people publish them reads back and needs no hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.model import spec_reader
from bundler.steps.lock import init
from tests.support.public_repos import REPOS


@pytest.mark.parametrize("name", sorted(REPOS))
def test_init_proposes_a_spec_that_needs_no_hand(tmp_path: Path, name: str) -> None:
    repo = REPOS[name]
    proposal = init.propose(repo.write(tmp_path, name), folder=tmp_path)
    spec = spec_reader.read(proposal.text, "bundle.yaml")
    assert spec.feast.version == "0.66.0"
    assert spec.repo.path == repo.repo
    assert all((tmp_path / file).is_file() for file in spec.requirements)
    assert spec.deployment.credentials_secret == f"{name.replace('_', '-')}-credentials"


def test_packages_come_from_where_the_repo_names_them(tmp_path: Path) -> None:
    def read(name: str) -> tuple[list[str], list[str]]:
        proposal = init.propose(REPOS[name].write(tmp_path / name, name), folder=tmp_path / name)
        spec = spec_reader.read(proposal.text, "bundle.yaml")
        return list(spec.requirements), list(spec.packages)

    assert read("push") == (["requirements.txt"], [])
    assert read("packages") == (["requirements/base.txt"], [])
    assert read("pyproject") == ([], ["python-slugify>=8"])

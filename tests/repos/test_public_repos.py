"""Ten feature repos as people publish them go through init, lock, build and rehearse without a hand on the spec.

Run by ``make test-repos``: ten builds and ten rehearsals, which CI has no time for. CI lets the image's Feast judge the
same repos (``tests/e2e/test_feature_repos.py``) and has ``init`` read them (``tests/unit/test_public_repos.py``).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import bundler
from tests.support import engines, host_images
from tests.support.public_repos import REPOS

STORES = "localhost/stores:1"


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An engine with an image of Redis and PostgreSQL; its address."""
    tar = host_images.write_stores(tmp_path_factory.mktemp("stores") / "root.tar")
    with engines.docker() as engine:
        subprocess.run([*engine.program, "import", tar, STORES], check=True, capture_output=True)
        yield engine.program[-1]


@pytest.mark.parametrize("name", sorted(REPOS))
def test_a_repo_as_it_is_published_serves(docker: str, cache: Path, tmp_path: Path, name: str) -> None:
    repo = REPOS[name]
    folder, spec = repo.write(tmp_path / "project", name), tmp_path / "project" / "bundle.yaml"
    proposed = bundler("init", folder, "-o", spec)
    assert proposed.status == 0, proposed.stderr
    asked: list[str | Path] = ["-f", spec, "--cache-dir", cache]
    locked = bundler("lock", *asked)
    assert locked.status == 0, locked.stderr
    build: list[str | Path] = ["build", *asked, "-o", tmp_path / "dist", "--output", "json"]
    if repo.refused:
        refused = bundler(*build)
        assert refused.status == 3
        for said in repo.refused:
            assert said in refused.stderr
        for path, text in repo.edit.items():
            (tmp_path / "project" / path).write_text(text)
    built = bundler(*build)
    assert built.status == 0, built.stderr
    bundle = json.loads(built.stdout)["bundle"]
    stores = ("--redis", STORES, "--postgres", STORES)
    ran = bundler(
        "rehearse", bundle, "--engine", "docker", *stores, "--output", "json", environment={"DOCKER_HOST": docker}
    )
    assert ran.stdout, ran.stderr
    findings = [finding for section in json.loads(ran.stdout)["sections"] for finding in section["findings"]]
    assert [one for one in findings if one["status"] == "fail"] == []
    served = [one for one in findings if one["check"] == "online" and one["status"] == "pass"]
    assert len(served) == repo.online, findings

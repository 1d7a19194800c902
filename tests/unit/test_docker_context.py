"""Docker's contexts are found as its own program finds them, and what is wrong with one is said."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from bundler.effects.engine import docker_context
from bundler.errors import ToolFailedError, ToolMissingError

ENDPOINT = {"Host": "tcp://engine.example:2376", "SkipTLSVerify": False}


def written(folder: Path, meta: object, name: str = "site") -> dict[str, str]:
    place = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    place.mkdir(parents=True)
    (place / "meta.json").write_text(json.dumps(meta))
    return {"DOCKER_CONFIG": str(folder), "DOCKER_CONTEXT": name}


def test_without_a_choice_it_is_the_default(tmp_path: Path) -> None:
    assert docker_context.chosen({"DOCKER_CONFIG": str(tmp_path)}) is None
    (tmp_path / "config.json").write_text('{"currentContext": "default"}')
    assert docker_context.chosen({"DOCKER_CONFIG": str(tmp_path)}) is None


def test_the_variable_counts_more_than_the_configuration(tmp_path: Path) -> None:
    environment = written(tmp_path, {"Name": "site", "Endpoints": {"docker": ENDPOINT}})
    (tmp_path / "config.json").write_text('{"currentContext": "default"}')
    assert docker_context.chosen(environment) == {"base_url": "tcp://engine.example:2376", "tls": None}


def test_its_certificates_are_used(tmp_path: Path) -> None:
    environment = written(tmp_path, {"Endpoints": {"docker": ENDPOINT}})
    folder = tmp_path / "contexts" / "tls" / hashlib.sha256(b"site").hexdigest() / "docker"
    folder.mkdir(parents=True)
    for name in ("ca", "cert", "key"):
        (folder / f"{name}.pem").write_text(name)
    found = docker_context.chosen(environment)
    assert found
    assert found["tls"].cert == (str(folder / "cert.pem"), str(folder / "key.pem"))
    assert (found["tls"].ca_cert, found["tls"].verify) == (str(folder / "ca.pem"), True)


def test_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"currentContext": "nowhere"}')
    with pytest.raises(ToolMissingError, match="docker context 'nowhere' does not exist"):
        docker_context.chosen({"DOCKER_CONFIG": str(tmp_path)})


@pytest.mark.parametrize("meta", [[], {"Endpoints": {}}, {"Endpoints": {"docker": []}}])
def test_one_that_docker_did_not_write_is_named(tmp_path: Path, meta: object) -> None:
    with pytest.raises(ToolFailedError, match=r"meta\.json cannot be read"):
        docker_context.chosen(written(tmp_path, meta))

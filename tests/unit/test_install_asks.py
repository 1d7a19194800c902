"""Install says what goes where before it does, to whom it can ask; and lists it without a cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bundler.cli import console
from bundler.cli import install as command
from bundler.effects.kubectl import Kubectl
from bundler.errors import UsageError
from bundler.steps.install import run as install
from bundler.steps.install.run import InstallOptions
from tests.unit.test_install import MANIFESTS, OPERATOR, made

REGISTRY = "registry.site:5000/feast"


class Installing:
    """In the place of an install: remembers what it was asked, and refuses."""

    def __init__(self) -> None:
        self.asked: list[InstallOptions] = []

    def run(self, _: Path, options: InstallOptions, *__: object) -> None:
        self.asked.append(options)
        raise UsageError("not installed here")


@pytest.fixture
def installing(monkeypatch: pytest.MonkeyPatch) -> Installing:
    double = Installing()
    monkeypatch.setattr(install, "run", double.run)
    monkeypatch.setattr(Kubectl, "find", lambda *_, **__: Kubectl("kubectl"))
    monkeypatch.setattr(Kubectl, "server", lambda _: "https://cluster.site:6443")
    return double


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return made(tmp_path, MANIFESTS | OPERATOR)


def invoke(bundle: Path, *arguments: str, answer: str = "") -> Result:
    line = [str(bundle), "--registry", REGISTRY, *arguments]
    return CliRunner().invoke(command.command, line, input=answer)


@pytest.mark.parametrize(("answer", "installs"), [("y\n", 1), ("n\n", 0), ("", 0)])
def test_at_a_terminal_it_names_the_cluster_and_every_object_and_asks(
    installing: Installing, bundle: Path, monkeypatch: pytest.MonkeyPatch, answer: str, installs: int
) -> None:
    monkeypatch.setattr(console, "can_ask", lambda: True)
    done = invoke(bundle, answer=answer)
    assert "to the cluster https://cluster.site:6443, with images of registry.site:5000/feast" in done.stderr
    assert "FeatureStore feast/driver-stats" in done.stderr
    assert "Secret feast/credentials: must be there, with PASSWORD, USER" in done.stderr
    assert len(installing.asked) == installs


def test_nobody_is_asked_with_yes_in_a_dry_run_or_where_nobody_is(
    installing: Installing, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke(bundle)
    monkeypatch.setattr(console, "can_ask", lambda: True)
    invoke(bundle, "--yes")
    invoke(bundle, "--dry-run")
    assert [one.dry_run for one in installing.asked] == [False, False, True]


def test_the_clients_dry_run_lists_what_would_be_applied_in_its_order(installing: Installing, bundle: Path) -> None:
    done = invoke(bundle, "--dry-run=client")
    assert done.exit_code == 0
    lines = [line.strip() for line in done.stdout.splitlines()]
    wanted = [
        "Definitions",
        "Namespace feast",
        "ServiceAccount feast/feast-a",
        "FeatureStore feast/driver-stats",
        "Ingress feast/entrance",
        "Secret feast/credentials: must be there, with PASSWORD, USER",
    ]
    assert [line for line in dict.fromkeys(lines) if line in wanted] == wanted
    assert not installing.asked


def test_for_scripts_it_has_objects_with_the_sites_registry_and_no_value_of_a_secret(
    installing: Installing, bundle: Path, tmp_path: Path
) -> None:
    values = tmp_path / "values.env"
    values.write_text("PASSWORD=hunter2\nUSER=ada\n")
    secret = ("--secret", f"credentials={values}")
    done = invoke(bundle, "--part", "tenant", *secret, "--dry-run=client", "--output", "json")
    found = json.loads(done.stdout)
    (store,) = [one for one in found["objects"] if one["kind"] == "FeatureStore"]
    assert store["spec"]["services"]["onlineStore"]["server"]["image"] == f"{REGISTRY}/driver-stats:0.1.0"
    assert [one["given"] for one in found["secrets"] if one["name"] == "credentials"] == [True]
    assert not {"CustomResourceDefinition", "Namespace"} & {one["kind"] for one in found["objects"]}
    assert "hunter2" not in done.output
    assert all("data" not in one for one in found["objects"] if one["kind"] == "Secret")
    assert not installing.asked

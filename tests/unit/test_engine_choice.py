"""One option says who reads registries and another who bakes; what needs an engine is refused without one."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from bundler.cli import build as command
from bundler.cli import push as push_command
from bundler.effects.blobs import BlobStore
from bundler.errors import SpecError
from bundler.model.progress import SilentProgress
from bundler.model.spec import BundleSpec
from bundler.steps.build import run as build
from bundler.steps.build.request import BuildRequest
from tests.unit.manifest_cases import spec


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[BuildRequest]:
    """What the command asks for; nothing is built."""
    seen: list[BuildRequest] = []

    def refuse(request: BuildRequest, *_: object) -> None:
        seen.append(request)
        raise SpecError("not built here")

    monkeypatch.setattr(build, "run", refuse)
    return seen


@pytest.mark.parametrize(
    ("options", "reader", "engine"),
    [
        ([], "bundler", None),
        (["--engine", "none"], "bundler", "none"),
        (["--reader", "skopeo"], "skopeo", None),
        (["--engine", "docker"], "bundler", "docker"),
        (["--reader", "skopeo", "--engine", "podman"], "skopeo", "podman"),
    ],
)
def test_one_option_says_what_reads_and_another_what_bakes(
    asked: list[BuildRequest], options: list[str], reader: str, engine: str | None
) -> None:
    CliRunner().invoke(command.command, options)
    assert [(one.reader, one.engine) for one in asked] == [(reader, engine)]


@pytest.mark.parametrize(
    ("engine", "said"),
    [("skopeo", "--reader skopeo"), ("bundler", "--reader bundler"), ("containerd", "docker and podman")],
)
def test_another_word_is_answered_with_the_right_one(asked: list[BuildRequest], engine: str, said: str) -> None:
    done = CliRunner().invoke(command.command, ["--engine", engine])
    assert done.exit_code == 2
    assert said in done.output
    assert not asked


def test_what_push_called_engine_is_answered_with_its_new_name() -> None:
    done = CliRunner().invoke(push_command.command, ["x.tar", "--registry", "r.example", "--engine", "skopeo"])
    assert done.exit_code == 2
    assert "--client skopeo" in done.output


def _project(folder: Path, base: str) -> Path:
    repo = folder / "feature_repo"
    repo.mkdir()
    (repo / "feature_store.yaml").write_text(
        "project: p\nprovider: local\nregistry: /tmp/r.db\nonline_store: {type: sqlite, path: /tmp/o.db}\n"
        "entity_key_serialization_version: 3\n"
    )
    file = folder / "bundle.yaml"
    file.write_text(
        f"name: n\nversion: '1'\nfeast: {{version: 0.61.0}}\nbase: {{{base}}}\nregistry: {{host: r.example}}\n"
        "operator: {version: 0.61.0, preinstalled: true}\nsystem_packages: [libgeos-c1v5]\n"
        "deployment: {name: n, cronJob: {kubectl: {debian: trixie}}}\n"
    )
    return file


def test_system_packages_on_an_image_need_an_engine_and_that_is_said_first(tmp_path: Path) -> None:
    request = BuildRequest(_project(tmp_path, "image: registry.example/base:1"), tmp_path / "out", epoch=0)
    with pytest.raises(SpecError, match="only a container engine") as caught:
        build.run(request, BlobStore(tmp_path / "cache"), SilentProgress())
    assert "--engine podman" in caught.value.remedy
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a; curl evil", "$(x)", "a b", "-o=x", "a\nb", "*"])
def test_a_system_package_is_one_plain_word(name: str) -> None:
    plain = spec().model_dump(by_alias=True, exclude_unset=True)
    sound = ("libgeos-c1v5", "tzdata=2024a-0+deb12u1")
    assert BundleSpec.model_validate({**plain, "system_packages": [*sound]}).system_packages == sound
    with pytest.raises(ValueError, match="system_packages"):
        BundleSpec.model_validate({**plain, "system_packages": [name]})

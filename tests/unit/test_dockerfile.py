"""The Dockerfile says what each stage may reach, and nothing that enters it can become an instruction of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bundler.errors import SpecError
from bundler.model.lock import LockedWheel
from bundler.render import dockerfile
from bundler.render.dockerfile import DockerfileInputs, SystemPackages

RECIPE = DockerfileInputs(
    title="drivers-feature-server 1.0",
    base="localhost/bundler/base:sha256-" + "a" * 64,
    base_name="debian:bookworm, sha256:" + "a" * 64,
    user="1001:0",
    python="/usr/bin/python3.11",
    site_packages="/usr/local/lib/python3.11/dist-packages",
    home="/opt/feast",
    repo_folder="/opt/feast/feature_repo",
    epoch=315532800,
    labels={"dev.feast.version": "0.61.0"},
)


def instructions(recipe: DockerfileInputs, name: str = dockerfile.MAIN) -> list[str]:
    """Return the instructions of a file, continued lines joined."""
    text = dockerfile.render(recipe)[name].replace("\\\n", " ")
    return [" ".join(line.split()) for line in text.splitlines() if line.strip() and not line.startswith("#")]


def test_packages_are_installed_from_the_context_by_hash_and_only_what_was_installed_enters_the_image() -> None:
    lines = instructions(RECIPE)
    (install,) = [line for line in lines if "pip install" in line]
    for option in ("--no-index", "--find-links wheels", "--require-hashes", "--no-deps", "--no-compile"):
        assert option in install
    last = lines[lines.index("FROM base", 2) :]
    assert [line for line in last if line.startswith("COPY")] == [
        "COPY --from=packages /installed/ /",
        "COPY feature_repo/ /opt/feast/feature_repo/",
    ]
    assert last[-2:] == ["WORKDIR /opt/feast/feature_repo", "USER 1001:0"]


def test_without_system_packages_no_step_asks_for_a_network() -> None:
    (text,) = dockerfile.render(RECIPE).values()
    assert "No step needs a network" in text
    assert "WITH A NETWORK" not in text
    assert "apt-get" not in text


def test_system_packages_have_a_file_of_their_own_that_is_the_only_one_with_a_network() -> None:
    recipe = replace(RECIPE, system=SystemPackages("apt", ("libgeos-c1v5", "tzdata=2024a-0+deb12u1")))
    texts = dockerfile.render(recipe)
    assert list(texts) == [dockerfile.SYSTEM, dockerfile.MAIN]
    assert ["WITH A NETWORK" in text for text in texts.values()] == [True, False]
    lines = instructions(recipe, dockerfile.SYSTEM)
    assert lines[0] == f"ARG BASE={RECIPE.base}"
    assert lines[-1] == "USER 1001:0"
    (install,) = [line for line in lines if "apt-get install" in line]
    assert "--no-install-recommends libgeos-c1v5 tzdata=2024a-0+deb12u1 &&" in install
    assert instructions(recipe)[0] == f"ARG BASE={RECIPE.base}-system"


def test_a_base_of_red_hats_family_uses_dnf_or_microdnf() -> None:
    lines = instructions(replace(RECIPE, system=SystemPackages("rpm", ("geos",))), dockerfile.SYSTEM)
    (install,) = [line for line in lines if "microdnf" in line]
    assert '"$manager" install -y --setopt=install_weak_deps=0 geos && "$manager" clean all' in install


def test_sources_are_built_in_a_stage_of_their_own() -> None:
    lines = instructions(replace(RECIPE, sources=("docopt", "other")))
    (build,) = [line for line in lines if "pip wheel" in line]
    for option in ("--no-index", "--find-links tools", "--no-binary docopt,other", "--require-hashes"):
        assert option in build
    assert "COPY --from=sources /built/ built/" in lines


def test_a_base_that_runs_as_root_keeps_its_user() -> None:
    assert instructions(replace(RECIPE, user=""))[-1] == "WORKDIR /opt/feast/feature_repo"
    assert not any(line.startswith("USER") for line in instructions(replace(RECIPE, user="", packages=False)))


def test_labels_are_taken_as_they_are_written() -> None:
    labels = {"a": 'git@x:"team" $HOME \\ end', "b": "plain"}
    assert r'LABEL a="git@x:\"team\" \$HOME \\ end" b="plain"' in instructions(replace(RECIPE, labels=labels))


@pytest.mark.parametrize(
    "recipe",
    [
        replace(RECIPE, labels={"source": "https://x\nRUN curl evil"}),
        replace(RECIPE, user="1001\nRUN curl evil"),
        replace(RECIPE, python="/usr/bin/python3 -c evil; true"),
        replace(RECIPE, base_name="x\nRUN curl evil"),
    ],
    ids=["label", "user", "python", "base"],
)
def test_what_would_become_an_instruction_is_refused(recipe: DockerfileInputs) -> None:
    with pytest.raises(SpecError, match="A Dockerfile cannot hold"):
        dockerfile.render(recipe)


def test_requirements_name_the_one_hash_of_each_release() -> None:
    wheel = LockedWheel(
        name="feast", version="0.61.0", filename="feast-0.61.0-py3-none-any.whl", size=1, sha256="b" * 64
    )
    assert dockerfile.requirements([wheel]) == f"feast==0.61.0 --hash=sha256:{'b' * 64}\n"

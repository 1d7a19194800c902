"""The init containers by which the operator fills a pod's empty repo folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bundler.feast.emulation.container import Container, mounts_of, overridden, sources_of, variables_of
from bundler.feast.emulation.kubelet import Variable, VariableSource
from bundler.feast.operator.resource import Resource
from bundler.model.descriptor import Json

_PACKAGED: Final = "PACKAGED_FEATURE_REPO"
_STAGED: Final = "STAGED_FEATURE_REPO"


def made(resource: Resource, config: Variable, default_image: str) -> tuple[Container, ...]:
    """Return the init containers; ``config`` holds the generated feature_store.yaml in base64."""
    if not resource.initialises:
        return ()
    image = default_image
    if resource.capabilities.init_image:
        chosen = resource.get("services.initImage")
        image = chosen if isinstance(chosen, str) else resource.packaged_image or default_image
    first = _packaged(resource, config, image) if resource.packaged_folder else _created(resource, config, image)
    apply = resource.capabilities.apply_on_init and resource.get("services.runFeastApplyOnInit") is not False
    return (first, _applying(resource, image)) if apply else (first,)


def _created(resource: Resource, config: Variable, image: str) -> Container:
    """Return the container that makes a repo or clones one, and writes the generated file into it.

    As the operator's: without `set -e`, so that it ends well even where the clone failed.
    """
    folder, create = resource.staged_folder, _create_command(resource)
    script = (
        f"[[ -d {folder} ]] || {{ {create}; }}\necho ${config.name} | base64 -d >{folder}/feature_store.yaml\ntrue\n"
    )
    git = resource.mapping("feastProjectDir.git")
    return Container(
        name="feast-init",
        image=image,
        command=("bash", "-c"),
        arguments=(script,),
        working_folder=resource.data_folder,
        variables=overridden((config,), variables_of(git)),
        sources=sources_of(git),
    )


def _create_command(resource: Resource) -> str:
    git = resource.mapping("feastProjectDir.git")
    if not git:
        init = resource.mapping("feastProjectDir.init")
        words = ["feast", "init"]
        if init.get("minimal") is True:
            words.append("-m")
        if init.get("template"):
            words += ["-t", str(init["template"])]
        return " ".join([*words, resource.project])
    folder = f"{resource.data_folder}/{resource.project}"
    configs = git.get("configs")
    options = [f"-c {key}={value}" for key, value in configs.items()] if isinstance(configs, dict) else []
    clone = " ".join(["git", *options, "clone", str(git.get("url")), folder])
    return f"{clone} && cd {folder} && git checkout {git['ref']}" if git.get("ref") else clone


def _packaged(resource: Resource, config: Variable, image: str) -> Container:
    """Return the container that copies the repo of the image and writes the generated file over the copy's."""
    script = (
        "set -euo pipefail\n"
        f'[[ -d "${_PACKAGED}" ]] || {{ echo "${_PACKAGED} is missing" >&2; exit 1; }}\n'
        f'rm -rf -- "${_STAGED}"\nmkdir -p -- "${_STAGED}"\ncp -a -- "${_PACKAGED}/." "${_STAGED}/"\n'
        f'base64 -d <<<"${config.name}" >"${_STAGED}/feature_store.yaml"\n'
    )
    places = (Variable(_PACKAGED, resource.packaged_folder or ""), Variable(_STAGED, resource.staged_folder))
    return Container(
        name="feast-init",
        image=image,
        command=("bash", "-c"),
        arguments=(script,),
        working_folder=resource.data_folder,
        variables=(config, *places),
    )


def _applying(resource: Resource, image: str) -> Container:
    """Return the container that applies, with what the servers have, but for the web interface's."""
    environment: list[Mapping[str, Json]] = [
        resource.settings(server) for server in ("registry", "online", "offline") if server in resource.servers
    ]
    variables: tuple[Variable, ...] = ()
    sources: tuple[VariableSource, ...] = ()
    for settings in environment:
        variables = overridden(variables, variables_of(settings))
        sources = (*sources, *sources_of(settings))
    mounts = {mount.path: mount for settings in reversed(environment) for mount in mounts_of(settings)}
    return Container(
        name="feast-apply",
        image=image,
        command=("feast", "apply"),
        working_folder=resource.staged_folder,
        variables=variables,
        sources=sources,
        mounts=tuple(mounts.values()),
    )

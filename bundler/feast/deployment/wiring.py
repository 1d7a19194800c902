"""How servers, CronJob and people come to one feature_store.yaml and one feature repo, on each operator release.

docs/wiring.md says the same for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bundler.feast.deployment.tenant import Tenant
from bundler.feast.stores.feature_store_yaml import FILE_NAME
from bundler.model.descriptor import Json

# Both are read by the feast command; see cli.py and repo_operations.py of Feast.
REPO_FOLDER_VARIABLE: Final = "FEATURE_REPO_DIR_ENV_VAR"
FILE_VARIABLE: Final = "FEAST_FS_YAML_FILE_PATH"
REPO_FOLDER: Final = "/opt/feast/feature_repo"
"""Folder of the feature repo in a baked image; never below `DATA_FOLDER`."""
# Where the operator mounts an emptyDir over whatever the image has there.
DATA_FOLDER: Final = "/feast-data"
_MOUNT_FOLDER: Final = "/etc/feast"
_VOLUME: Final = "feature-store-yaml"


@dataclass(frozen=True)
class Wiring:
    """What a wiring writes into the CR: ``env`` and ``mounts`` go to every server, ``services`` beside them."""

    project_dir: dict[str, Json]
    services: dict[str, Json]
    env: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[dict[str, Json], ...] = ()
    mounts: tuple[dict[str, Json], ...] = ()


def wire(tenant: Tenant) -> Wiring:
    """Return the wiring that a tenant asks for, in the form that its operator has."""
    match tenant.deployment.wiring:
        case "baked":
            return _baked(tenant)
        case "mounted":
            return _mounted(tenant)
        case "operator":
            return _operator(tenant)


def _baked(tenant: Tenant) -> Wiring:
    """Make the feature_store.yaml in the image authoritative.

    Without init containers the operator starts servers in a folder that nothing fills, unless the CRD has
    ``packaged``; before that, one variable leads every command to the repo in the image.
    """
    services: dict[str, Json] = {"disableInitContainers": True}
    if tenant.capabilities.packaged:
        return Wiring(_packaged(tenant), services)
    return Wiring(_minimal(), services, {REPO_FOLDER_VARIABLE: tenant.images.repo_folder})


def _mounted(tenant: Tenant) -> Wiring:
    """Make a whole feature_store.yaml in a Secret of the site authoritative.

    Always with the folder of the repo: `feast apply` in a folder without definitions deletes all that is registered.
    """
    secret: dict[str, Json] = {"secretName": tenant.names.feature_store_file}
    return Wiring(
        _packaged(tenant) if tenant.capabilities.packaged else _minimal(),
        {"disableInitContainers": True},
        {REPO_FOLDER_VARIABLE: tenant.images.repo_folder, FILE_VARIABLE: f"{_MOUNT_FOLDER}/{FILE_NAME}"},
        ({"name": _VOLUME, "secret": secret},),
        ({"name": _VOLUME, "mountPath": _MOUNT_FOLDER, "readOnly": True},),
    )


def _operator(tenant: Tenant) -> Wiring:
    """Make the feature_store.yaml that the operator generates authoritative; only the CronJob applies.

    With ``packaged`` an init container copies the repo of the image and puts the generated file into it. Before that,
    an init container of the stock image writes the file into an empty repo; two variables then bring file and repo
    together.
    """
    services: dict[str, Json] = {"disableInitContainers": False}
    if tenant.capabilities.apply_on_init:
        # It would run once a pod; before ``packaged`` also in an image that has not the repo, and delete everything.
        services["runFeastApplyOnInit"] = False
    if tenant.capabilities.packaged:
        return Wiring(_packaged(tenant), services)
    volume = tenant.deployment.offline_store.volume
    folder = volume.mount_path if volume else DATA_FOLDER
    generated = f"{folder}/{tenant.config.project}/feature_repo/{FILE_NAME}"
    env = {REPO_FOLDER_VARIABLE: tenant.images.repo_folder, FILE_VARIABLE: generated}
    return Wiring(_minimal(), services, env)


def _packaged(tenant: Tenant) -> dict[str, Json]:
    return {
        "packaged": {"image": tenant.images.feature_server, "featureRepoPath": tenant.images.repo_folder},
    }


def _minimal() -> dict[str, Json]:
    # Said even where init containers are off: leaving it out would mean a demo repo the day somebody enables them.
    return {"init": {"minimal": True}}

"""How servers, CronJob and people come to one feature_store.yaml and one feature repo, on each operator release.

docs/wiring.md tells the same story for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bundler.feast.tenant import Tenant
from bundler.model.descriptor import Json

# Both are read by the feast command; see cli.py and repo_operations.py of Feast.
REPO_FOLDER_VARIABLE: Final = "FEATURE_REPO_DIR_ENV_VAR"
FILE_VARIABLE: Final = "FEAST_FS_YAML_FILE_PATH"


@dataclass(frozen=True)
class Wiring:
    """What a wiring writes into the CR: ``env`` goes to every server, ``services`` beside them."""

    project_dir: dict[str, Json]
    services: dict[str, Json]
    env: Mapping[str, str] = field(default_factory=dict)


def wire(tenant: Tenant) -> Wiring:
    """Return the wiring of a tenant: the feature_store.yaml that is baked into the image is authoritative.

    Without init containers the operator starts servers in a folder that nothing fills, unless the CRD has
    ``packaged``; before that, one variable leads every command to the repo in the image.
    """
    images = tenant.images
    if tenant.capabilities.packaged:
        packaged: dict[str, Json] = {"image": images.feature_server, "featureRepoPath": images.repo_folder}
        return Wiring({"packaged": packaged}, {"disableInitContainers": True})
    # Without init containers "init" is never run; leaving it out would mean a demo repo the day somebody enables them.
    return Wiring(
        {"init": {"minimal": True}},
        {"disableInitContainers": True},
        {REPO_FOLDER_VARIABLE: images.repo_folder},
    )

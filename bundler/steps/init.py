"""Init: propose a spec for a feature repo, from what the repo says of itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement

from bundler.effects import feature_repo
from bundler.errors import SpecError
from bundler.feast.feature_store import FeatureStoreConfig
from bundler.model import spec_reader
from bundler.model.spec import FeatureRepo

_NEWEST_KNOWN_FEAST: Final = "0.66.0"
_REQUIREMENT_FILES: Final = ("requirements.txt", "requirements.in")

_TEMPLATE: Final = """\
# What goes into the bundle, and how it runs on the disconnected cluster.
# Every key: docs/bundle.schema.json; check this file with: bundler lock -f bundle.yaml
name: {name}
version: 0.1.0

repo:
  # Relative to this file. Files can be left out here or in .bundlerignore (patterns as in .gitignore).
  path: {path}
  # exclude: ["notebooks/"]

feast:
  version: {feast}{feast_note}
  # The extras that the stores need are added by themselves: {stores}.
  # extras: []

base:
  # A root file system from Debian's packages, no container registry needed.
  # Or Feast's own: image: quay.io/feastdev/feature-server:{feast}
  debian: bookworm
{requirements}
platforms:
  - linux/amd64

registry:
  # The internal registry, as nodes of the cluster reach it.
  host: registry.internal.example:5000
  prefix: feast

operator:
  version: {feast}
  # The cluster has the operator already. Else name the release's install.yaml (file or URL): manifest: install.yaml
  preinstalled: true

deployment:
  name: {name}
  namespace: feast
  imagePullPolicy: IfNotPresent
  # Secrets of type kubernetes.io/dockerconfigjson that pods pull with.
  imagePullSecrets:
    - registry-credentials
{variables}  cronJob:
    # When `feast apply` and `feast materialize-incremental` run.
    schedule: "*/30 * * * *"
    kubectl:
      debian: trixie
"""


def propose(repo: Path, *, name: str | None = None) -> str:
    """Return a commented spec for a feature repo, which reads back without a problem.

    The spec is meant to lie beside the repo's folder. Raises ``SpecError`` where the repo cannot be used.
    """
    contents = feature_repo.read(repo, FeatureRepo())
    chosen = name or _dns_label(contents.config.project)
    found = [path for path in _REQUIREMENT_FILES if (repo.resolve().parent / path).is_file()]
    inside = [f"{repo.resolve().name}/{path}" for path in _REQUIREMENT_FILES if (repo / path).is_file()]
    pinned = _pinned_feast(repo.resolve().parent, [*found, *inside])
    text = _TEMPLATE.format(
        name=chosen,
        path=repo.resolve().name,
        feast=pinned or _NEWEST_KNOWN_FEAST,
        feast_note="" if pinned else "  # not pinned by the repo: set what it was developed with",
        stores=_stores(contents.config),
        requirements=_requirements([*found, *inside]),
        variables=_variables(contents.config, chosen),
    )
    try:
        spec_reader.read(text, "bundle.yaml")
    except SpecError as error:
        raise SpecError(
            f"No spec can be proposed: {'; '.join(error.details)}", remedy="Give a name that fits with --name."
        ) from error
    return text


def _dns_label(project: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", project.lower()).strip("-")[:43].strip("-") or "features"


def _stores(config: FeatureStoreConfig) -> str:
    return f"online {config.online_type}, offline {config.offline_type}, registry {config.registry_type}"


def _requirements(files: list[str]) -> str:
    if not files:
        return "\n# requirements: [requirements.txt]\n"
    return "\nrequirements:\n" + "".join(f"  - {file}\n" for file in files)


def _variables(config: FeatureStoreConfig, name: str) -> str:
    if not config.variables:
        return ""
    listed = "".join(f"  #   {variable}\n" for variable in config.variables)
    title = "  # The Secret that holds the ${VARIABLES} of feature_store.yaml:\n"
    return f"{title}{listed}  credentialsSecret: {name}-credentials\n"


def _pinned_feast(folder: Path, files: list[str]) -> str | None:
    """Return the Feast release that a requirement file pins with ``==``."""
    lines = [line for file in files for line in (folder / file).read_text(encoding="utf-8").splitlines()]
    pins = (pin for line in lines if (pin := _pin(line)) is not None)
    return next(pins, None)


def _pin(line: str) -> str | None:
    try:
        requirement = Requirement(line.partition("#")[0].strip())
    except InvalidRequirement:
        return None
    exact = [part.version for part in requirement.specifier if part.operator == "=="]
    return exact[0] if requirement.name == "feast" and exact else None

"""Init: propose a spec for a feature repo, from what the repo says of itself."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import tomllib
import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from bundler.effects import feature_repo, files
from bundler.errors import SpecError
from bundler.feast.stores.extras import extras_for
from bundler.feast.stores.feature_store_yaml import FILE_NAME, FeatureStoreConfig, literal_credentials
from bundler.model import spec_reader, yaml_document
from bundler.model.spec import FeatureRepoSpec
from bundler.steps.lock.project import SERVERS

_NEWEST_KNOWN_FEAST: Final = "0.66.0"
_LONGEST_NAME: Final = 43  # of a FeatureStore, see spec_parts

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
  version: {feast}  # {feast_source}
  # Added by themselves, for {stores}:
  #   {extras}
  # extras: []

base:
  # A root file system from Debian's packages, no container registry needed.
  # Or Feast's own: image: quay.io/feastdev/feature-server:{feast_plain}
  debian: bookworm
{requirements}
# What wheels do not bring; the second needs a container engine, which an image as base needs for both: docs/engines.md
# system_packages: [libgeos-c1v5]
# sdists: ["a-package==1.0"]
# engine: docker

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
  # topology: minimal  # or standard, enterprise-isolated, enterprise-shared: docs/topologies.md
  imagePullPolicy: IfNotPresent
  # Secrets of type kubernetes.io/dockerconfigjson that pods pull with.
  imagePullSecrets:
    - registry-credentials
{credentials}  cronJob:
    # When `feast apply` and `feast materialize-incremental` run.
    schedule: "*/30 * * * *"
    kubectl:
      debian: bookworm
"""


def propose(repo: Path, *, name: str | None = None, folder: Path | None = None) -> str:
    """Return a commented spec for a feature repo, which reads back without a problem.

    The spec is meant to lie in ``folder``, by default the one that holds the repo's. Raises ``SpecError`` where the
    repo cannot be used.
    """
    contents = feature_repo.read(repo, FeatureRepoSpec())
    surroundings = _Surroundings(repo.resolve(), (folder or repo.resolve().parent).resolve())
    feast, source = surroundings.feast()
    extras = sorted(extras_for(contents.config, servers=SERVERS, auth=contents.config.auth))
    chosen = _text(name or _dns_label(contents.config.project))
    text = _TEMPLATE.format(
        name=chosen,
        path=_text(surroundings.relative(surroundings.repo)),
        feast=_text(feast),
        feast_plain=feast,
        feast_source=source,
        stores=_stores(contents.config),
        extras=", ".join(extras),
        requirements=_requirements(surroundings.requirements()),
        credentials=_credentials(contents.config, name or _dns_label(contents.config.project)),
    )
    try:
        spec_reader.read(text, "bundle.yaml")
    except SpecError as error:
        raise SpecError(
            "No spec can be proposed.", remedy="Give a name that fits with --name.", details=error.details
        ) from error
    return text


@dataclass(frozen=True)
class _Surroundings:
    """What lies in and around a repo; ``folder`` is where the spec will lie."""

    repo: Path
    folder: Path

    def relative(self, path: Path) -> str:
        return Path(os.path.relpath(path, self.folder)).as_posix()

    def places(self) -> Sequence[Path]:
        """Return the folders that may say something of the repo, the nearest to the spec first."""
        return tuple(dict.fromkeys((self.folder, self.repo, self.repo.parent)))

    def requirements(self) -> tuple[str, ...]:
        """Return the requirement files; of a pair it is the .txt, which the .in is the source of."""
        for place in self.places():
            for file in ("requirements.txt", "requirements.in"):
                if (place / file).is_file():
                    return (self.relative(place / file),)
        return ()

    def feast(self) -> tuple[str, str]:
        """Return the Feast release that the repo was developed with, and how that is known."""
        for place in self.places():
            for file in ("requirements.txt", "requirements.in"):
                if pin := next(_pins(place / file), None):
                    return pin, f"as pinned in {file}"
            for file in ("uv.lock", "poetry.lock"):
                if locked := _locked(place / file):
                    return locked, f"as locked in {file}"
            for environment in (".venv", "venv"):
                if installed := _installed(place / environment):
                    return installed, f"as installed in {environment}"
        return _NEWEST_KNOWN_FEAST, "not pinned by the repo: set what it was developed with"


def _pins(file: Path) -> Iterator[str]:
    """Yield the Feast releases that a requirement file pins with ``==``."""
    for line in _read(file).splitlines():
        try:
            requirement = Requirement(line.partition("#")[0].strip().rstrip("\\").strip())
        except InvalidRequirement:
            continue
        for specifier in requirement.specifier:
            if requirement.name.lower() == "feast" and specifier.operator == "==" and _is_version(specifier.version):
                yield specifier.version


def _locked(file: Path) -> str | None:
    try:
        packages = tomllib.loads(_read(file)).get("package")
    except tomllib.TOMLDecodeError:
        return None
    for package in packages if isinstance(packages, list) else []:
        if isinstance(package, dict) and package.get("name") == "feast" and _is_version(str(package.get("version"))):
            return str(package["version"])
    return None


def _installed(environment: Path) -> str | None:
    folders = sorted(environment.glob("lib/python3*/site-packages/feast-*.dist-info"))
    versions = (path.name.removeprefix("feast-").removesuffix(".dist-info") for path in folders)
    return next((version for version in versions if _is_version(version)), None)


def _read(file: Path) -> str:
    """Return a text that may help; what cannot be read does not."""
    try:
        return files.read_text(file, "what the repo was developed with", utf16=True)
    except SpecError:
        return ""


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _text(value: str) -> str:
    """Return a text as YAML has it, quoted where it would be read as something else."""
    return yaml.safe_dump(value, allow_unicode=True, width=1 << 20).removesuffix("...\n").rstrip("\n")


def _dns_label(project: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", project.lower()).strip("-")[:_LONGEST_NAME].strip("-")


def _stores(config: FeatureStoreConfig) -> str:
    return f"online store {config.online_type}, offline store {config.offline_type}, registry {config.registry_type}"


def _requirements(files: Sequence[str]) -> str:
    if not files:
        return "\n# requirements: [requirements.txt]\n"
    return "\nrequirements:\n" + "".join(f"  - {_text(file)}\n" for file in files)


def _credentials(config: FeatureStoreConfig, name: str) -> str:
    text = ""
    if places := literal_credentials(config.document):
        text += f"  # Written out in {FILE_NAME}, and so in the image; make each a ${{VARIABLE}}:\n"
        text += "".join(f"  #   {yaml_document.dotted(place)}\n" for place in places)
    if config.variables:
        text += f"  # The Secret that holds the ${{VARIABLES}} of {FILE_NAME}:\n"
        text += "".join(f"  #   {variable}\n" for variable in config.variables)
        text += f"  credentialsSecret: {_text(f'{name}-credentials')}\n"
    return text

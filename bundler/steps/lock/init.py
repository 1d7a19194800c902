"""Init: propose a spec for a feature repo, from what the repo says of itself."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from packaging.version import InvalidVersion, Version

from bundler.effects import feature_repo
from bundler.effects.feature_repo import RepoContents
from bundler.effects.packages.surroundings import SUITES, PythonChoice, Surroundings
from bundler.errors import SpecError
from bundler.feast.operator import capabilities
from bundler.feast.rules import supported
from bundler.feast.stores.extras import extras_for
from bundler.feast.stores.feature_store_yaml import FILE_NAME, FeatureStoreConfig, literal_credentials
from bundler.feast.stores.known_types import JAVA_EXTRAS
from bundler.model import spec_reader, yaml_document
from bundler.model.plain_text import plain
from bundler.model.size import size
from bundler.model.spec import FeatureRepoSpec
from bundler.steps.lock.project import SERVERS

_LONGEST_NAME: Final = 43  # of a FeatureStore, see spec_parts
_WIDTH: Final = 110  # characters of a comment
_MANY: Final = 5  # files that are named
_JAVA: Final = {"bookworm": "openjdk-17-jre-headless", "trixie": "openjdk-21-jre-headless"}
_DATA: Final = re.compile(
    r"\.(parquet|csv|tsv|jsonl|avro|orc|feather|arrow|npy|npz|pkl|pickle|h5|hdf5)$", re.IGNORECASE
)
_LEFT_OVER: Final = re.compile(
    r"(\.(db|sqlite3?|log|ipynb|zip|tar|gz|tgz|bak|orig|tmp|tfstate)$|(^|/)(mlruns|wandb|spark-warehouse|derby|dist"
    r"|build|htmlcov|tests?)/|(^|/)(setup|conftest|noxfile|test_[^/]*)\.py$)",
    re.IGNORECASE,
)

_TEMPLATE: Final = """\
# What goes into the bundle, and how it runs on the disconnected cluster.
# Every key: docs/bundle.schema.json; check this file with: bundler lock -f bundle.yaml
name: {name}
version: 0.1.0

repo:
  # Relative to this file. Files can be left out here or in .bundlerignore (patterns as in .gitignore).
  path: {path}
{files}  # exclude: ["notebooks/"]

feast:
{too_old}  version: {feast}  # {feast_source}
  # Added by themselves, for {stores}:
  #   {extras}
{own_extras}
base:
  # A root file system from Debian's packages, no container registry needed.
  # Or Feast's own: image: quay.io/feastdev/feature-server:{feast_plain}
{base}{requirements}
# What wheels do not bring; the second needs a container engine, which an image as base needs for both: docs/engines.md
{system_packages}
# sdists: ["a-package==1.0"]
# engine: docker

platforms:
  - linux/amd64

registry:
  # The internal registry, as nodes of the cluster reach it.
  host: registry.internal.example:5000
  prefix: feast

operator:
  version: {operator}
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


@dataclass(frozen=True)
class Proposal:
    """A commented spec, and what its author should know at once."""

    text: str
    notes: tuple[str, ...]


def propose(repo: Path, *, name: str | None = None, folder: Path | None = None) -> Proposal:
    """Return a commented spec for a feature repo, which reads back without a problem.

    The spec is meant to lie in ``folder``, by default the one that holds the repo's. Raises ``SpecError`` where the
    repo cannot be used.
    """
    contents = feature_repo.read(repo, FeatureRepoSpec())
    around = Surroundings(repo.resolve(), (folder or repo.resolve().parent).resolve())
    feast, python = around.feast(), around.python()
    extras = extras_for(contents.config, servers=SERVERS, auth=contents.config.auth)
    chosen = name or _dns_label(contents.config.project)
    old = supported.too_old(feast.version)
    left = tuple(around.left())
    text = _TEMPLATE.format(
        name=_text(chosen),
        path=_text(around.relative(around.repo)),
        files=_files(contents),
        too_old=_comment(f"{old}. Move the repo to a later release first.") if old else "",
        feast=_text(feast.version),
        feast_plain=feast.version,
        feast_source=feast.source,
        stores=_stores(contents.config),
        extras=", ".join(sorted(extras)),
        own_extras=_own_extras(around.extras - extras),
        base=_base(python),
        requirements=_requirements(around, left),
        system_packages=_system_packages(extras, python),
        operator=_text(_operator(feast.version)),
        credentials=_credentials(contents.config, chosen),
    )
    try:
        spec_reader.read(text, "bundle.yaml")
    except SpecError as error:
        raise SpecError(
            "No spec can be proposed.", remedy="Give a name that fits with --name.", details=error.details
        ) from error
    notes = [f"{old}. Move the repo to a later release first."] if old else []
    notes += [] if feast.known else [f"Feast {feast.version} is proposed: the repo names no release."]
    notes += [f"not taken: {line}" for line in left]
    return Proposal(text, tuple(notes))


def _comment(sentence: str) -> str:
    return textwrap.indent(textwrap.fill(sentence, _WIDTH, break_on_hyphens=False), "  # ") + "\n"


def _operator(feast: str) -> str:
    """Return the release of the operator: that of Feast where its CRD was read, else the newest that was."""
    try:
        release = Version(feast).release[:2]
    except InvalidVersion:
        return supported.NEWEST_OPERATOR
    known = capabilities.OLDEST <= release <= capabilities.NEWEST
    return feast if known else supported.NEWEST_OPERATOR


def _base(python: PythonChoice) -> str:
    why = f"  # {python.why}\n" if python.why else ""
    if python.suite is None:
        return f"{why}  image: {python.image}\n"
    major, minor = SUITES[python.suite]
    other = f"  # The developers' own Python would be: image: {python.image}\n" if python.image else ""
    return f"{why}{other}  debian: {python.suite}  # Python {major}.{minor}\n"


def _own_extras(extras: frozenset[str]) -> str:
    return (
        f"  extras: [{', '.join(sorted(extras))}]\n"
        if extras
        else "  # extras: []  # others too; -NAME switches one of those off\n"
    )


def _system_packages(extras: frozenset[str], python: PythonChoice) -> str:
    if not extras & JAVA_EXTRAS or python.suite is None:
        java = "  # and Java, which Spark and Flink need" if extras & JAVA_EXTRAS else ""
        return f"# system_packages: [libgeos-c1v5]{java}"
    return f"system_packages: [{_JAVA[python.suite]}]  # Spark and Flink need Java"


def _files(contents: RepoContents) -> str:
    """Say in comments how large the repo is, and what in it may not be meant for an image."""
    total = sum(file.size for file in contents.files)
    largest = sorted(contents.files, key=lambda file: (-file.size, file.path))[:_MANY]
    rows = [
        f"{len(contents.files)} files, {size(total)}. The largest: "
        + _named(f"{file.path} {size(file.size)}" for file in largest)
    ]
    rows += [f"Looks like data: {_named(names)}" for names in [_matching(contents, _DATA)] if names]
    rows += [f"Looks left over: {_named(names)}" for names in [_matching(contents, _LEFT_OVER)] if names]
    return "".join(f"  # {row}\n" for row in rows)


def _matching(contents: RepoContents, pattern: re.Pattern[str]) -> list[str]:
    return [file.path for file in contents.files if pattern.search(file.path)]


def _named(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _MANY} more" if len(listed) > _MANY else ""
    return ", ".join(listed[:_MANY]) + more


def _text(value: str) -> str:
    """Return a text as YAML has it, quoted where it would be read as something else."""
    return yaml.safe_dump(value, allow_unicode=True, width=1 << 20).removesuffix("...\n").rstrip("\n")


def _dns_label(project: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", project.lower()).strip("-")[:_LONGEST_NAME].strip("-")


def _stores(config: FeatureStoreConfig) -> str:
    return f"online store {config.online_type}, offline store {config.offline_type}, registry {config.registry_type}"


def _requirements(around: Surroundings, left: Sequence[str]) -> str:
    """Return the keys that name packages, and in comments where they come from and what was not taken."""
    files = [around.relative(file) for file in around.requirement_files]
    packages = around.packages()
    lines = ["", *(f"# Not taken: {plain(line)}" for line in left)]
    lines += (
        ["requirements:", *(f"  - {_text(file)}" for file in files)]
        if files
        else ["# requirements: [requirements.txt]"]
    )
    if packages:
        places = ", ".join(dict.fromkeys(declaration.place for declaration in around.taken))
        lines += [f"# Taken from {places}:", "packages:", *(f"  - {_text(line)}" for line in packages)]
    return "\n".join(lines) + "\n"


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

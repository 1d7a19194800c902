"""A project: the spec, the feature repo it names, and the lock beside it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from bundler.effects import feature_repo, files
from bundler.effects.feature_repo import RepoContents
from bundler.errors import LockError, SpecProblems
from bundler.feast.deployment import topology
from bundler.feast.stores.extras import extras_for
from bundler.feast.stores.feature_store_yaml import FeatureStoreConfig, refuse_credentials
from bundler.model import lock, spec_reader
from bundler.model.digest import Digest
from bundler.model.lock import BundleLock
from bundler.model.spec import BundleSpec
from bundler.steps.lock import requirements, secrets
from bundler.steps.lock.requirements import Requirements
from bundler.steps.lock.secrets import AllowedFinding

LOCK_NAME: Final = "bundle.lock"
# The operator may start each of them from the one image, so the image can run each of them.
SERVERS: Final = frozenset({"registry", "online", "offline", "ui"})


@dataclass(frozen=True)
class Need:
    """What a deployment runs with: ``config`` is that of ``owner``'s feature repo (None: the bundle's)."""

    owner: str | None
    config: FeatureStoreConfig
    auth: str
    engine: str | None


@dataclass(frozen=True)
class Project:
    """A spec, its file (whose folder its paths are relative to), and what is baked of the feature repos.

    ``own`` are the repos of tenants that have one, by the tenant's name. ``allowed_secrets`` is what looks like a
    secret in them and is baked with the reason that the spec gives.
    """

    spec: BundleSpec
    file: Path
    repo: RepoContents
    own: Mapping[str, RepoContents] = field(default_factory=dict)
    allowed_secrets: tuple[AllowedFinding, ...] = ()

    @property
    def fingerprint(self) -> Digest:
        """One digest over all repos; that of the repo where there is one."""
        if not self.own:
            return self.repo.fingerprint
        lines = [f"{name} {repo.fingerprint}\n" for name, repo in sorted(self.own.items())]
        return Digest.of(f"{self.repo.fingerprint}\n{''.join(lines)}".encode())

    @cached_property
    def requirements(self) -> Requirements:
        """What the spec asks for, with the extras of Feast that stores and servers of all its repos need.

        The requirement files are read once, when this is first asked for.

        Raises:
            SpecError: a requirement file does not exist.
        """
        written = self.spec.feast.extras
        extras = {extra for extra in written if not extra.startswith("-")}
        problems = SpecProblems()
        for need in self.needs():
            with problems.noted():
                extras |= extras_for(
                    need.config, servers=SERVERS, auth=need.auth, engine=need.engine, release=self.spec.feast.version
                )
        problems.refuse()
        extras -= {extra.removeprefix("-") for extra in written if extra.startswith("-")}
        return requirements.read(self.spec, self.folder, sorted(extras))

    def needs(self) -> Iterator[Need]:
        """Yield what each deployment needs; its own settings come before those of feature_store.yaml."""
        for member in topology.members(self.spec):
            name, auth, engine = member.deployment.name, member.deployment.auth, member.deployment.batch_engine
            config = self.own.get(name, self.repo).config
            yield Need(
                name if name in self.own else None,
                config,
                auth.type if auth else config.auth,
                str(engine.config["type"]) if engine else None,
            )

    @property
    def folder(self) -> Path:
        """The spec's folder."""
        return self.file.parent

    @property
    def lock_command(self) -> str:
        """What makes the lock, from any folder."""
        return f"bundler lock -f {shlex.quote(str(self.file))}"

    @property
    def lock_file(self) -> Path:
        """Where the lock is kept."""
        return self.folder / LOCK_NAME


def load(file: Path) -> Project:
    """Read the spec and the feature repos; raise ``SpecError`` where one of them cannot be used."""
    text = files.read_text(
        file, "the spec", missing="Name it with --file, or write one: bundler init REPO -o bundle.yaml"
    )
    spec = spec_reader.read(text, str(file))
    folder = file.resolve().parent
    repos, problems = (
        {"": spec.repo, **{tenant.name: tenant.repo for tenant in spec.tenants if tenant.repo}},
        SpecProblems(),
    )
    own: dict[str, RepoContents] = {}
    for name, repo in repos.items():
        with problems.noted():
            own[name] = feature_repo.read(folder / repo.path, repo)
            refuse_credentials(own[name].config)
    problems.refuse()
    loaded = Project(spec, file.resolve(), own.pop(""), own)
    allowed = secrets.refuse(loaded.spec, text, file, (loaded.repo, *own.values()))
    return replace(loaded, allowed_secrets=allowed)


def read_lock(project: Project) -> BundleLock | None:
    """Return the lock beside the spec, None where there is none; raise ``LockError`` where it cannot be read."""
    if not files.is_there(project.lock_file):
        return None
    text = files.read_text(
        project.lock_file,
        "the lock",
        error=LockError,
        remedy=f"Remove it and make it again: {project.lock_command}",
    )
    return lock.read(text, str(project.lock_file))

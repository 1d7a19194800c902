"""Import check: whether the Python of a baked image can import what the deployment needs there, tried in the image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bundler import resources
from bundler.effects import image_root
from bundler.effects.blobs import BlobStore
from bundler.errors import SpecError, ToolFailedError
from bundler.feast.deployment import wiring
from bundler.feast.stores.imports import Import, imports_for
from bundler.model.digest import Digest
from bundler.model.findings import Finding, Status
from bundler.model.platform import Platform
from bundler.model.progress import Progress
from bundler.oci.image import Image
from bundler.oci.layer import Layer
from bundler.steps.build.bake import BakedServer
from bundler.steps.lock.project import Project
from bundler.steps.sources.unpacked_base import UnpackedBase

_CHECK: Final = "image-imports"
_TITLE: Final = "The image's Python imports what the deployment needs"
_RECORD: Final = "imports"
_PROBE: Final = "rehearsal/imports.py"
_TIMEOUT: Final = 600.0  # seconds; the first import of everything takes half a minute on a slow disk


def wanted(project: Project) -> Mapping[str | None, frozenset[Import]]:
    """Return what images must be able to import, by whose feature repo is in them (None: the bundle's)."""
    imports: dict[str | None, frozenset[Import]] = {}
    for need in project.needs():
        needed = imports_for(need.config, auth=need.auth, engine=need.engine)
        imports[need.owner] = imports.get(need.owner, frozenset()) | needed
    return imports


@dataclass(frozen=True)
class _Trial:
    """An image on its base, and what it must import; ``with_repo``: its feature repo may bring that."""

    platform: Platform
    image: Image
    base: UnpackedBase
    needed: tuple[Import, ...]
    with_repo: bool = False

    @property
    def layers(self) -> tuple[Layer, ...]:
        """What is unpacked; without the last layer, the feature repo's, it is the same for all tenants."""
        return self.image.layers if self.with_repo else self.image.layers[:-1]

    @property
    def environment(self) -> Mapping[str, str]:
        """The image's environment; Feast finds modules in the feature repo as well."""
        env = self.image.config.env
        paths = [path for path in (env.get("PYTHONPATH"), wiring.REPO_FOLDER) if path]
        return {**env, "PYTHONPATH": ":".join(paths)} if self.with_repo else env

    @property
    def key(self) -> str:
        """What the outcome depends on."""
        asked = [
            str(Digest.of(_probe().encode())),
            *(f"{need.how} {need.name}" for need in self.needed),
        ]
        environment = Digest.of(json.dumps(dict(self.environment), sort_keys=True).encode())
        return " ".join((*(str(layer.diff_id) for layer in self.layers), str(environment), *asked))


def run(
    project: Project,
    bases: Mapping[Platform, UnpackedBase],
    servers: Sequence[BakedServer],
    store: BlobStore,
    progress: Progress,
) -> tuple[Finding, ...]:
    """Try the imports on each platform that this machine can run, and say which it cannot.

    What packages bring is tried once for all ``servers`` (the bundle's first), a site's own classes in each.

    Raises:
        SpecError: something cannot be imported; each is a line of its details.
        ToolFailedError: the image could not be unpacked, or its Python does not run.
    """
    needed = wanted(project)
    shared = tuple(sorted({need for every in needed.values() for need in every if not need.is_own}))
    trials: list[_Trial] = []
    for platform, base in bases.items():
        trials.append(_Trial(platform, servers[0].images[platform], base, shared))
        for server in servers:
            own = tuple(sorted(need for need in needed.get(server.tenant, ()) if need.is_own))
            trials += [_Trial(platform, server.images[platform], base, own, with_repo=True)] if own else []
    return tuple(_checked(trial, store, progress) for trial in trials)


def _checked(trial: _Trial, store: BlobStore, progress: Progress) -> Finding:
    if store.recall(_RECORD, trial.key) != "passed":
        if reason := image_root.unavailable(trial.platform):
            return _not_tried(trial.platform, reason)
        failures = _tried(trial, store, progress)
        pairs = zip(trial.needed, failures, strict=True)
        lines = [f"{trial.platform}: {need.what}: {failure}" for need, failure in pairs if failure]
        if lines:
            raise SpecError(
                "The image cannot import what the deployment needs.",
                remedy="Name the package that is missing in 'packages' or 'requirements' of the spec.",
                details=tuple(lines),
            )
        store.remember(_RECORD, trial.key, "passed")
    evidence = (
        f"{trial.platform}: tried in the image",
        *(f"{need.what}: {need.name}" for need in trial.needed),
    )
    return Finding(_CHECK, _TITLE, Status.PASS, evidence)


def _not_tried(platform: Platform, reason: str) -> Finding:
    remedy = "Packages were chosen by a table. Rehearse the bundle on a machine of that platform with Docker or Podman."
    evidence = (f"{platform}: not tried: {reason}",)
    return Finding(_CHECK, _TITLE, Status.MANUAL, evidence, remedy, "bundler rehearse BUNDLE")


def _tried(trial: _Trial, store: BlobStore, progress: Progress) -> tuple[str, ...]:
    python = trial.base.contents.python
    if python is None:
        raise AssertionError("the lock was made for a base that has Python")
    question = json.dumps([[need.how, need.name] for need in trial.needed])
    command = [python.executable, "-B", "-W", "ignore", "-c", _probe(), question]
    with progress.task("Importing in the image", total=2) as task:
        task.note("unpacking")
        with image_root.unpacked(trial.layers, store) as root:
            task.advance(1)
            task.note("importing")
            purpose = "importing what the deployment needs"
            output = image_root.run(root, command, trial.environment, purpose=purpose, timeout=_TIMEOUT)
            task.advance(1)
    return _answer(output, len(trial.needed))


def _answer(output: str, count: int) -> tuple[str, ...]:
    """Read the probe's last line; modules may print whatever they like before it."""
    try:
        failures = json.loads(output.splitlines()[-1])
    except (IndexError, ValueError):
        failures = None
    if (
        not isinstance(failures, list)
        or len(failures) != count
        or not all(isinstance(failure, str) for failure in failures)
    ):
        raise ToolFailedError(
            "The image's Python did not answer what it can import.", details=tuple(output.splitlines())
        )
    return tuple(failures)


def _probe() -> str:
    return resources.read(_PROBE).decode()

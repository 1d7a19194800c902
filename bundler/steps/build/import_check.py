"""Import check: what the Python and the Feast of a baked image say of the deployment, tried in the unpacked image."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from bundler.effects import image_root, unpacked_images
from bundler.effects.blobs import BlobStore
from bundler.effects.image_root import ImageRoot
from bundler.errors import SpecError
from bundler.feast.deployment import wiring
from bundler.feast.rules import missing_parts, repository
from bundler.feast.stores.imports import Import, imports_for
from bundler.model.descriptor import Json
from bundler.model.findings import Finding, Status
from bundler.model.platform import Platform
from bundler.model.progress import Progress
from bundler.oci.image import Image
from bundler.steps.build.bake import BakedServer
from bundler.steps.build.image_probe import ImageProbe
from bundler.steps.build.repo_check import Remark, RepoTrial, Verdict
from bundler.steps.lock.project import Project
from bundler.steps.sources.unpacked_base import UnpackedBase

_CHECK: Final = "image-imports"
_TITLE: Final = "The image's Python imports what the deployment needs"
_RECORD: Final = "imports"
_PROBE: Final = "rehearsal/imports.py"


class Trial(Protocol):
    """Something that is tried in an unpacked image, and remembered by its key."""

    @property
    def key(self) -> str:
        """What the outcome depends on."""

    def tried(self, root: ImageRoot) -> Verdict:
        """Try it."""

    def lines(self, verdict: Verdict) -> Iterator[str]:
        """Yield each problem, for people."""

    def findings(self, verdict: Verdict) -> tuple[Finding, ...]:
        """Return what the checklist says where there is no problem."""


def wanted(project: Project) -> Mapping[str | None, frozenset[Import]]:
    """Return what images must be able to import, by whose feature repo is in them (None: the bundle's)."""
    imports: dict[str | None, frozenset[Import]] = {}
    for need in project.needs():
        needed = imports_for(need.config, auth=need.auth, engine=need.engine)
        imports[need.owner] = imports.get(need.owner, frozenset()) | needed
    return imports


@dataclass(frozen=True)
class _ImportTrial:
    """An image on its base, and what it must import; ``with_repo``: its feature repo may bring that."""

    platform: Platform
    image: Image
    base: UnpackedBase
    needed: tuple[Import, ...]
    release: str
    with_repo: bool = False

    @property
    def environment(self) -> Mapping[str, str]:
        """The image's environment; Feast finds modules in the feature repo as well."""
        env = self.image.config.env
        paths = [path for path in (env.get("PYTHONPATH"), wiring.REPO_FOLDER) if path]
        return {**env, "PYTHONPATH": ":".join(paths)} if self.with_repo else env

    @property
    def key(self) -> str:
        """What the outcome depends on; without the last layer, the feature repo's, it is the same for all tenants."""
        asked = (f"{need.how} {need.name}" for need in self.needed)
        layers = self.image.layers if self.with_repo else self.image.layers[:-1]
        return " ".join((*(str(layer.diff_id) for layer in layers), *self._probe.key, *asked))

    @property
    def _probe(self) -> ImageProbe:
        return ImageProbe(
            _PROBE,
            json.dumps([[need.how, need.name] for need in self.needed]),
            self.environment,
            purpose="importing what the deployment needs",
            silent="The image's Python did not report what it can import.",
        )

    def tried(self, root: ImageRoot) -> Verdict:
        """Import each in the image."""
        return self._probe.ask(root, self.base, self._verdict)

    def _verdict(self, answer: Json) -> Verdict:
        """Read for each import why it failed, empty where it did not."""
        reasons = [why for why in answer if isinstance(why, str)] if isinstance(answer, list) else []
        if not isinstance(answer, list) or not len(answer) == len(reasons) == len(self.needed):
            raise ValueError("not a reason for each import")
        failures = zip(self.needed, reasons, strict=True)
        return Verdict(tuple(Remark("import", need.what, why, need.name) for need, why in failures if why), (), 0)

    def lines(self, verdict: Verdict) -> Iterator[str]:
        """Yield what cannot be imported, and what to do where that is known."""
        for problem in verdict.problems:
            remedy = missing_parts.for_failure(problem.what, self.release, self.base.contents.os_release)
            yield f"{self.platform}: {problem.place}: {problem.what}{f'. {remedy}' if remedy else ''}"

    def findings(self, _: Verdict) -> tuple[Finding, ...]:
        """Return that all could be imported."""
        evidence = (f"{self.platform}: tried in the image", *(f"{need.what}: {need.name}" for need in self.needed))
        return (Finding(_CHECK, _TITLE, Status.PASS, evidence),)


def run(
    project: Project,
    bases: Mapping[Platform, UnpackedBase],
    servers: Sequence[BakedServer],
    store: BlobStore,
    progress: Progress,
) -> tuple[Finding, ...]:
    """Try imports and feature repos on each platform that this machine can run, and say which it cannot.

    What packages bring is tried once for all ``servers`` (the bundle's first), a site's own classes and its definitions
    in each.

    Raises:
        SpecError: something cannot be imported, or Feast refuses a repo; each is a line of its details.
        ToolFailedError: the image could not be unpacked, or its Python does not run.
    """
    needed = wanted(project)
    shared = tuple(sorted({need for needs in needed.values() for need in needs if not need.is_own}))
    findings: list[Finding] = []
    imports: list[str] = []
    repos: list[str] = []
    for platform, base in bases.items():
        for server in servers:
            image, release = server.images[platform], project.spec.feast.version
            own = tuple(sorted(need for need in needed.get(server.tenant, ()) if need.is_own))
            trials: list[Trial] = [RepoTrial(project, platform, image, base, server.repo)]
            trials += [_ImportTrial(platform, image, base, own, release, with_repo=True)] if own else []
            trials += [_ImportTrial(platform, image, base, shared, release)] if server is servers[0] else []
            if reason := _reason(trials, platform, store):
                findings += _not_tried(platform, server, reason)
                continue
            for trial, verdict in zip(trials, _verdicts(trials, image, store, progress), strict=True):
                (repos if isinstance(trial, RepoTrial) else imports).extend(trial.lines(verdict))
                findings += [] if verdict.problems else trial.findings(verdict)
    _refuse(imports, repos)
    return tuple(findings)


def compile_early(project: Project, bases: Mapping[Platform, UnpackedBase]) -> None:
    """Refuse definitions that cannot compile in the image, before anything is fetched for it.

    An older Python than the image's cannot tell: what it does not know may be right there, and the image decides later.

    Raises:
        SpecError: naming file, line and what Python says, for every file that does not compile.
    """
    pythons = [base.contents.python.version for base in bases.values() if base.contents.python]
    if all(sys.version_info[:2] >= version for version in pythons):
        repos = (project.repo, *project.own.values())
        sources = ((repo.folder / path, content) for repo in repos for path, content in repo.sources().items())
        repository.check_sources({str(path): content for path, content in sources})


def _refuse(imports: Sequence[str], repos: Sequence[str]) -> None:
    """Raise ``SpecError`` with every problem of every image at once, where there is one."""
    lines = tuple(dict.fromkeys((*imports, *repos)))
    if not lines:
        return
    count = "a reason" if len(lines) == 1 else f"{len(lines)} reasons"
    if not repos:
        raise SpecError(
            "The image cannot import what the deployment needs.",
            remedy="Name what is missing in 'packages', 'requirements' or 'system_packages' of the spec.",
            details=lines,
        )
    raise SpecError(
        f"`feast apply` would fail with this image, for {count}.",
        remedy="Correct each, then build again. Nothing was packed.",
        details=lines,
    )


def _remembered(trial: Trial, store: BlobStore) -> Verdict | None:
    """Return what was seen before; only verdicts without problems are kept."""
    record = store.recall(_RECORD, trial.key)
    if record == "passed":  # as versions before 0.2 wrote it
        return Verdict((), (), 0)
    try:
        return Verdict.from_json(record)
    except ValueError:
        return None


def _reason(trials: Sequence[Trial], platform: Platform, store: BlobStore) -> str:
    """Return why something that was not tried before cannot be tried here, empty where it can."""
    if all(_remembered(trial, store) for trial in trials):
        return ""
    return image_root.unavailable(platform)


def _verdicts(trials: Sequence[Trial], image: Image, store: BlobStore, progress: Progress) -> list[Verdict]:
    """Return the verdict of each trial; the image is unpacked at most once, and only where one was not tried before."""
    verdicts = {trial.key: known for trial in trials if (known := _remembered(trial, store))}
    missing = [trial for trial in trials if trial.key not in verdicts]
    *packages, repo = image.layers
    if missing:
        with progress.task("Importing in the image", total=1 + len(missing)) as task:
            task.note("unpacking")
            with unpacked_images.unpacked(packages, store, over=repo) as root:
                task.advance(1)
                task.note("importing")
                for trial in missing:
                    verdict = verdicts[trial.key] = trial.tried(root)
                    if not verdict.problems:
                        store.remember(_RECORD, trial.key, verdict.to_json())
                    task.advance(1)
    return [verdicts[trial.key] for trial in trials]


def _not_tried(platform: Platform, server: BakedServer, reason: str) -> Iterator[Finding]:
    """Yield what was not tried; whether the definitions compile is then at least known of this program's Python."""
    remedy = "The imports were not tried. Rehearse the bundle on a machine of that platform with Docker or Podman."
    problems = repository.problems(server.repo.sources())
    evidence = (f"{platform}: not tried: {reason}", *problems)
    yield Finding(_CHECK, _TITLE, Status.MANUAL, evidence, remedy, "bundler rehearse BUNDLE")

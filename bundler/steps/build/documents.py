"""Documents: everything in a bundle that is written from what was built: manifests, checklist, bills of materials."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bundler import __version__
from bundler.errors import SpecError
from bundler.feast.deployment import wiring
from bundler.feast.deployment.tenant import DeploymentImages
from bundler.feast.deployment.tenants import Baked
from bundler.feast.emulation import image_check
from bundler.feast.rules import advice, feast_releases, kubectl_image, permissions, store_addresses
from bundler.kube.manifest_file import ManifestFile
from bundler.model import layout
from bundler.model.delta import BaseBundle
from bundler.model.findings import Finding, Report, Status, passed
from bundler.model.lock import BundleLock
from bundler.model.manifest import BundledImage
from bundler.model.reference import ImageRef
from bundler.oci import references, relocation
from bundler.render import checklist as checklist_text
from bundler.render import manifests, mirror_config
from bundler.steps import lint
from bundler.steps.build.bake import BakedServer
from bundler.steps.build.builder import EngineWork
from bundler.steps.bundle import delta
from bundler.steps.checklist import assemble as checklist
from bundler.steps.checklist.facts import ChecklistFacts, OperatorFacts, PythonFacts, RepoFacts
from bundler.steps.lock.lockfile import Gathered
from bundler.steps.lock.project import Project
from bundler.steps.sources import gather

FEATURE_SERVER = "feature-server"
TOOL = f"bundler {__version__}"


@dataclass(frozen=True)
class BuildFacts:
    """What the documents are about: a project, what was gathered for it, its lock, and the images of the bundle."""

    project: Project
    gathered: Gathered
    lock: BundleLock
    images: tuple[BundledImage, ...]
    servers: tuple[BakedServer, ...]
    """The bundle's own first."""
    imported: tuple[Finding, ...]
    """What trying its imports showed, on each platform."""
    signed: bool
    attested: Mapping[str, bytes] = field(default_factory=dict)
    """Bills of materials and provenance, by path."""
    engine_work: EngineWork | None = None
    """What a container engine baked the images from, where one did."""
    base: BaseBundle | None = None
    """What a delta leaves to another bundle."""

    @property
    def created(self) -> str:
        """When the bundle was made (RFC 3339, UTC)."""
        return dt.datetime.fromtimestamp(self.lock.created, dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def pinned(self, role: str) -> str:
        """Return the internal reference of the image with a role, by tag and digest."""
        return next(image.pinned for image in self.images if image.role == role)

    def pinned_server(self, server: BakedServer) -> str:
        """Return the internal reference of a feature server, by tag and digest."""
        return next(image.pinned for image in self.images if image.internal == str(server.internal))

    @property
    def sources(self) -> Mapping[str, str]:
        """Source reference -> internal reference by digest, of the images that come from a registry."""
        return {image.reference: image.pinned for image in self.images if image.reference != image.internal}


def checked(facts: BuildFacts) -> ChecklistFacts:
    """Render and check the manifests; they are in what is returned, which the checklist is written from.

    Raises:
        SpecError: the operator's own definition would refuse a manifest, or one names an image that the bundle does
            not bring.
    """
    return _facts(facts, _manifests(facts))


def rehearsed(facts: ChecklistFacts, rehearsal: Report) -> ChecklistFacts:
    """Add what a rehearsal of the manifests showed; raise ``SpecError`` where they did not serve."""
    _refuse_failed(rehearsal.findings, "The rehearsal failed: the bundle would not serve features.")
    return replace(facts, rehearsal=rehearsal)


def write(subject: BuildFacts, facts: ChecklistFacts) -> Mapping[str, bytes]:
    """Return path in the bundle -> content of every document; ``facts`` are what ``checked`` returned."""
    report, cover = checklist.assemble(facts)
    texts = {
        **{layout.manifest(path): file.text for path, file in facts.manifests.items()},
        **{layout.mirror(name): text for name, text in _mirrors(subject).items()},
        **{
            layout.build(name): text
            for name, text in (subject.engine_work.files if subject.engine_work else {}).items()
        },
        layout.LOCK: subject.lock.to_text(),
        layout.CHECKLIST_HTML: checklist_text.to_html(report, cover),
        layout.CHECKLIST_JSON: checklist_text.to_json(report, cover),
        layout.CHECKLIST_MARKDOWN: checklist_text.to_markdown(report, cover),
    }
    return {**{path: text.encode() for path, text in texts.items()}, **subject.attested}


def _manifests(facts: BuildFacts) -> Mapping[str, ManifestFile]:
    operator = facts.gathered.operator
    install = operator.manifest
    if install is not None:
        install, _ = references.relocate_text(install, facts.sources)
    main = _baked(facts, facts.servers[0])
    own = {server.tenant: _baked(facts, server) for server in facts.servers if server.tenant is not None}
    spec, known = facts.project.spec, operator.capabilities
    return manifests.render(spec, main.config, main.images, known, install, own=own)


def _baked(facts: BuildFacts, server: BakedServer) -> Baked:
    images = DeploymentImages(facts.pinned_server(server), facts.pinned(gather.KUBECTL), wiring.REPO_FOLDER)
    return Baked(server.repo.config, images)


def _mirrors(facts: BuildFacts) -> Mapping[str, str]:
    mirrored = {ImageRef.parse(source): ImageRef.parse(internal) for source, internal in facts.sources.items()}
    return mirror_config.files(mirrored, facts.project.spec.name) if mirrored else {}


def _facts(build: BuildFacts, emitted: Mapping[str, ManifestFile]) -> ChecklistFacts:
    spec, lock = build.project.spec, build.lock
    base = spec.base.image or f"debian:{spec.base.debian}"
    held = {str(platform): len(unpacked.contents.distributions) for platform, unpacked in build.gathered.bases.items()}
    return ChecklistFacts(
        name=spec.name,
        version=spec.version,
        created=build.created,
        tool=TOOL,
        feast_version=spec.feast.version,
        registry=relocation.prefix(spec.registry),
        base=f"{base} ({', '.join(row.base_digest for row in lock.platforms)})",
        lock=lock.digest,
        signed=build.signed,
        repos=tuple(
            RepoFacts(len(server.repo.files), server.repo.fingerprint, wiring.REPO_FOLDER, build.pinned_server(server))
            for server in build.servers
        ),
        operator=OperatorFacts(spec.operator.version, spec.operator.preinstalled),
        python=tuple(
            PythonFacts(row.platform, row.python, len(row.installed), held[row.platform]) for row in lock.platforms
        ),
        images=build.images,
        manifests=emitted,
        checks=_checks(build, emitted),
        notes=(f"Versions of Python packages that the spec does not name come from {lock.constraints}.",),
    )


def _checks(facts: BuildFacts, emitted: Mapping[str, ManifestFile]) -> tuple[Finding, ...]:
    operator = facts.gathered.operator
    resources = [
        document for path, file in emitted.items() if path.endswith("featurestore.yaml") for document in file.documents
    ]
    internal = [name for image in facts.images for name in (image.internal, image.pinned)]
    findings = [*facts.imported, image_check.check(emitted.values(), internal)]
    for resource in resources:
        findings += [lint.accepted(resource, operator.crd)] if operator.crd is not None else []
        findings += advice.advise(resource, operator.capabilities)
        findings.append(feast_releases.offline_server(resource, facts.project.spec.feast.version))
    spec = facts.project.spec
    for repo in (server.repo for server in facts.servers):
        findings.append(permissions.coverage(repo.sources(), repo.config.auth))
        findings.append(permissions.policies(repo.sources(), repo.config.auth))
        findings.append(feast_releases.mysql_registry(repo.config, spec.feast.version))
        findings += store_addresses.check(repo.config, spec.deployment.namespace)
    findings += _baked_files(facts)
    findings += _yanked(facts.lock)
    findings.append(kubectl_image.platforms(spec.deployment.cron_job.kubectl.image, spec.target_platforms))
    findings += [delta.finding(facts.base, relocation.prefix(facts.project.spec.registry))] if facts.base else []
    _refuse_failed(findings, "The rendered manifests would not work on the cluster.")
    return tuple(findings)


def _baked_files(facts: BuildFacts) -> Iterator[Finding]:
    """Yield every file of the feature repos with its size and digest, and what was said of secrets among them."""
    for server in facts.servers:
        lines = (f"{file.path}: {file.size} bytes, {file.digest}" for file in server.repo.files)
        yield passed("baked-files", f"The feature repo in {facts.pinned_server(server)}", *lines)
    title = "Secrets and leftovers in the feature repos"
    if allowed := facts.project.allowed_secrets:
        remedy = "Read the reason for each: these files look like secrets or leftovers, and the spec allows them."
        yield Finding("secrets", title, Status.MANUAL, tuple(map(str, allowed)), remedy)
    else:
        looked = (
            "every file, the requirement files and the spec were looked through by name and content; none was found"
        )
        yield passed("secrets", title, looked)


def _yanked(lock: BundleLock) -> Iterator[Finding]:
    """Yield a finding where releases are locked that their authors have withdrawn."""
    wheels = {f"{wheel.name} {wheel.version}": wheel.yanked for row in lock.platforms for wheel in row.wheels}
    lines = [f"{name}: {reason or 'no reason given'}" for name, reason in wheels.items() if reason is not None]
    if lines:
        remedy = "Their authors withdrew these releases: ask for others, or say why you keep them."
        yield Finding("yanked", "Releases that were yanked from the package index", Status.MANUAL, tuple(lines), remedy)


def _refuse_failed(findings: Sequence[Finding], problem: str) -> None:
    failed = [finding for finding in findings if finding.status is Status.FAIL]
    if failed:
        details = tuple(
            f"{finding.title}: {line}" for finding in failed for line in (*finding.evidence, finding.remedy)
        )
        raise SpecError(problem, details=details)

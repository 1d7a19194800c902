"""Build: run the steps from a spec to one offline bundle; each part is a module of its own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from cryptography.hazmat.primitives.asymmetric import ec

from bundler.effects import files
from bundler.effects.archive import signing
from bundler.effects.blobs import BlobStore
from bundler.effects.packages import index, local_projects, wheelhouse
from bundler.errors import LockError, SpecError
from bundler.feast.rules import supported
from bundler.model.delta import BaseBundle
from bundler.model.digest import Digest
from bundler.model.findings import Finding
from bundler.model.lock import BundleLock
from bundler.model.progress import Progress
from bundler.oci import relocation
from bundler.render import provenance
from bundler.steps.build import (
    attestations,
    builders,
    documents,
    image_signatures,
    import_check,
    pack,
    servers,
    vulnerability_scan,
)
from bundler.steps.build.attestations import Attestation
from bundler.steps.build.bake import BakedServer
from bundler.steps.build.bills import BuildInputs
from bundler.steps.build.builder import ImageBuilder
from bundler.steps.build.documents import BuildFacts
from bundler.steps.build.pack import Described, ImageToPack, Packed, PackPlan
from bundler.steps.build.plan import BuildPlan, PackagePlan
from bundler.steps.build.referrer_companions import Referring
from bundler.steps.build.request import BuildRequest, Built
from bundler.steps.build.steps import BuildStep, StepKind, engine_of, steps
from bundler.steps.bundle import delta
from bundler.steps.checklist.facts import ChecklistFacts
from bundler.steps.lock import lockfile as locking
from bundler.steps.lock import project, resolve, sdists
from bundler.steps.lock.lockfile import Gathered, GatherJob
from bundler.steps.lock.project import Project
from bundler.steps.lock.sdists import Asking
from bundler.steps.rehearsal.inputs import BuildInput
from bundler.steps.sources.gather import GatheredBases


def plan(request: BuildRequest, store: BlobStore, progress: Progress) -> BuildPlan:
    """Say what a build would do, which images and packages it would fetch, and how many bytes.

    Only manifests of images are fetched. Raises as ``run`` where the spec or a registry is at fault.
    """
    loaded = project.load(request.spec_file)
    lock = project.read_lock(loaded)
    with index.trusting(request.access.tls.ca_certificates):
        mirror = locking.plan(loaded, lock, store, progress, request.access)
    return BuildPlan(_steps(request, loaded, lock), mirror, PackagePlan.of(lock, store) if lock else None)


def run(request: BuildRequest, store: BlobStore, progress: Progress) -> Built:
    """Build the bundle of a spec.

    Raises:
        BundlerError: of the kind that each step documents; nothing has the bundle's name then.
    """
    loaded = project.load(request.spec_file)
    existing = project.read_lock(loaded)
    planned = _steps(request, loaded, existing)
    files.require_folder(request.output_dir)
    with index.trusting(request.access.tls.ca_certificates), ExitStack() as stack:
        work = _Work(request, loaded, store, progress, existing=existing, stack=stack)
        for number, step in enumerate(planned, start=1):
            progress.say(f"Step {number} of {len(planned)}: {step.title}")
            work.run(step.kind)
    return Built(work.packed, loaded.lock_file)


def _steps(request: BuildRequest, loaded: Project, lock: BundleLock | None) -> tuple[BuildStep, ...]:
    return steps(
        loaded.spec,
        engine=engine_of(loaded.spec, request.engine),
        has_lock=lock is not None,
        rehearse=request.rehearsal is not None,
        signed=request.sign_key is not None,
        sign_images=request.sign_images,
    )


class _Work:
    """What the steps of one build hand on to each other: each method is a step, and sets what later ones need."""

    key: ec.EllipticCurvePrivateKey | None
    base: BaseBundle | None
    job: GatherJob
    bases: GatheredBases
    gathered: Gathered
    lock: BundleLock
    builder: ImageBuilder
    servers: tuple[BakedServer, ...]
    imported: tuple[Finding, ...]
    signed: tuple[Finding, ...] = ()
    signatures: Referring
    images: tuple[ImageToPack, ...]
    described: Described
    facts: BuildFacts
    checklist: ChecklistFacts
    documents: Mapping[str, bytes]
    packed: Packed

    def __init__(
        self,
        request: BuildRequest,
        loaded: Project,
        store: BlobStore,
        progress: Progress,
        *,
        existing: BundleLock | None,
        stack: ExitStack,
    ) -> None:
        self.request = request
        self.project = loaded
        self.existing = existing
        self.store = store
        self.progress = progress
        self.stack = stack
        self.signatures = {}

    def run(self, kind: StepKind) -> None:
        """Do one step."""
        actions = {
            StepKind.CHECK: self._check,
            StepKind.BASES: self._gather_bases,
            StepKind.IMAGES: self._mirror_images,
            StepKind.LOCK: self._lock,
            StepKind.PACKAGES: self._fetch_packages,
            StepKind.BAKE: self._bake,
            StepKind.IMPORTS: self._check_imports,
            StepKind.SIGN_IMAGES: self._sign_images,
            StepKind.MANIFESTS: self._render_manifests,
            StepKind.REHEARSE: self._rehearse,
            StepKind.DOCUMENTS: self._write_documents,
            StepKind.PACK: self._pack,
        }
        actions[kind]()

    def _check(self) -> None:
        request, spec = self.request, self.project.spec
        if old := supported.too_old(spec.feast.version):
            raise SpecError(f"feast.version: {old}.", remedy="Move the feature repo to a later release of Feast.")
        # What is wrong with the key need not wait for the bake.
        self.key = signing.load_key(request.sign_key.path, request.sign_key.password) if request.sign_key else None
        self.base = delta.base_of(request.base, spec.name, spec.version, request.trust) if request.base else None
        self.store.sweep()
        if self.existing is None and request.locked:
            raise LockError(
                f"{self.project.lock_file} does not exist.", remedy=f"Write it with: {self.project.lock_command}"
            )
        self.job = locking.gather_job(
            self.project, self.existing, self.store, self.progress, reader=request.reader, access=request.access
        )

    def _gather_bases(self) -> None:
        self.bases = self.job.bases()
        import_check.compile_early(self.project, self.bases.platforms)

    def _mirror_images(self) -> None:
        self.gathered = self.job.gathered(self.bases, self.job.images())

    def _lock(self) -> None:
        self.lock = locking.fitting(
            self.project,
            self.existing,
            self.gathered,
            self.store,
            self.progress,
            epoch=self.request.epoch,
            locked=self.request.locked,
        )

    def _fetch_packages(self) -> None:
        rows, wheels = self.lock.rows, self.project.folder / self.project.spec.wheels
        wanted = self.project.requirements
        options = wanted.index_options
        if wanted.projects and not all(
            self.store.has(Digest(wheel.sha256), wheel.size) for row in rows.values() for wheel in row.wheels
        ):
            with local_projects.built(
                [(project.local, project.place) for project in wanted.projects if project.local]
            ) as built:
                local_projects.keep(built, self.store)
        direct = {address.filename: address.location for address in wanted.addresses}
        for platform, base in self.gathered.bases.items():
            row, python = rows[platform], resolve.image_python(base, platform)
            wheelhouse.fetch(
                row.wheels,
                python,
                self.store,
                wheels_dir=wheels,
                progress=self.progress,
                options=options,
                direct=direct,
            )
            sdists.fetch(row, Asking(python, options, self.store, self.progress), wheels)

    def _bake(self) -> None:
        engine = engine_of(self.project.spec, self.request.engine)
        self.builder = self.stack.enter_context(
            builders.chosen(
                engine,
                self.project,
                self.gathered.bases,
                self.request.environment,
                store=self.store,
                progress=self.progress,
            )
        )
        self.servers = servers.bake(self.project, self.gathered.bases, self.lock, self.builder)
        self.stack.close()  # the engine is not needed any more
        self.images = servers.to_pack(self.project, self.servers, self.gathered.images, self.store)

    def _check_imports(self) -> None:
        self.imported = import_check.run(self.project, self.gathered.bases, self.servers, self.store, self.progress)

    def _sign_images(self) -> None:
        if self.key is None:
            raise AssertionError("images are signed where there is a key")
        signed = image_signatures.sign(self.images, self.key, self.store)
        self.images = (*self.images, *signed.signatures)
        self.signed = (signed.finding,)
        self.signatures = signed.referring

    def _render_manifests(self) -> None:
        inputs = BuildInputs(self.project, self.gathered, self.lock, self.servers, self.builder.work, self.store)
        builder, attach = self.request.builder_id or provenance.BUILDER, self.request.attest_images
        how = Attestation(self.key, builder, attach, self.signatures)
        attested = attestations.make(inputs, self.images, how)
        scanned = vulnerability_scan.run(self.request.scan, attested.files, self.project.spec.vulnerabilities)
        self.images = (*self.images, *attested.companions)
        self.described = pack.describe(self.images, self.store)
        if self.base:
            self.base = delta.left_to(self.base, self.described.layers)
            if self.base is None:
                self.progress.say(
                    f"{self.request.base} shares no layer with this bundle: this is a full bundle, not a delta"
                )
        self.facts = BuildFacts(
            self.project,
            self.gathered,
            self.lock,
            self.described.images,
            self.servers,
            (*self.builder.findings(), *self.imported, *self.signed, attested.finding, scanned.finding),
            signed=self.request.sign_key is not None,
            attested={**attested.files, **scanned.files},
            engine_work=self.builder.work,
            base=self.base,
        )
        self.checklist = documents.checked(self.facts)

    def _rehearse(self) -> None:
        from bundler.steps.rehearsal import run as rehearse  # noqa: PLC0415  (docker's client, which a build does not need)

        spec, options = self.project.spec, self.request.rehearsal
        if options is None:
            raise AssertionError("a rehearsal is a step where its options are given")
        source = BuildInput(
            f"{spec.name} {spec.version}",
            self.described.images,
            self.checklist.manifests,
            spec.operator.version,
            self.store,
        )
        self.checklist = documents.rehearsed(self.checklist, rehearse.run_input(source, options, self.progress))

    def _write_documents(self) -> None:
        self.documents = documents.write(self.facts, self.checklist)

    def _pack(self) -> None:
        spec, request = self.project.spec, self.request
        planned = PackPlan(
            name=spec.name,
            version=spec.version,
            created=self.lock.created,
            tool=documents.TOOL,
            registry=relocation.prefix(spec.registry),
            images=self.images,
            documents=self.documents,
            base=self.base,
        )
        self.packed = pack.run(
            planned,
            request.output_dir,
            self.store,
            progress=self.progress,
            signing_key=request.sign_key,
            volume_size=request.volume_size,
            described=self.described,
        )

"""Say of the images that a build makes what is in them and how they were made, as files and beside the images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec

from bundler import __version__
from bundler.effects.archive import signing
from bundler.model import layout
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.findings import Finding, passed
from bundler.model.lock import LockedPlatform, LockedSource, LockedWheel
from bundler.model.reference import ImageRef
from bundler.oci import referrers
from bundler.oci.referrers import Artifact
from bundler.render import provenance, sbom
from bundler.render.provenance import BuildRun, InTotoResource
from bundler.steps.build import bills, referrer_companions
from bundler.steps.build.bills import BuildInputs, ImageBill
from bundler.steps.build.pack import ImageToPack
from bundler.steps.build.referrer_companions import Referring


@dataclass(frozen=True)
class Attestation:
    """How to attest: with which key, as which builder (a URI), and whether images get the documents as referrers.

    ``signatures`` refer to images, too, and are put beside the documents.
    """

    key: ec.EllipticCurvePrivateKey | None = None
    builder: str = provenance.BUILDER
    attach: bool = False
    signatures: Referring = field(default_factory=dict)


@dataclass(frozen=True)
class Attested:
    """Files of the bundle by path, companions of images that are in the store, and what the checklist says."""

    files: Mapping[str, bytes]
    companions: tuple[ImageToPack, ...]
    finding: Finding


@dataclass(frozen=True)
class _Provenance:
    """The provenance of an image on all its platforms."""

    image: ImageToPack
    subjects: tuple[Descriptor, ...]
    kind: str
    path: str
    content: bytes


def make(inputs: BuildInputs, images: Sequence[ImageToPack], how: Attestation) -> Attested:
    """Write bills and provenance of every image that was made here, and the bill of the bundle."""
    made = bills.of_images(inputs, images)
    stated = tuple(_provenance(inputs, image, made, how) for image in _images(made))
    files = {layout.sbom(bill.name): bill.text for bill in made}
    files[layout.BUNDLE_BILL] = bills.of_bundle(inputs, images, made).encode()
    files |= {statement.path: statement.content for statement in stated}
    referring: dict[tuple[str, Digest], tuple[Artifact, ...]] = {
        key: tuple(rows) for key, rows in (_referring(made, stated) if how.attach else {}).items()
    }
    for key, rows in how.signatures.items():
        referring[key] = (*referring.get(key, ()), *rows)
    return Attested(files, tuple(referrer_companions.companions(referring, inputs.store)), _finding(files, how))


def _images(made: Sequence[ImageBill]) -> Iterable[ImageToPack]:
    return {bill.image.internal: bill.image for bill in made}.values()


def _finding(files: Mapping[str, bytes], how: Attestation) -> Finding:
    signed = f"the provenance is signed by the key {signing.public_key(how.key, '').key_id}" if how.key else ""
    lines = (
        signed or "the provenance is not signed: the build had no key",
        f"builder: {how.builder}",
        "the images have them as referrers" if how.attach else "as files only: the build did not have --attest-images",
    )
    title = "Bills of materials (CycloneDX) and provenance (SLSA) of what was built here"
    return passed("attestations", title, *lines, *files)


def _provenance(inputs: BuildInputs, image: ImageToPack, made: Sequence[ImageBill], how: Attestation) -> _Provenance:
    own = [bill for bill in made if bill.image == image]
    subjects = tuple({row.digest: row for row in (image.root, *(bill.subject for bill in own))}.values())
    run = BuildRun(
        how.builder,
        __version__,
        external={
            "bundle": inputs.project.spec.name,
            "version": inputs.project.spec.version,
            "specification": str(inputs.lock.spec),
            "platforms": [str(bill.platform) for bill in own],
            "role": image.role,
        },
        internal={
            "lock": str(inputs.lock.digest),
            "compressor": inputs.lock.compressor,
            "builder": "container engine" if inputs.engine_work else "none",
        },
        inputs=tuple({material: None for bill in own for material in _inputs(inputs, bill)}),
        byproducts=tuple(InTotoResource(layout.sbom(bill.name), "", Digest.of(bill.text)) for bill in own),
    )
    name = ImageRef.parse(image.internal).name
    payload = provenance.statement([InTotoResource(name, "", row.digest) for row in subjects], run)
    file_name = name.rpartition("/")[2]
    if how.key is None:
        return _Provenance(
            image, subjects, provenance.STATEMENT, layout.provenance(f"{file_name}.intoto.json"), payload
        )
    signature = signing.sign(provenance.to_sign(payload), how.key)
    envelope = provenance.envelope(payload, signature, signing.public_key(how.key, "").key_id)
    return _Provenance(image, subjects, provenance.ENVELOPE, layout.provenance(f"{file_name}.dsse.json"), envelope)


def _inputs(inputs: BuildInputs, bill: ImageBill) -> Iterator[InTotoResource]:
    """Yield everything that went into an image on one platform."""
    yield from (InTotoResource(package.name, package.purl) for package in bill.debian)
    if bill.server is None:
        return
    repo, row = bill.server.repo, inputs.lock.rows[bill.platform]
    base = inputs.project.spec.base
    yield InTotoResource(f"base image for {bill.platform}", "", Digest.parse(row.base_digest))
    yield InTotoResource(f"feature repo {repo.config.project}", inputs.project.spec.source or "", repo.fingerprint)
    yield InTotoResource(layout.LOCK, "", inputs.lock.digest)
    yield from _packages(row)
    if base.image is not None:
        for image in inputs.gathered.base_images:
            yield InTotoResource(image.reference, "", Digest.parse(image.source_digest))


def _packages(row: LockedPlatform) -> Iterator[InTotoResource]:
    packages: list[LockedWheel | LockedSource] = [*row.wheels, *row.sources, *row.tools]
    for package in packages:
        purl = sbom.PythonPackage(package.name, package.version).purl
        yield InTotoResource(package.filename, purl, Digest(package.sha256))


def _referring(made: Sequence[ImageBill], stated: Sequence[_Provenance]) -> Referring:
    """Return the documents as artifacts, by the image that each refers to."""
    by_subject: dict[tuple[str, Digest], list[Artifact]] = {}
    for statement in stated:
        for subject in statement.subjects:
            artifact = referrers.artifact(statement.kind, statement.content, subject, statement.path)
            by_subject.setdefault((statement.image.internal, subject.digest), []).append(artifact)
    for bill in made:
        artifact = referrers.artifact(sbom.MEDIA_TYPE, bill.text, bill.subject, layout.sbom(bill.name))
        by_subject[bill.image.internal, bill.subject.digest].append(artifact)
    return by_subject

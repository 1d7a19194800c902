"""Verify: compute again everything that a bundle says of itself, where it lies, and report every fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bundler.effects.archive import digests as archive_digests
from bundler.effects.archive.digests import Hashed
from bundler.effects.archive.reader import Bundle, BundleFile
from bundler.errors import VerificationError
from bundler.model import checksums, layout
from bundler.model.digest import Digest
from bundler.model.findings import Finding, Report, Section, Status
from bundler.model.manifest import BundleManifest, FileEntry
from bundler.model.plain_text import plain
from bundler.model.progress import Progress, SilentProgress
from bundler.model.trust import UNCHECKED, Trust
from bundler.steps.bundle import verify_documents, verify_images

if TYPE_CHECKING:
    from bundler.model.vulnerabilities import VulnerabilityPolicy

_COPY: Final = "Copy the bundle again from where it was built, and verify it again."
_REMEDY: Final = "Copy the bundle again, then run: bundler verify BUNDLE"


@dataclass(frozen=True)
class _Seen:
    """What was read of a bundle before anything is judged."""

    bundle: Bundle
    manifest: BundleManifest | None
    members: Mapping[str, BundleFile]
    hashed: Mapping[str, Hashed]

    def digest(self, path: str) -> Digest | None:
        """The digest of the bytes of a file, None where it is not here, cannot be read or was not asked for."""
        return self.hashed[path].digest if path in self.hashed else None

    def place(self, path: str) -> str:
        """Say where a file lies."""
        return self.bundle.place(self.members[path])


def run(
    path: Path,
    *,
    progress: Progress,
    public_key: Path | None = None,
    trust: Trust = UNCHECKED,
    now: str = "",
    policy: VulnerabilityPolicy | None = None,
) -> Report:
    """Verify a bundle's file; see ``check``. Approvals are judged by ``trust`` at the time ``now`` (RFC 3339, UTC).

    ``policy`` judges what the build found of vulnerabilities.

    Raises:
        UsageError: there is nothing to read.
        VerificationError: it lacks a signature that ``trust`` demands; nothing else was read then.
    """
    with Bundle.open(path, trust) as bundle:
        report = check(bundle, progress=progress, public_key=public_key)
        if report.failed:
            return report
        approved = _approvals(bundle, trust, now)
        judged = _vulnerabilities(bundle, policy, now) if policy else ()
        stated = _provenance(bundle, trust)
    return replace(report, sections=(*report.sections, *stated, *approved, *judged))


# Few bundles have approvals, and few sites a policy: what judges them is a third of what every command would import.


def _provenance(bundle: Bundle, trust: Trust) -> tuple[Section, ...]:
    if not trust.keys or not any(path.startswith(layout.PROVENANCE) for path in bundle.known):
        return ()
    from bundler.steps.bundle import verify_provenance  # noqa: PLC0415  (most bundles have none, or no key is trusted)

    return verify_provenance.sections(bundle, trust.keys)


def _approvals(bundle: Bundle, trust: Trust, now: str) -> tuple[Section, ...]:
    if not any(map(layout.approver, bundle.members)):
        return ()
    from bundler.effects.archive import approvals  # noqa: PLC0415  (start-up time)
    from bundler.steps.bundle import approved_checklist  # noqa: PLC0415  (start-up time)

    return approved_checklist.section(approvals.judged(bundle, trust, now))


def _vulnerabilities(bundle: Bundle, policy: VulnerabilityPolicy, now: str) -> tuple[Section, ...]:
    from bundler.steps.bundle import vulnerability_policy  # noqa: PLC0415  (start-up time)

    return (vulnerability_policy.section(bundle, policy, now),)


def check(
    bundle: Bundle,
    *,
    progress: Progress,
    public_key: Path | None = None,
    hashed: Mapping[str, Hashed] | None = None,
    blobs: bool = True,
) -> Report:
    """Verify an open bundle; its contents are read once, its metadata a few times.

    ``hashed`` is what its files hash to (by path), where they were read already. Without ``blobs``, layers are not
    hashed; all else is checked, which is what every command does before it believes a bundle.

    Raises:
        ToolMissingError: a public key is given, and there is no openssl.
        UsageError: the public key cannot be used.
    """
    manifest, unreadable = _manifest(bundle)
    structure = list(_structure(bundle, manifest))  # reads every header: what is known is complete only after it
    wanted = {path: file for path, file in bundle.known.items() if blobs or layout.blob_digest(path) is None}
    hashes = archive_digests.compute(bundle, wanted, progress) if hashed is None else hashed
    seen = _Seen(bundle, manifest, bundle.known, hashes)
    trust = [*unreadable, *_signature(seen, public_key)]
    files = [*structure, *_files(seen), *_checksums(seen)]
    sections = [Section("Trust", tuple(trust)), Section("Files", tuple(files))]
    if manifest:
        sections.append(Section("Images", tuple(verify_images.check(bundle, manifest))))
        sections.append(Section("Documents", tuple(verify_documents.check(bundle, manifest))))
    report = Report(f"Verification of {bundle.path.name}", tuple(sections))
    if report.failed and (volumes := tuple(_volumes(bundle))):
        return replace(report, sections=(*report.sections, Section("Volumes", volumes)))
    return report


def require(bundle: Bundle, *, progress: Progress, hashed: Mapping[str, Hashed] | None = None) -> None:
    """Verify, and raise ``VerificationError`` with every fault as its details where there is one; see ``check``."""
    report = check(bundle, progress=progress, hashed=hashed)
    if report.failed:
        raise VerificationError(
            f"The bundle {bundle.path} does not match its own {layout.MANIFEST}.",
            details=_faults(report),
            remedy=_REMEDY,
        )


def require_metadata(bundle: Bundle) -> None:
    """Verify everything but the bytes of layers, which are hashed on their way or by whoever pulls them.

    Every command that reads a bundle begins with this, so that none accepts what another one refuses.

    Raises:
        VerificationError: every fault is a line of the details.
    """
    # What is at fault in bundle.json itself is the first thing to say, and nothing else can be compared without it.
    _ = bundle.manifest
    report = check(bundle, progress=SilentProgress(), blobs=False)
    if report.failed:
        raise VerificationError(
            f"The bundle {bundle.path} is damaged or was altered.", remedy=_REMEDY, details=_faults(report)
        )


def _faults(report: Report) -> tuple[str, ...]:
    faults = [finding for finding in report.findings if finding.status is Status.FAIL]
    return tuple(": ".join((finding.title, *finding.evidence)) for finding in faults)


def _volumes(bundle: Bundle) -> Iterator[Finding]:
    """Say which volumes of a damaged bundle are not as they were written, where the digests of them lie beside them."""
    listed = bundle.volumes.listed()
    if not listed:
        return
    written_as = {digest: name for name, digest in listed.items()}
    try:
        digests = archive_digests.of_volumes(bundle)
    except OSError as error:  # a failing disk or stick
        yield _fault("volumes", "A volume cannot be read", str(error.strerror))
        return
    for volume, digest in zip(bundle.volumes.files, digests, strict=True):
        name = volume.path.name
        if listed.get(name) != digest:
            other = written_as.get(digest)
            title = f"{name} is {other} under another name" if other else f"{name} is damaged"
            yield _fault("volumes", title, f"expected {listed.get(name)}", f"found    {digest}")


def _fault(check_name: str, title: str, *evidence: str, remedy: str = _COPY) -> Finding:
    return Finding(check_name, plain(title), Status.FAIL, tuple(map(plain, evidence)), remedy)


def _manifest(bundle: Bundle) -> tuple[BundleManifest | None, list[Finding]]:
    try:
        return bundle.manifest, []
    except VerificationError as error:
        return None, [_fault("manifest", f"{layout.MANIFEST} cannot be used", error.problem)]


def _structure(bundle: Bundle, manifest: BundleManifest | None) -> Iterator[Finding]:
    faults = list(_walk(bundle, manifest))
    if manifest:
        late = [member for member in bundle.known.values() if member.mtime != manifest.created]
        faults += [f"{member.path} has the time {member.mtime}, the bundle {manifest.created}" for member in late]
    for fault in faults:
        yield _fault("structure", "The tar is damaged", fault)
    if not faults:
        evidence = f"{len(bundle.known)} files in {bundle.size} bytes, in order, each once, nothing else, a proper end"
        yield Finding("structure", "The tar is whole", Status.PASS, (evidence,))


def _walk(bundle: Bundle, manifest: BundleManifest | None) -> Iterator[str]:
    """Read every header; where one cannot be read, go on behind the file that should be there."""
    while True:
        try:
            _ = bundle.members
        except VerificationError as error:
            yield error.problem
            expected = _next_expected(bundle, manifest)
            if manifest and expected and bundle.skip_damaged(expected.path, expected.size, manifest.created):
                continue
            yield "what lies behind that byte cannot be found"
        return


def _next_expected(bundle: Bundle, manifest: BundleManifest | None) -> FileEntry | None:
    last = max(map(layout.order, bundle.known), default=(-1, ""))
    later = (entry for entry in (manifest.files if manifest else ()) if layout.order(entry.path) > last)
    return next(later, None)


def _files(seen: _Seen) -> Iterator[Finding]:
    """Compare each file with its line in ``bundle.json``, and each blob with its name."""
    faults = [*_unreadable(seen), *_misnamed(seen)]
    if seen.manifest:
        faults += [*_altered(seen, seen.manifest), *_extra(seen, seen.manifest)]
    yield from faults
    if seen.manifest and not faults:
        count, size = len(seen.manifest.files), sum(entry.size for entry in seen.manifest.files)
        evidence = (
            f"{count} files, {size} bytes: each has the digest that {layout.MANIFEST} says, none is missing or extra"
        )
        yield Finding("files", "Every file is what it was", Status.PASS, (evidence,))


def _unreadable(seen: _Seen) -> Iterator[Finding]:
    for path, hashed in seen.hashed.items():
        if hashed.fault:
            yield _fault("files", f"{path} is damaged", hashed.fault, seen.place(path))


def _altered(seen: _Seen, manifest: BundleManifest) -> Iterator[Finding]:
    for entry in manifest.files:
        if entry.path not in seen.members:
            yield _fault("files", f"{entry.path} is missing", f"expected {entry.digest}, {entry.size} bytes")
            continue
        # A layer that is not hashed counts by its name, by which it is hashed when it is pulled.
        member = seen.members[entry.path]
        digest = seen.digest(entry.path) if entry.path in seen.hashed else layout.blob_digest(entry.path)
        if digest and (digest, member.size) != (entry.digest, entry.size):
            yield _fault(
                "files",
                f"{entry.path} is altered",
                f"expected {entry.digest}, {entry.size} bytes",
                f"found    {digest}, {member.size} bytes, {seen.place(entry.path)}",
            )


def _extra(seen: _Seen, manifest: BundleManifest) -> Iterator[Finding]:
    listed = {entry.path for entry in manifest.files}
    for path in (path for path in seen.members if path not in listed and not layout.unlisted(path)):
        yield _fault("files", f"{path} is extra", f"{layout.MANIFEST} does not list it")


def _misnamed(seen: _Seen) -> Iterator[Finding]:
    # Without a readable bundle.json the name is all there is; with one, the same fault is reported as "altered".
    for path in seen.members if seen.manifest is None else ():
        named, digest = layout.blob_digest(path), seen.digest(path)
        if digest and named and digest != named:
            yield _fault("files", f"{path} is altered", f"found {digest}, {seen.place(path)}")


def _checksums(seen: _Seen) -> Iterator[Finding]:
    """Compare ``SHA256SUMS`` with the files themselves, line by line."""
    try:
        sums = checksums.parse(seen.bundle.read(layout.CHECKSUMS))
    except (VerificationError, ValueError) as error:
        problem = error.problem if isinstance(error, VerificationError) else str(error)
        yield _fault("checksums", f"{layout.CHECKSUMS} cannot be used", problem)
        return
    covered = {path for path in seen.members if path == layout.MANIFEST or not layout.unlisted(path)}
    faults = [f"{path} is not in it" for path in sorted(covered - sums.keys())]
    faults += [f"{path} is in it and not in the bundle" for path in sorted(sums.keys() - covered)]
    for path in sorted(covered & sums.keys()):
        digest = seen.digest(path)
        if digest and digest != sums[path]:
            faults.append(f"{path} has {digest}, it says {sums[path]}")
    for fault in faults:
        yield _fault("checksums", f"{layout.CHECKSUMS} does not fit the files", fault)
    if not faults:
        evidence = f"{len(sums)} lines, each fits; it covers every file but itself and the signature"
        yield Finding("checksums", f"{layout.CHECKSUMS} fits the files", Status.PASS, (evidence,))


def _signature(seen: _Seen, public_key: Path | None) -> Iterator[Finding]:
    signatures = [path for path in seen.members if layout.is_signature(path)]
    digest = seen.digest(layout.MANIFEST)
    facts = (f"{layout.MANIFEST} {digest}", *_named_signers(signatures))
    if signers := seen.bundle.signers:
        yield Finding(
            "signature", "The signature fits", Status.PASS, (*facts, *(f"signed by {key}" for key in signers))
        )
    if public_key and not signatures:
        yield _fault("signature", "The bundle is not signed", *facts, remedy="Ask its builder for a signed bundle.")
    elif public_key and digest:
        yield _signed_by(seen, public_key, facts)
    elif signatures and not signers:
        command = f"bundler verify {seen.bundle.path.name} --trust PUBLIC_KEY.pem"
        yield Finding("signature", "The signature was not checked", Status.MANUAL, facts, "Give --trust.", command)
    elif not signatures:
        yield Finding("signature", "The bundle is not signed", Status.NOT_APPLICABLE, facts)


def _named_signers(signatures: Sequence[str]) -> Iterator[str]:
    for key_id in filter(None, map(layout.signer, signatures)):
        yield f"there is a signature that says to be by the key {key_id}"


def _signed_by(seen: _Seen, public_key: Path, facts: tuple[str, ...]) -> Finding:
    from bundler.effects.archive import openssl, trusted  # noqa: PLC0415  (openssl is started, which few verifications need)

    key = openssl.public_key(public_key)
    if trusted.signed_by(seen.bundle, key):
        return Finding("signature", "The signature fits", Status.PASS, (*facts, f"signed by {key}"))
    remedy = "Do not use this bundle; ask its builder."
    return _fault("signature", "The signature does not fit", *facts, f"none fits the key {key}", remedy=remedy)

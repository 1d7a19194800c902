"""Approve a bundle: a reviewer signs its digest, with a role, a name, a time and a comment; blobs are not rewritten."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundler.effects.archive import append, openssl
from bundler.effects.archive.reader import Bundle
from bundler.errors import UsageError, VerificationError
from bundler.model import layout, limits
from bundler.model.approval import Approval
from bundler.model.digest import Digest
from bundler.model.progress import Progress
from bundler.model.trust import UNCHECKED, PublicKey, Trust
from bundler.steps.bundle import verify


@dataclass(frozen=True)
class ApprovalRequest:
    """What a reviewer says; times are in RFC 3339, UTC, to the second."""

    role: str
    name: str
    time: str
    comment: str = ""
    expires: str = ""


def payload(path: Path, asked: ApprovalRequest, progress: Progress, trust: Trust = UNCHECKED) -> bytes:
    """Return what a reviewer signs, after all of the bundle was verified.

    Raises:
        UsageError: there is no bundle, or the request has a role, a time or a text that no approval has.
        VerificationError: the bundle is damaged, or lacks signatures that ``trust`` demands.
    """
    title, digest = _verified(path, progress, trust)
    approval = Approval(title, digest, asked.role, asked.name, asked.time, asked.comment, asked.expires)
    try:
        approval.check()
    except ValueError as error:
        raise UsageError(f"This cannot be an approval: {error}.", remedy="bundler approve --help") from error
    if approval.expired(asked.time):
        raise UsageError(f"The approval would end at {asked.expires}, before it begins.", remedy="Correct --expires.")
    return approval.to_bytes()


def with_key(path: Path, content: bytes, key_file: Path, password: bytes | None) -> PublicKey:
    """Sign what ``payload`` returned and put it into the bundle; raises as ``openssl.sign`` and ``append.attach``."""
    signature, key = openssl.sign(content, key_file, password)
    _attach(path, _parsed(content).role, content, signature, key)
    return key


def attach(  # noqa: PLR0917  (the bundle, the three files that belong together, and how to read it)
    path: Path, content: bytes, signature: bytes, public_key: Path, progress: Progress, trust: Trust = UNCHECKED
) -> PublicKey:
    """Put in what ``payload`` returned, with a signature that was made elsewhere.

    Raises:
        VerificationError: the signature does not fit, it approves another bundle, or the bundle is damaged.
        UsageError: there is no bundle, the public key is not one, or the text is not an approval.
    """
    key = openssl.public_key(public_key)
    openssl.require_signature(content, signature, key, "the approval")
    _, digest = _verified(path, progress, trust)
    approval = _parsed(content)
    if approval.digest != digest:
        raise VerificationError(
            f"This approves another bundle: {approval.bundle}, {approval.digest}.",
            remedy=f"Write the text of this bundle with --payload and sign that: its digest is {digest}.",
        )
    _attach(path, approval.role, content, signature, key)
    return key


def _verified(path: Path, progress: Progress, trust: Trust) -> tuple[str, Digest]:
    with Bundle.open(path, trust) as bundle:
        verify.require(bundle, progress=progress)
        manifest = bundle.manifest
        content = bundle.read(layout.MANIFEST, limit=limits.BUNDLE_MANIFEST_SIZE)
    return f"{manifest.name} {manifest.version}", Digest.of(content)


def _parsed(content: bytes) -> Approval:
    try:
        return Approval.parse(content)
    except ValueError as error:
        raise UsageError(
            f"The file of --approval cannot be used: {error}.", remedy="Give the file that --payload wrote, unchanged."
        ) from error


def _attach(path: Path, role: str, content: bytes, signature: bytes, key: PublicKey) -> None:
    text = layout.approval_text(role, key.key_id)
    append.attach(path, {text: content, layout.approval_signature(text): signature})

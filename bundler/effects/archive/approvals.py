"""Judge the approvals in a bundle by the keys of a site's trust files, and demand some of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bundler.effects.archive import openssl
from bundler.effects.archive.signed_files import SignedFiles
from bundler.errors import UsageError, VerificationError
from bundler.model import layout, limits
from bundler.model.approval import Approval
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.model.trust import ApprovalDemand, Approver, PublicKey, Trust

_NOT_APPROVER = "no trust file names this key as an approver"


@dataclass(frozen=True)
class JudgedApproval:
    """An approval in a bundle, and why it does not count; ``problem`` is empty where it counts.

    ``role`` and ``key_id`` are those of its path; ``approval`` is what it says, None where that cannot be read.
    ``key`` is the trusted key that signed it.
    """

    role: str
    key_id: Digest
    approval: Approval | None = None
    problem: str = ""
    key: PublicKey | None = None

    def __str__(self) -> str:
        key = f"key {self.key or self.key_id}"
        signed = f"{self.approval.name} at {self.approval.time}, {key}" if self.approval else key
        return f"approved as {self.role} by {signed}"

    def to_json(self) -> dict[str, Json]:
        """Return the approval for scripts."""
        approval = self.approval
        return {
            "role": self.role,
            "keyId": str(self.key_id),
            "counts": not self.problem,
            "problem": self.problem,
            "approval": approval.to_json() if approval else None,
        }


def judged(bundle: SignedFiles, trust: Trust, now: str) -> tuple[JudgedApproval, ...]:
    """Return every approval in a bundle, by role and key; ``now`` is in RFC 3339, UTC, to the second.

    Raises:
        VerificationError: the headers of the bundle are damaged.
        ToolMissingError: an approver's signature is to be checked, and there is no openssl.
        UsageError: an approver's key is not one that openssl can use.
    """
    named = sorted({named for named in map(layout.approver, bundle.members) if named})
    if not named:
        return ()
    digest = Digest.of(bundle.read(layout.MANIFEST, limit=limits.BUNDLE_MANIFEST_SIZE))
    return tuple(_judge(bundle, digest, role, key_id, trust.approvers, now) for role, key_id in named)


def _judge(  # noqa: PLR0917  (one row of the table: which approval, of what, by whom, when)
    bundle: SignedFiles, digest: Digest, role: str, key_id: Digest, approvers: Mapping[Digest, Approver], now: str
) -> JudgedApproval:
    text = layout.approval_text(role, key_id)
    signature = layout.approval_signature(text)
    if text not in bundle or signature not in bundle:
        missing = text if text not in bundle else signature
        return JudgedApproval(role, key_id, problem=f"{missing} is missing")
    content = bundle.read(text, limit=limits.APPROVAL_SIZE)
    approver = approvers.get(key_id)
    # Of an approver nothing is parsed before the signature fits; what others say is shown, and does not count.
    if approver and openssl.check_signature(content, bundle.read(signature, limit=limits.SIGNATURE_SIZE), approver.key):
        return JudgedApproval(role, key_id, problem="its signature does not fit the key")
    try:
        approval = Approval.parse(content)
    except ValueError as error:
        return JudgedApproval(role, key_id, problem=f"its text cannot be used: {error}")
    problem = _problem(approval, digest, role, approver, now)
    return JudgedApproval(role, key_id, approval, problem, approver.key if approver else None)


def _problem(approval: Approval, digest: Digest, role: str, approver: Approver | None, now: str) -> str:
    """Return why an approval does not count, the first of several reasons; its signature fits, if there is a key."""
    if approver is None:
        return _NOT_APPROVER
    if role not in approver.roles:
        return f"the trust files let this key approve as {', '.join(sorted(approver.roles))} only"
    if approval.role != role:
        return f"it is an approval as {approval.role}"
    if approval.digest != digest:
        return f"it is of another bundle, {approval.bundle}, {approval.digest}"
    return f"it ended at {approval.expires}" if approval.expired(now) else ""


def require(bundle: SignedFiles, trust: Trust, demand: ApprovalDemand) -> tuple[JudgedApproval, ...]:
    """Return the approvals that fulfil a demand; raises as ``judged``.

    Raises:
        UsageError: no trust file names a key that may approve in a role.
        VerificationError: there is no valid approval in a role; the details say why others do not count.
    """
    for role in demand.roles:
        if not any(role in approver.roles for approver in trust.approvers.values()):
            raise UsageError(
                f"No trust file names a key that may approve as {role}.",
                remedy=f"Write 'approves: {role}' before the approver's key in a trust file, and name it with --trust.",
            )
    rows = [row for row in judged(bundle, trust, demand.now) if row.role in demand.roles]
    counting = [row for row in rows if not row.problem]
    if lacking := [role for role in demand.roles if role not in {row.role for row in counting}]:
        raise VerificationError(
            f"The bundle {bundle.path} is not approved as {', '.join(lacking)}.",
            remedy="Do not install it. Ask the reviewer for an approval of this bundle: bundler approve.",
            details=tuple(f"{row}: does not count, {row.problem}" for row in rows if row.role in lacking)
            or ("there is no approval in this role",),
        )
    return tuple(counting)

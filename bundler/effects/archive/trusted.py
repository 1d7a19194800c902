"""Demand the signatures that a site's trust files name, before anything else of a bundle is read."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from bundler.effects.archive import openssl
from bundler.effects.archive.signed_files import SignedFiles
from bundler.errors import VerificationError
from bundler.model import layout, limits
from bundler.model.digest import Digest
from bundler.model.trust import PublicKey, Trust, TrustFile


def require(bundle: SignedFiles, trust: Trust) -> tuple[PublicKey, ...]:
    """Return the trusted keys that signed a bundle's ``bundle.json``.

    Only headers, ``bundle.json`` and its signatures are read, and neither is parsed.

    Raises:
        VerificationError: the keys of a trust file have not signed as often as it demands; or damaged headers.
        ToolMissingError: there is no openssl.
        UsageError: a trusted key is not one that openssl can use.
    """
    signed = _Signed.of(bundle)
    signers = tuple(key for key in trust.keys if signed.by(key))
    for file in trust.files:
        _require(bundle, file, {key.key_id for key in signers}, signed=bool(signed.signatures))
    return signers


def signed_by(bundle: SignedFiles, key: PublicKey) -> bool:
    """Tell whether one of a bundle's signatures fits a key; raises as ``require``."""
    return _Signed.of(bundle).by(key)


@dataclass(frozen=True)
class _Signed:
    """What is signed, and each signature by the id of its key, by None where its path does not say it."""

    content: bytes
    signatures: Mapping[Digest | None, bytes]

    @classmethod
    def of(cls, bundle: SignedFiles) -> _Signed:
        signatures = {
            layout.signer(path): bundle.read(path, limit=limits.SIGNATURE_SIZE)
            for path in bundle.members
            if layout.is_signature(path)
        }
        content = bundle.read(layout.MANIFEST, limit=limits.BUNDLE_MANIFEST_SIZE) if signatures else b""
        return cls(content, signatures)

    def by(self, key: PublicKey) -> bool:
        candidates = {self.signatures[name] for name in (key.key_id, None) if name in self.signatures}
        return any(not openssl.check_signature(self.content, signature, key) for signature in sorted(candidates))


def _require(bundle: SignedFiles, file: TrustFile, signers: AbstractSet[Digest], *, signed: bool) -> None:
    # By id: another trust file may call the same key by another name.
    fitting = [key for key in file.keys if key.key_id in signers]
    if len(fitting) >= file.threshold:
        return
    wanted = f"{file.threshold} of {len(file.keys)} keys" if len(file.keys) > 1 else "its key"
    problem = f"The bundle {bundle.path} is not signed" if not signed else f"The signatures of {bundle.path} do not fit"
    raise VerificationError(
        f"{problem}: {file.place} demands a signature by {wanted}, and {len(fitting)} of them signed it.",
        remedy="Do not use this bundle. Ask its builder for one that these keys have signed.",
        details=tuple(f"{'signed by' if key in fitting else 'not signed by'} {key}" for key in file.keys),
    )

"""Sign a bundle that is built: with a key here, or with a signature that was made elsewhere (PKCS#11, KMS, openssl)."""

from __future__ import annotations

from pathlib import Path

from bundler.effects.archive import append, openssl, signing
from bundler.effects.archive.reader import Bundle
from bundler.model import layout, limits
from bundler.model.progress import Progress
from bundler.model.trust import PublicKey
from bundler.steps.bundle import verify


def payload(path: Path, progress: Progress) -> bytes:
    """Return what is to be signed, ``bundle.json``, after all of the bundle was verified.

    Raises:
        UsageError: there is no bundle.
        VerificationError: it is damaged, and must not be signed.
    """
    with Bundle.open(path) as bundle:
        verify.require(bundle, progress=progress)
        return bundle.read(layout.MANIFEST, limit=limits.BUNDLE_MANIFEST_SIZE)


def with_key(path: Path, key_file: Path, password: bytes | None, progress: Progress) -> PublicKey:
    """Sign a bundle with a private key; raises as ``payload`` and ``append.add_signature``."""
    key = signing.load_key(key_file, password)
    signer = signing.public_key(key, key_file.stem)
    append.add_signature(path, signer.key_id, signing.sign(payload(path, progress), key))
    return signer


def attach(path: Path, signature: bytes, public_key: Path, progress: Progress) -> PublicKey:
    """Put in a signature that was made elsewhere over ``payload``.

    Raises:
        VerificationError: it does not fit the bundle and the key, or the bundle is damaged.
        UsageError: there is no bundle, or the public key is not one.
    """
    signer = openssl.public_key(public_key)
    openssl.require_signature(payload(path, progress), signature, signer, f"the bundle {path}")
    append.add_signature(path, signer.key_id, signature)
    return signer

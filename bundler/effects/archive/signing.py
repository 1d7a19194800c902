"""Keys for ECDSA P-256, and signatures that ``openssl dgst -verify`` and ``cosign verify-blob --key`` accept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bundler.effects import files, key_file
from bundler.errors import UsageError
from bundler.model.trust import PublicKey

_MAKE_ONE: Final = "Make one: bundler keygen NAME"


def load_key(path: Path, password: bytes | None = None) -> ec.EllipticCurvePrivateKey:
    """Read a private key (PEM, PKCS#8 or SEC 1) that nobody but its owner can read.

    Raises:
        UsageError: there is no such key, others may read it, it is not a P-256 key, or the password does not open it.
    """
    content = key_file.read(path, _MAKE_ONE)
    try:
        key = serialization.load_pem_private_key(content, password)
    except TypeError as error:  # a password is missing, or there is one for a key without
        missing = password is None
        problem = "it has a password" if missing else "it has no password, and one was given"
        remedy = "Say where its password is, e.g. --key-password prompt." if missing else "Leave out --key-password."
        raise UsageError(f"Cannot open the signing key {path}: {problem}.", remedy=remedy) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        problem = "it is not a private key in PEM, or the password is wrong"
        raise UsageError(f"Cannot open the signing key {path}: {problem}.", remedy=_MAKE_ONE) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError(f"The signing key {path} is not an ECDSA P-256 key.", remedy=_MAKE_ONE)
    return key


def sign(content: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the signature over SHA-256 as DER, which both programs accept.

    Nonces are derived from key and content (RFC 6979), so that the same bundle is signed with the same bytes.
    """
    return key.sign(content, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def public_key(key: ec.EllipticCurvePrivateKey, name: str) -> PublicKey:
    """Return the public half of a private key."""
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    return PublicKey(name, key.public_key().public_bytes(serialization.Encoding.DER, info))


def generate(private: Path, public: Path, password: bytes | None) -> PublicKey:
    """Make a key pair and write both halves in PEM: PKCS#8, encrypted where there is a password, and the public key.

    Raises:
        UsageError: one of the files is there already: a key is never overwritten.
        ToolFailedError: they cannot be written.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    made = public_key(key, private.stem)
    _write_new(private, pem, 0o600)
    try:
        _write_new(public, made.pem, 0o644)
    except BaseException:
        private.unlink()
        raise
    return made


def _write_new(path: Path, content: bytes, mode: int) -> None:
    with files.explained(path):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        except FileExistsError:
            remedy = "Choose another name: no key is overwritten."
            raise UsageError(f"{path} is there already.", remedy=remedy) from None
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)

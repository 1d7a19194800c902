"""Sign with an ECDSA P-256 key, such that ``openssl dgst -verify`` and ``cosign verify-blob --key`` accept it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bundler.effects import files
from bundler.errors import UsageError

_MAKE_ONE: Final = (
    "Make one: openssl ecparam -genkey -name prime256v1 -noout | openssl pkcs8 -topk8 -out key.pem; "
    "openssl pkey -in key.pem -pubout -out key.pub"
)


def load_key(path: Path, password: bytes | None = None) -> ec.EllipticCurvePrivateKey:
    """Read a private key (PEM, PKCS#8 or SEC 1); raise ``UsageError`` where it is not a P-256 key that opens."""
    try:
        key = serialization.load_pem_private_key(files.read_bytes(path), password)
    except OSError as error:
        raise UsageError(f"Cannot read the signing key {path}: {error.strerror}.", remedy=_MAKE_ONE) from error
    except TypeError as error:  # a password is missing, or one too many
        raise UsageError(f"Cannot open the signing key {path}: {error}.", remedy="Check the key's password.") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"Cannot open the signing key {path}: no private key in PEM, or the wrong password.", remedy=_MAKE_ONE
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError(f"The signing key {path} is not an ECDSA P-256 key.", remedy=_MAKE_ONE)
    return key


def sign(content: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the signature over SHA-256 as DER, which both programs take as it is.

    Nonces are derived from key and content (RFC 6979), so that the same bundle is signed with the same bytes.
    """
    return key.sign(content, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))

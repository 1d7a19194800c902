"""Check a signature with the ``openssl`` program, which sites have and can audit."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from bundler.effects import files, process
from bundler.errors import ToolFailedError, UsageError
from bundler.model import trust
from bundler.model.trust import PublicKey

_REMEDY: Final = "Install OpenSSL, or check the signature on a machine that has it."
_KEY_REMEDY: Final = "Give the signer's public key in PEM, which begins with -----BEGIN PUBLIC KEY-----."


def check_signature(content: bytes, signature: bytes, public_key: PublicKey) -> str:
    """Return what is wrong with an ECDSA or RSA signature over SHA-256 (DER); empty where it is valid.

    Raises:
        ToolMissingError: openssl is not on PATH.
        UsageError: openssl cannot use the public key.
    """
    openssl = process.find("openssl", remedy=_REMEDY)
    with tempfile.TemporaryDirectory(prefix="bundler-") as folder:
        key, file = Path(folder) / "key", Path(folder) / "signature"
        key.write_bytes(public_key.pem)
        file.write_bytes(signature)
        _check_key(openssl, key, public_key.name)
        command = (openssl, "dgst", "-sha256", "-verify", key, "-signature", file)
        try:
            process.run(command, purpose="checking a signature", stdin=content)
        except ToolFailedError as error:
            return " ".join(line.strip() for line in error.details) or error.problem
    return ""


def public_key(path: Path) -> PublicKey:
    """Read a public key in PEM; raise ``UsageError`` where there is none or openssl cannot use it."""
    text = files.read_text(path, "the public key", error=UsageError, missing=_KEY_REMEDY, remedy=_KEY_REMEDY)
    try:
        (key,) = trust.parse(text, str(path)).keys
    except ValueError as error:
        raise UsageError(f"{path} is not a public key.", remedy=_KEY_REMEDY, details=(str(error),)) from error
    _check_key(process.find("openssl", remedy=_REMEDY), path, str(path))
    return PublicKey(str(path), key.der)


def _check_key(openssl: Path, public_key: Path, name: str) -> None:
    try:
        process.run((openssl, "pkey", "-pubin", "-in", public_key, "-noout"), purpose="reading the public key")
    except ToolFailedError as error:
        raise UsageError(f"{name} is not a public key.", remedy=_KEY_REMEDY, details=error.details) from error

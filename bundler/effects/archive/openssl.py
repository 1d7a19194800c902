"""Check a signature with the ``openssl`` program, which every site has and can audit."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from bundler.effects import process
from bundler.errors import ToolFailedError, UsageError

_REMEDY: Final = "Install OpenSSL, or verify without --key and check the signature on another machine."


def check_signature(content: bytes, signature: bytes, public_key: Path) -> str:
    """Tell what is wrong with an ECDSA or RSA signature over SHA-256 (DER); empty where it fits.

    Raises:
        ToolMissingError: there is no openssl.
        UsageError: ``public_key`` is no public key in PEM.
    """
    openssl = process.find("openssl", remedy=_REMEDY)
    _check_key(openssl, public_key)
    with tempfile.TemporaryDirectory(prefix="bundler-") as folder:
        file = Path(folder) / "signature"
        file.write_bytes(signature)
        command = (openssl, "dgst", "-sha256", "-verify", public_key, "-signature", file)
        try:
            process.run(command, purpose="checking a signature", stdin=content)
        except ToolFailedError as error:
            return " ".join(line.strip() for line in error.details) or error.problem
    return ""


def _check_key(openssl: Path, public_key: Path) -> None:
    remedy = "Give the signer's public key in PEM, which begins with -----BEGIN PUBLIC KEY-----."
    if not public_key.is_file():
        raise UsageError(f"There is no public key {public_key}.", remedy=remedy)
    try:
        process.run((openssl, "pkey", "-pubin", "-in", public_key, "-noout"), purpose="reading the public key")
    except ToolFailedError as error:
        raise UsageError(f"{public_key} is no public key.", remedy=remedy, details=error.details) from error

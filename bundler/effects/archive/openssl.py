"""Check and make signatures with the ``openssl`` program, which sites have and can audit."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from bundler.effects import files, key_file, process
from bundler.errors import ToolFailedError, UsageError, VerificationError
from bundler.model import limits, trust
from bundler.model.trust import PublicKey

_REMEDY: Final = "Install OpenSSL, or check the signature on a machine that has it."
_MAKE_ONE: Final = "Make one: bundler keygen NAME"
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


def require_signature(content: bytes, signature: bytes, public_key: PublicKey, signed: str) -> None:
    """Refuse a signature that was made elsewhere where it does not fit; ``signed`` is what it was made of.

    Raises:
        VerificationError: it does not match the content and the key.
        ToolMissingError, UsageError: as ``check_signature``.
    """
    wrong = check_signature(content, signature[: limits.SIGNATURE_SIZE + 1], public_key)
    if wrong:
        raise VerificationError(
            f"The signature does not match {signed} and the key {public_key}.",
            remedy="Sign the file that --payload wrote, with SHA-256, as ECDSA or RSA (PKCS #1) in DER.",
            details=(wrong,),
        )


def public_key(path: Path) -> PublicKey:
    """Read a public key in PEM; raise ``UsageError`` where there is none or openssl cannot use it."""
    text = files.read_text(path, "the public key", error=UsageError, missing=_KEY_REMEDY, remedy=_KEY_REMEDY)
    try:
        (key,) = trust.parse(text, str(path)).keys
    except ValueError as error:
        raise UsageError(f"{path} is not a public key.", remedy=_KEY_REMEDY, details=(str(error),)) from error
    _check_key(process.find("openssl", remedy=_REMEDY), path, str(path))
    return PublicKey(str(path), key.der)


def sign(content: bytes, private_key: Path, password: bytes | None) -> tuple[bytes, PublicKey]:
    """Return a signature over SHA-256 (DER), and the public half of the key, which nobody but its owner can read.

    Raises:
        ToolMissingError: openssl is not on PATH.
        UsageError: there is no such key, others may read it, or openssl cannot use it with this password.
    """
    openssl = process.find("openssl", remedy=_REMEDY)
    key_file.read(private_key, _MAKE_ONE)
    # The password on stdin, where nobody sees it; without one an empty line, so that openssl does not ask a terminal.
    secret = (password or b"") + b"\n"
    with tempfile.TemporaryDirectory(prefix="bundler-") as folder:
        text, signature, public = (Path(folder) / name for name in ("text", "signature", "public"))
        text.write_bytes(content)
        opened = ("-passin", "stdin")
        commands: tuple[tuple[str | Path, ...], ...] = (
            (openssl, "dgst", "-sha256", "-sign", private_key, *opened, "-out", signature, text),
            (openssl, "pkey", "-in", private_key, *opened, "-pubout", "-out", public),
        )
        try:
            for command in commands:
                process.run(command, purpose="signing", stdin=secret)
        except ToolFailedError as error:
            problem = "it is not a private key for ECDSA or RSA in PEM, or the password is wrong or missing"
            raise UsageError(f"Cannot sign with the key {private_key}: {problem}.", remedy=_MAKE_ONE) from error
        (key,) = trust.parse(public.read_text(encoding="ascii"), private_key.stem).keys
        return signature.read_bytes(), key


def _check_key(openssl: Path, public_key: Path, name: str) -> None:
    try:
        process.run((openssl, "pkey", "-pubin", "-in", public_key, "-noout"), purpose="reading the public key")
    except ToolFailedError as error:
        raise UsageError(f"{name} is not a public key.", remedy=_KEY_REMEDY, details=error.details) from error

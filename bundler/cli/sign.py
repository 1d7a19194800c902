"""``bundler sign``: signatures of a bundle that is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundler.cli import console, key_password, options
from bundler.errors import UsageError

if TYPE_CHECKING:
    from bundler.model.progress import Progress


_FILE = click.Path(path_type=Path)


@click.command(
    name="sign",
    epilog=options.examples(
        "bundler sign rides-1.0.bundle.tar --key release.key --key-password prompt",
        "bundler sign rides-1.0.bundle.tar --payload bundle.json",
        "openssl dgst -sha256 -sign release.key -out release.sig bundle.json",
        "bundler sign rides-1.0.bundle.tar --attach release.sig --public-key release.pub",
    ),
)
@click.argument("bundle", type=_FILE, metavar="BUNDLE")
@click.option("--key", type=_FILE, help="Private key (PEM, ECDSA P-256) that signs the bundle here.")
@key_password.option()
@click.option("--payload", type=_FILE, metavar="FILE", help="Write what is to be signed elsewhere; sign nothing.")
@click.option("--attach", type=_FILE, metavar="SIGNATURE", help="Add this signature (DER), which was made elsewhere.")
@click.option("--public-key", type=_FILE, help="Public key (PEM) that must verify the signature of --attach.")
@options.output_format
@options.verbosity
def command(
    *,
    bundle: Path,
    key: Path | None,
    password_source: str | None,
    payload: Path | None,
    attach: Path | None,
    public_key: Path | None,
    output: str,
    progress: Progress,
) -> None:
    """Add a signature to BUNDLE, which may have several: one for each key.

    Verifies the bundle first. Give one of --key, --payload and --attach. Blobs are not written again.
    """
    from bundler.effects import files  # noqa: PLC0415  (help must not load the program)
    from bundler.steps.bundle import sign  # noqa: PLC0415

    if sum(bool(given) for given in (key, payload, attach)) != 1:
        raise UsageError(
            "bundler sign needs exactly one of --key, --payload and --attach.",
            remedy="Give one of --key, --payload and --attach.",
        )
    if bool(attach) != bool(public_key):
        raise UsageError("--attach and --public-key belong together.", remedy="Give both.")
    if payload:
        files.require_writable(payload)
        files.write(payload, sign.payload(bundle, progress))
        console.show(f"{payload}  sign this file with SHA-256, then give the signature to --attach")
        return
    if attach and public_key:
        signer = sign.attach(bundle, _read(attach), public_key, progress)
    elif key:
        signer = sign.with_key(bundle, key, key_password.read(password_source), progress)
    if output == "json":
        console.show_json({"bundle": str(bundle), "keyId": str(signer.key_id)})
    else:
        console.show(f"{bundle} is signed by {signer}")


def _read(signature: Path) -> bytes:
    from bundler.effects import files  # noqa: PLC0415  (help must not load the program)

    return files.read_content(signature, "the signature", remedy="Give the path of the file that openssl wrote.")

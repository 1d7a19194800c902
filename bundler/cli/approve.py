"""``bundler approve``: a reviewer's sign-off of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundler.cli import bundle_options, console, key_password, options
from bundler.errors import UsageError

if TYPE_CHECKING:
    from bundler.model.progress import Progress
    from bundler.model.trust import Trust

_FILE = click.Path(path_type=Path)


@click.command(
    name="approve",
    epilog=options.examples(
        "bundler approve rides-1.0.bundle.tar --role security --key ana.key --key-password prompt",
        "bundler approve rides-1.0.bundle.tar --role security --name Ana --payload approval.json",
        "openssl dgst -sha256 -sign ana.key -out approval.sig approval.json",
        "bundler approve rides-1.0.bundle.tar --approval approval.json --attach approval.sig --public-key ana.pub",
    ),
)
@bundle_options.bundle_argument
@click.option("--role", help="In which role the reviewer approves, e.g. security; a trust file says who may.")
@click.option("--name", help="The reviewer's name.  [default: that of the key's file]")
@click.option("--comment", default="", help="What the reviewer wants to add; one line.")
@click.option("--time", help="When it was approved, e.g. 2026-11-30T17:00:00Z.  [default: now]")
@click.option("--expires", default="", help="When the approval ends, e.g. 2027-05-31T00:00:00Z.  [default: never]")
@click.option("--key", type=_FILE, help="Private key (PEM, ECDSA or RSA) that signs the approval here.")
@key_password.option()
@click.option("--payload", type=_FILE, metavar="FILE", help="Write what is to be signed elsewhere; approve nothing.")
@click.option("--attach", type=_FILE, metavar="SIGNATURE", help="Add this signature (DER), which was made elsewhere.")
@click.option("--approval", type=_FILE, metavar="FILE", help="With --attach: the file that --payload wrote.")
@click.option("--public-key", type=_FILE, help="With --attach: public key (PEM) that must verify the signature.")
@options.output_format
@options.verbosity
def command(
    *,
    bundle: Path,
    trust: Trust,
    role: str | None,
    name: str | None,
    comment: str,
    time: str | None,
    expires: str,
    key: Path | None,
    password_source: str | None,
    payload: Path | None,
    attach: Path | None,
    approval: Path | None,
    public_key: Path | None,
    output: str,
    progress: Progress,
) -> None:
    """Add a reviewer's approval to BUNDLE: its digest, signed, with role, name, time and comment.

    Verifies the bundle first. Read its checklist before you approve it. A bundle may have several approvals, one for
    each role and key. Give one of --key, --payload and --attach. Blobs are not written again. `bundler inspect` shows
    approvals, `bundler install --require-approval` demands them. Needs openssl.
    """
    from bundler.effects import files  # noqa: PLC0415  (help must not load the program)
    from bundler.steps.bundle import approve  # noqa: PLC0415

    if sum(bool(given) for given in (key, payload, attach)) != 1:
        raise UsageError("bundler approve needs exactly one of --key, --payload and --attach.", remedy="Give one.")
    if attach:
        if not (approval and public_key) or role:
            raise UsageError(
                "--attach needs --approval and --public-key, and takes the role from --approval.",
                remedy="Give both, and leave out --role.",
            )
        signer = approve.attach(
            bundle,
            files.read_content(approval, "the approval", remedy="Give the path of the file that --payload wrote."),
            files.read_content(attach, "the signature", remedy="Give the path of the file that openssl wrote."),
            public_key,
            progress,
            trust,
        )
        _show(bundle, str(signer), str(signer.key_id), output)
        return
    if not role or approval or public_key:
        raise UsageError(
            "--key and --payload need --role, and neither --approval nor --public-key.",
            remedy="Say in which role the reviewer approves, e.g. --role security.",
        )
    if not name and not key:
        raise UsageError("--payload needs --name.", remedy="Say who approves, e.g. --name 'Ana Perez'.")
    asked = approve.ApprovalRequest(role, name or (key.stem if key else ""), time or console.now(), comment, expires)
    if payload:
        files.require_writable(payload)
        files.write(payload, approve.payload(bundle, asked, progress, trust))
        console.show(
            f"{payload}  sign this file with SHA-256, then give it to --approval and the signature to --attach"
        )
    elif key:
        password = key_password.read(password_source)
        signer = approve.with_key(bundle, approve.payload(bundle, asked, progress, trust), key, password)
        _show(bundle, str(signer), str(signer.key_id), output)


def _show(bundle: Path, signer: str, key_id: str, output: str) -> None:
    if output == "json":
        console.show_json({"bundle": str(bundle), "keyId": key_id})
    else:
        console.show(f"{bundle} is approved by {signer}")

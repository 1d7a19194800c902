"""``bundler keygen``: a key pair that signs bundles."""

from __future__ import annotations

from pathlib import Path

import click

from bundler.cli import console, key_password, options
from bundler.errors import UsageError


@click.command(name="keygen", epilog=options.examples("bundler keygen release", "bundler keygen ci --no-password"))
@click.argument("name", type=click.Path(path_type=Path), metavar="NAME")
@key_password.option()
@click.option("--no-password", is_flag=True, help="Write the private key without a password.")
@options.output_format
def command(*, name: Path, password_source: str | None, no_password: bool, output: str) -> None:
    """Make a key pair (ECDSA P-256): NAME.key signs bundles, NAME.pub is given to those who check them.

    Asks for a password unless --key-password says where it is. Overwrites nothing.
    """
    from bundler.effects.archive import signing  # noqa: PLC0415  (help must not load the program)

    if no_password and password_source:
        raise UsageError("--no-password and --key-password contradict each other.", remedy="Leave one out.")
    password = None if no_password else key_password.read(password_source or "prompt", confirm=True)
    private, public = name.with_name(f"{name.name}.key"), name.with_name(f"{name.name}.pub")
    made = signing.generate(private, public, password)
    if output == "json":
        console.show_json({"privateKey": str(private), "publicKey": str(public), "keyId": str(made.key_id)})
        return
    console.show(f"{private}  the private key: keep it where bundles are signed")
    console.show(f"{public}  the public key: hand it over on another channel than the bundles")
    console.show(f"key id {made.key_id}")

"""``bundler push``: from a bundle to a registry, straight out of the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from bundler.cli import console, options

if TYPE_CHECKING:
    from bundler.steps.push_plan import PushPlan, Receipt

_Command = TypeVar("_Command", bound=Callable[..., object])
_FILE = click.Path(path_type=Path)


def _registry_options(command: _Command) -> _Command:
    """How the registry is reached: the same options wherever one is."""
    for option in (
        click.option(
            "--authfile", type=_FILE, help="Credentials, as `skopeo login` writes them; else the usual files."
        ),
        click.option(
            "--ca-cert", type=_FILE, multiple=True, help="CA certificate (PEM) to trust besides the system's."
        ),
        click.option("--client-cert", type=_FILE, help="Client certificate (PEM)."),
        click.option("--client-key", type=_FILE, help="Its key (PEM)."),
        click.option("--plain-http", is_flag=True, help="Speak HTTP without TLS."),
        click.option("--insecure", is_flag=True, help="Do not verify the registry's certificate."),
    ):
        command = option(command)
    return command


@click.command(name="push")
@options.bundle_argument
@click.option("--registry", required=True, metavar="HOST[:PORT][/PREFIX]", help="Where to push; replaces the spec's.")
@click.option("--only", multiple=True, metavar="IMAGE", help="Push this image only; repeatable.")
@click.option("--parallel", type=click.IntRange(1, 64), default=8, show_default=True, help="Uploads at a time.")
@click.option(
    "--engine",
    type=click.Choice(["bundler", "skopeo"]),
    default="bundler",
    show_default=True,
    help="Who pushes; skopeo reads from the bundle served on loopback.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be sent, and send nothing.")
@click.option("--receipt", type=_FILE, help="Also write the receipt (JSON) here.")
@_registry_options
@options.cache_dir
@options.output_format
@options.verbosity
def command(
    *,
    bundle: Path,
    registry: str,
    only: tuple[str, ...],
    parallel: int,
    engine: str,
    dry_run: bool,
    receipt: Path | None,
    authfile: Path | None,
    ca_cert: tuple[Path, ...],
    client_cert: Path | None,
    client_key: Path | None,
    plain_http: bool,
    insecure: bool,
    cache_dir: Path,
    output: str,
    verbose: bool,
    quiet: bool,
) -> None:
    """Push the images of BUNDLE, reading them in place: no temporary disk, every byte once, damaged ones never.

    Blobs that the registry has are not sent again. A push that was broken off or killed goes on where the registry
    stopped; run the same command again.
    """
    from bundler.effects.registry.endpoint import Connection, Destination, TlsSettings  # noqa: PLC0415  (help stays quick)
    from bundler.steps import push, push_by_skopeo  # noqa: PLC0415

    asked = push.PushOptions(
        destination=Destination.parse(registry),
        plain_http=plain_http,
        tls=TlsSettings(ca_cert, client_cert, client_key, verify=not insecure),
        connection=Connection(auth_file=authfile, parallel=parallel),
        only=only,
        journal_folder=cache_dir / "uploads",
        receipt_file=receipt,
    )
    progress = options.progress(quiet=quiet, verbose=verbose)
    pusher = push_by_skopeo if engine == "skopeo" else push
    done = push.plan(bundle, asked, progress) if dry_run else pusher.run(bundle, asked, progress)
    if output == "json":
        console.show_json(done.to_json())
    else:
        _show(done)


def _show(done: PushPlan | Receipt) -> None:
    from bundler.steps.push_plan import PushPlan  # noqa: PLC0415

    present = console.size(done.bytes_present or 0)
    if isinstance(done, PushPlan):
        for image in done.images:
            console.show(str(image.named.target))
        console.show(f"would send {console.size(done.bytes_to_send)}; the registry has {present}")
        return
    for pushed in done.images:
        console.show(f"{pushed.reference}@{pushed.digest}")
    if done.unchanged:
        console.show(f"nothing to send: the registry has all {present}")
    elif done.bytes_sent is not None:
        console.show(f"sent {console.size(done.bytes_sent)} in {done.blobs_sent} blobs; {present} were there")

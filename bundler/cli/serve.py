"""``bundler serve``: a bundle as a read-only registry."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundler.cli import bundle_options, options
from bundler.errors import ExitCode

if TYPE_CHECKING:
    from bundler.model.progress import Progress
    from bundler.model.trust import Trust


@click.command(name="serve", epilog=options.examples("bundler serve rides-1.0.bundle.tar --listen 127.0.0.1:5000"))
@bundle_options.bundle_argument
@click.option(
    "--listen", default="127.0.0.1:5000", show_default=True, metavar="HOST:PORT", help="Address to listen on."
)
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate chain (PEM); turns TLS on.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Private key (PEM) of --tls-cert.")
@click.option(
    "--htpasswd",
    type=click.Path(path_type=Path),
    help="File of users, a line NAME:HASH each; only they are answered. HASH is what openssl passwd -6 prints.",
)
@options.verbosity
def command(
    *,
    bundle: Path,
    trust: Trust,
    listen: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    htpasswd: Path | None,
    progress: Progress,
) -> None:
    """Serve the images of BUNDLE as a read-only registry, straight from the file, until interrupted.

    For a site without a registry, or to pull onto one node. skopeo, Podman, Docker and containerd can pull from it.
    SIGTERM ends it with exit code 0. It listens on this machine alone. For others give --listen, and also --tls-cert,
    --tls-key and --htpasswd unless everybody who reaches the address may read the images.
    """
    # systemd, Docker and Kubernetes end a service by SIGTERM: it has then done its work.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(ExitCode.DONE))
    from bundler.steps.transport import serve  # noqa: PLC0415  (help must not load the program)

    asked = serve.ServeOptions(listen=listen, tls_cert=tls_cert, tls_key=tls_key, htpasswd=htpasswd)
    serve.run(bundle, asked, progress, trust)

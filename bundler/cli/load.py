"""``bundler load``: a bundle's images into a local engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundler.cli import bundle_options, console, options, registry_options

if TYPE_CHECKING:
    from bundler.model.progress import Progress
    from bundler.model.trust import Trust


@click.command(name="load", epilog=options.examples("bundler load rides-1.0.bundle.tar --engine podman"))
@bundle_options.bundle_argument
@click.option(
    "--engine", metavar="docker|podman", help="Container engine to load into.  [default: the first that is installed]"
)
@click.option("--only", multiple=True, metavar="IMAGE", help="Load this image only; repeatable.")
@click.option(
    "--platform",
    metavar="OS/ARCH",
    callback=options.platform,
    help="Platform to load of an image that has several.  [default: the engine's]",
)
@registry_options.listen("Address that the engine pulls from")
@options.output_format
@options.verbosity
def command(
    *,
    bundle: Path,
    trust: Trust,
    engine: str | None,
    only: tuple[str, ...],
    platform: str | None,
    listen: str,
    output: str,
    progress: Progress,
) -> None:
    """Load the images of BUNDLE into a local Docker or Podman, under the names that the manifests use.

    For clusters of one node (imagePullPolicy Never), and to look into the images.
    """
    from bundler.steps.transport import load  # noqa: PLC0415  (help must not load the program)

    asked = load.LoadOptions(engine=engine, only=only, platform=platform, listen=listen)
    loaded = load.run(bundle, asked, progress, trust)
    if output == "json":
        console.show_json({"images": [image.to_json() for image in loaded]})
        return
    for image in loaded:
        console.show(f"{image.reference}@{image.digest}")

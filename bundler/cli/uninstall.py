"""``bundler uninstall``: delete what a bundle brought to the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundler.cli import bundle_options, cluster_options, console, options

if TYPE_CHECKING:
    from bundler.effects.kubectl import Kubectl
    from bundler.model.progress import Progress
    from bundler.model.trust import Trust


@click.command(name="uninstall", epilog=options.examples("bundler uninstall rides-1.0.bundle.tar"))
@bundle_options.bundle_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--delete-volumes", is_flag=True, help="Also delete the volumes that the operator created, with their data."
)
@click.option(
    "--timeout", type=click.FloatRange(1), default=120, show_default=True, help="Seconds to wait for each object."
)
@cluster_options.cluster
@options.output_format
@options.verbosity
def command(
    *,
    bundle: Path,
    trust: Trust,
    yes: bool,
    delete_volumes: bool,
    timeout: float,
    kubectl: Kubectl,
    output: str,
    progress: Progress,
) -> None:
    """Delete the feature stores of BUNDLE and what was applied for them.

    Namespaces, Secrets that the site filled in, the operator, CRDs and all data stay: volumes that the operator created
    for a feature store are detached from it first, and the next install uses them again. Asks first, without --yes.
    """
    from bundler.steps.install import uninstall  # noqa: PLC0415  (help stays quick)
    from bundler.steps.install.release import Release  # noqa: PLC0415

    asked = uninstall.plan(Release.of(bundle, trust=trust))
    if not yes:
        lines = ["These objects will be deleted:", *(f"  {line}" for line in asked.lines())]
        console.confirm(
            [*lines, "and the volumes of the feature stores, with their data."] if delete_volumes else lines
        )
    done = uninstall.run(asked, kubectl, progress, timeout=timeout, delete_volumes=delete_volumes)
    if output == "json":
        console.show_json(done.to_json())
        return
    for line in done.deleted:
        console.show(f"deleted   {line}")
    for line in done.kept:
        console.show(f"kept      {line}")
    console.show(f"{done.title}: uninstalled" if done.deleted else f"{done.title}: nothing to delete")

"""``bundler rehearse``: run the bundle's pods without a network before any cluster sees them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundler.cli import bundle_options, cache_options, operator_release, options, rehearsal_options, report

if TYPE_CHECKING:
    from bundler.model.progress import Progress
    from bundler.model.trust import Trust


@click.command(
    name="rehearse", epilog=options.examples("bundler rehearse rides-1.0.bundle.tar --engine podman --redis redis:7")
)
@bundle_options.bundle_argument
@click.option(
    "--engine",
    type=click.Choice(["docker", "podman"]),
    help="Container engine that runs the pods.  [default: Docker (DOCKER_HOST, docker context, socket), else Podman]",
)
@rehearsal_options.store_images
@click.option(
    "--values",
    type=click.Path(path_type=Path),
    help="File of NAME=VALUE lines for variables that the site fills in.  [default: a random word for each]",
)
@click.option(
    "--user",
    metavar="UID:GID",
    callback=rehearsal_options.user,
    help="User that the servers run as.  [default: an unprivileged one, as OpenShift assigns]",
)
@click.option("--read-only-root", is_flag=True, help="Let servers write to their volumes and /tmp only.")
@click.option(
    "--manifests",
    type=click.Path(path_type=Path),
    help="Folder of manifests to use with the bundle's images, instead of the bundle's manifests.",
)
@click.option(
    "--operator-version",
    metavar="VERSION",
    callback=operator_release.check,
    help="Create the pods as this release of the operator would.",
)
@click.option(
    "--keep-images", is_flag=True, help="Keep the images in the engine, so that the next rehearsal starts sooner."
)
@click.option("--report", "report_file", type=click.Path(path_type=Path), help="File that also gets the report (JSON).")
@cache_options.engine_notes_dir
@options.output_format
@options.verbosity
def command(
    *,
    bundle: Path,
    trust: Trust,
    engine: str | None,
    store_images: Mapping[str, str],
    values: Path | None,
    user: str | None,
    read_only_root: bool,
    manifests: Path | None,
    operator_version: str | None,
    keep_images: bool,
    report_file: Path | None,
    cache_dir: Path,
    output: str,
    progress: Progress,
) -> int:
    """Run the pods that the operator would create for BUNDLE, in Docker or Podman, without a network.

    Starts each server as the kubelet would (command, variables, volumes, probes, an unprivileged UID), runs the
    CronJob's commands as kubectl exec would, and asks the online server for what was materialized. Runs Redis and
    PostgreSQL if the bundle has an image of them or --redis or --postgres names one; else files replace these stores,
    and the report says so. Exit code 3: something failed.
    """
    from bundler.effects import files  # noqa: PLC0415  (help must not load the program)
    from bundler.effects.engine import runs as engine_runs  # noqa: PLC0415  (help must not load the program)
    from bundler.steps.rehearsal import run as rehearse  # noqa: PLC0415
    from bundler.steps.rehearsal.options import ANY_USER, RehearseOptions, read_values  # noqa: PLC0415

    if report_file:
        files.require_writable(report_file)
    asked = RehearseOptions(
        engine=engine,
        environment=os.environ,
        store_images=store_images,
        user=user or ANY_USER,
        read_only_root=read_only_root,
        manifests=manifests,
        operator_version=operator_version,
        values=read_values(values) if values else {},
        keep_images=keep_images,
        notes_folder=engine_runs.folder(cache_dir),
    )
    outcome = rehearse.run(bundle, asked, progress, trust)
    if report_file:
        files.write(report_file, (json.dumps(outcome.to_json(), indent=2) + "\n").encode())
    return report.show(
        outcome, output, good=rehearse.verdict(outcome), bad="The bundle would not serve features.", status=3
    )

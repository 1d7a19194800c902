"""``bundler install``: installs a bundle whose images were pushed, and waits until its feature stores serve."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundler.cli import bundle_options, cluster_options, console, options, registry_options

if TYPE_CHECKING:
    from bundler.effects.kubectl import Kubectl
    from bundler.model.progress import Progress
    from bundler.model.trust import Trust
    from bundler.steps.install.online_check import FeatureQuery
    from bundler.steps.install.outline import Outline
    from bundler.steps.install.run import Installed

_FILE = click.Path(path_type=Path)


@click.command(
    name="install",
    epilog=options.examples(
        "bundler install rides-1.0.bundle.tar --registry registry.example:5000/feast --secret rides/redis=redis.env"
    ),
)
@bundle_options.bundle_argument
@registry_options.pushed_registry
@click.option(
    "--require-approval",
    "roles",
    metavar="ROLE",
    multiple=True,
    help="Refuse a bundle that no reviewer has approved in this role (bundler approve); repeatable. A trust file names "
    "the reviewers' keys (docs/trust.md).",
)
@cluster_options.secret_files
@cluster_options.install_part
@click.option("--no-first-run", is_flag=True, help="Do not run the CronJob once at the end.")
@cluster_options.read_features
@click.option(
    "--force-conflicts",
    is_flag=True,
    help="Take over fields of objects that another field manager owns (server-side apply).",
)
@click.option(
    "--dry-run",
    is_flag=False,
    flag_value="server",
    type=click.Choice(["client", "server"]),
    help="Change nothing. server (the default): ask the cluster what would change; client: list what would be "
    "applied, without a cluster. Write it with '=' (--dry-run=client) or as the last argument.",
)
@click.option("--yes", is_flag=True, help="Do not ask. Without a terminal, nothing is asked.")
@click.option(
    "--timeout", type=click.FloatRange(1), default=600, show_default=True, help="Seconds to wait for each step."
)
@cluster_options.cluster
@click.option("--receipt", type=_FILE, help="File that also gets the receipt (JSON).")
@click.option(
    "--checklist",
    type=_FILE,
    metavar="FOLDER",
    help="Folder that gets the checklist with the evidence of this install.",
)
@options.output_format
@options.verbosity
def command(
    *,
    bundle: Path,
    trust: Trust,
    registry: str,
    flat: bool,
    roles: tuple[str, ...],
    secrets: tuple[str, ...],
    part: str,
    no_first_run: bool,
    read: FeatureQuery | None,
    force_conflicts: bool,
    dry_run: str | None,
    yes: bool,
    timeout: float,
    kubectl: Kubectl,
    receipt: Path | None,
    checklist: Path | None,
    output: str,
    progress: Progress,
) -> None:
    """Apply BUNDLE's manifests in order, wait until the feature stores serve, and run the CronJob once.

    Applies CRDs and operator first, then namespaces, Secrets, ServiceAccounts and feature stores, with images from
    --registry. At the end it asks the online server, inside its pod, for its health and for the features of --feature,
    and removes what only the earlier bundle had. Objects that are as they should be stay unchanged, so the command can
    be repeated after an interruption, or to check for drift. At a terminal it lists the objects and asks first. Needs
    kubectl or oc, and nothing else.
    """
    from bundler.effects import files  # noqa: PLC0415  (help stays quick)
    from bundler.model.trust import ApprovalDemand  # noqa: PLC0415
    from bundler.steps.install import run as install  # noqa: PLC0415
    from bundler.steps.install import site_checklist  # noqa: PLC0415
    from bundler.steps.install.outline import Outline  # noqa: PLC0415
    from bundler.steps.install.release import Release  # noqa: PLC0415

    if checklist and dry_run:
        raise click.UsageError("A dry run is not evidence for a checklist: leave out --checklist or --dry-run.")
    demanding = replace(trust, demand=ApprovalDemand(roles, console.now()))
    release = Release.of(bundle, registry, demanding, flat=flat)
    if dry_run == "client":
        _show_outline(Outline.of(release, part, secrets), as_json=output == "json")
        return
    if receipt:
        files.require_writable(receipt)
    if checklist:
        files.require_folder(checklist)
    if not (yes or dry_run) and console.can_ask():
        _confirm(Outline.of(release, part, secrets), kubectl)
    asked = install.InstallOptions(
        secrets=secrets,
        part=part,
        dry_run=dry_run is not None,
        force_conflicts=force_conflicts,
        first_run=not no_first_run,
        query=read,
        timeout=timeout,
    )
    done = install.run(release, asked, kubectl, progress)
    if receipt:
        files.write(receipt, (json.dumps(done.to_json(), indent=2) + "\n").encode())
    if checklist:
        site_checklist.write(release, checklist, done, console.now())
    if output == "json":
        console.show_json(done.to_json())
        return
    _show(done)


def _show(done: Installed) -> None:
    for row in done.objects:
        if row.outcome != "unchanged":
            console.show(str(row))
    for job in done.runs:
        console.show(f"ran       Job {job}")
    for name in done.removed:
        console.show(f"removed   {name}")
    for line in done.answers:
        console.show(f"answers   {line}")
    console.show(done.summary())


def _show_outline(outline: Outline, *, as_json: bool) -> None:
    if as_json:
        console.show_json(outline.to_json())
        return
    for line in outline.lines():
        console.show(line)
    console.show(f"{outline.bundle}: not installed; the cluster was not asked")


def _confirm(outline: Outline, kubectl: Kubectl) -> None:
    where = f"to the cluster {kubectl.server()}, with images of {outline.registry}."
    console.confirm((f"{outline.bundle} applies:", *(f"  {line}" for line in outline.lines()), where))

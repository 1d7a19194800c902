"""``bundler push``: from a bundle to a registry, straight out of the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundler.cli import bundle_options, cache_options, console, options, registry_options
from bundler.model.size import size

if TYPE_CHECKING:
    from bundler.effects.registry.endpoint import Access
    from bundler.model.progress import Progress
    from bundler.model.trust import Trust
    from bundler.steps.transport.push_plan import PushPlan, Receipt

_FILE = click.Path(path_type=Path)


def _renamed(_context: click.Context, _option: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError(f"--engine {value}: what sends the images is now named by --client {value}.")


@click.command(
    name="push", epilog=options.examples("bundler push rides-1.0.bundle.tar --registry registry.example:5000/feast")
)
@bundle_options.bundle_argument
@click.option(
    "--registry",
    required=True,
    metavar="HOST[:PORT][/PREFIX]",
    help="Registry to push to, instead of the one in the spec.",
)
@registry_options.flatten(
    "Make one component of each repository below PREFIX, for registries without nested paths: team/app becomes "
    "team-app. Give it to preflight, install and status, too."
)
@click.option("--only", multiple=True, metavar="IMAGE", help="Push this image only; repeatable.")
@click.option(
    "--parallel", type=click.IntRange(1, 64), default=8, show_default=True, help="Largest number of uploads at a time."
)
@click.option(
    "--client",
    type=click.Choice(["bundler", "skopeo"]),
    default="bundler",
    show_default=True,
    help="What sends the images. skopeo reads them from the bundle, which is served on loopback.",
)
@registry_options.listen("Address that skopeo reads the bundle from, with --client skopeo")
@click.option("--engine", hidden=True, callback=_renamed, expose_value=False)
@click.option("--dry-run", is_flag=True, help="Show what would be sent; send nothing.")
@click.option("--force", is_flag=True, help="Send everything again, also what the registry says that it has.")
@click.option("--keep-going", is_flag=True, help="Push the other images where one fails; the exit code says so.")
@click.option("--receipt", type=_FILE, help="File that also gets the receipt (JSON).")
@registry_options.registry_access
@cache_options.uploads_dir
@options.output_format
@options.verbosity
def command(
    *,
    bundle: Path,
    trust: Trust,
    registry: str,
    flat: bool,
    only: tuple[str, ...],
    parallel: int,
    client: str,
    listen: str,
    dry_run: bool,
    force: bool,
    keep_going: bool,
    receipt: Path | None,
    access: Access,
    cache_dir: Path,
    output: str,
    progress: Progress,
) -> int:
    """Push the images of BUNDLE to a registry, straight from the file.

    Needs no disk space, reads every byte once, and never stores a damaged blob at the registry. Does not send blobs
    that the registry has, and at the end confirms that it gives them back. Run an interrupted push again: it continues
    where the registry stopped.
    """
    from bundler.effects.registry import journal  # noqa: PLC0415  (help stays quick)
    from bundler.effects.registry.endpoint import Destination  # noqa: PLC0415
    from bundler.steps.transport import push, push_failures  # noqa: PLC0415

    asked = push.PushOptions(
        destination=replace(Destination.parse(registry), flat=flat),
        access=replace(access, connection=replace(access.connection, parallel=parallel)),
        only=only,
        journal_folder=journal.folder(cache_dir),
        receipt_file=receipt,
        force=force,
        keep_going=keep_going,
        listen=listen,
    )
    done: PushPlan | Receipt
    if dry_run:
        done = push.plan(bundle, asked, progress, trust)
    elif client == "skopeo":
        from bundler.steps.transport import push_by_skopeo  # noqa: PLC0415  (serves the bundle, which push does not)

        done = push_by_skopeo.run(bundle, asked, progress, trust)
    else:
        done = push.run(bundle, asked, progress, trust)
    if output == "json":
        console.show_json(done.to_json())
    else:
        _show(done)
    for failed in done.failed:
        console.show_error(failed.error, as_json=False)
        beside = "; it is an artifact beside the images, which run without it" if failed.artifact else ""
        console.tell(f"  {failed.image} was not pushed{beside}")
    return push_failures.exit_code(done.failed)


def _show(done: PushPlan | Receipt) -> None:
    from bundler.steps.transport.push_plan import PushPlan  # noqa: PLC0415

    present = size(done.bytes_present or 0)
    if isinstance(done, PushPlan):
        for image in done.images:
            console.show(str(image.named.target))
        console.show(f"would send {size(done.bytes_to_send)}; the registry has {present}")
        return
    for pushed in done.images:
        console.show(f"{pushed.reference}@{pushed.digest}")
    if done.unchanged:
        console.show(f"nothing to send: the registry has all {present}")
    elif done.bytes_sent is not None:
        console.show(f"sent {size(done.bytes_sent)} in {done.blobs_sent} blobs; {present} were there")

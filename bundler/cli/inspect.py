"""``bundler inspect``: what is in a bundle, after everything but its layers was checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundler.cli import bundle_options, console, options
from bundler.model.size import size

if TYPE_CHECKING:
    from bundler.model.trust import Trust
    from bundler.steps.bundle.summary import Contents


@click.command(name="inspect", epilog=options.examples("bundler inspect rides-1.0.bundle.tar"))
@bundle_options.bundle_argument
@click.option(
    "--checklist",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder that gets the checklist with the approvals that the bundle has now.",
)
@options.output_format
def command(*, bundle: Path, trust: Trust, checklist: Path | None, output: str) -> None:
    """Show what the manifest of BUNDLE lists: images, files, whether it is signed, and who approved it.

    Checks everything but the bytes of layers and the signature, in a moment at any size. `bundler verify` checks
    these, too.
    """
    from bundler.effects import files  # noqa: PLC0415  (help must not load the program)
    from bundler.steps.bundle import summary as inspect  # noqa: PLC0415

    if checklist:
        files.require_folder(checklist)
    contents = inspect.run(bundle, trust, console.now(), checklist)
    if output == "json":
        console.show_json(contents.to_json())
    else:
        _show(contents)


def _show(contents: Contents) -> None:
    manifest = contents.manifest
    console.show(f"{manifest.name} {manifest.version}, made {manifest.created_text} by {manifest.tool}")
    files = f" in {contents.volumes} volumes" if contents.volumes > 1 else ""
    console.show(f"  {size(contents.size)}{files}, {'signed' if contents.signed else 'not signed'}, {contents.digest}")
    console.show(f"  for the registry {manifest.registry}")
    if base := manifest.base:
        console.show(f"  {console.delta(base)}")
    for approval in contents.approvals:
        problem = f"; does not count: {approval.problem}" if approval.problem else ""
        console.show(f"  {approval}{problem}")
        if approval.approval and approval.approval.comment:
            console.show(f"    {approval.approval.comment}")
    console.show("")
    console.show("images")
    for image in manifest.images:
        platforms = ", ".join(map(str, image.platforms)) or "artifact"
        console.show(f"  {image.role:<15} {size(image.size):>9}  {platforms}  {image.internal}")
        console.show(f"  {'':<15} {'':>9}  {image.root.digest}")
    console.show("")
    console.show("files")
    blobs = 0
    for entry in manifest.files:
        if entry.role == "blob":
            blobs += 1
        else:
            console.show(f"  {entry.role:<15} {size(entry.size):>9}  {entry.path}")
    console.show(f"  {'blobs':<15} {size(contents.blobs_size):>9}  {blobs} files")

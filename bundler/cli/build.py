"""``bundler build``: the main job, from a spec to one offline bundle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from bundler.cli import console, options
from bundler.model.size import size

if TYPE_CHECKING:
    from bundler.effects.registry.endpoint import Access
    from bundler.steps.rehearsal.options import RehearseOptions


_READERS: Final = ("bundler", "skopeo")
_ENGINES: Final = ("docker", "podman", "none")


@click.command(name="build")
@options.spec_file
@click.option(
    "-o",
    "--output-dir",
    type=click.Path(path_type=Path),
    default=Path("dist"),
    show_default=True,
    help="Folder for NAME-VERSION.bundle.tar.",
)
@click.option("--locked", is_flag=True, help="Fail where bundle.lock is absent, instead of making it.")
@click.option(
    "--dry-run", is_flag=True, help="List the steps, and the images that would be fetched with their bytes, and stop."
)
@click.option(
    "--reader",
    type=click.Choice(["bundler", "skopeo"]),
    default="bundler",
    show_default=True,
    help="What reads registries. skopeo honours the signature policy of this host (policy.json).",
)
@click.option(
    "--engine",
    metavar="docker|podman|none",
    help="Container engine that bakes the image, from a Dockerfile that the bundle keeps; none bakes without one. "
    "Comes before 'engine' of the spec.",
)
@click.option(
    "--sign-key", type=click.Path(path_type=Path), help="Private key (PEM, ECDSA P-256) to sign the bundle with."
)
@click.option(
    "--rehearse",
    is_flag=True,
    help="Play the pods without a network before packing (bundler rehearse), and put the evidence into the checklist.",
)
@click.option("--rehearse-engine", type=click.Choice(["docker", "podman"]), help="Container engine of the rehearsal.")
@options.store_images
@options.volume_size
@click.option(
    "--base",
    type=click.Path(path_type=Path),
    metavar="OLD",
    help="Bundle that the site has pushed already: its layers are left out, and a push proves that they are there.",
)
@options.registry_access
@options.cache_dir
@options.output_format
@options.verbosity
def command(
    *,
    spec_file: Path,
    output_dir: Path,
    locked: bool,
    dry_run: bool,
    reader: str,
    engine: str | None,
    sign_key: Path | None,
    rehearse: bool,
    rehearse_engine: str | None,
    store_images: Mapping[str, str],
    volume_size: int | None,
    base: Path | None,
    access: Access,
    cache_dir: Path,
    output: str,
    verbose: bool,
    quiet: bool,
) -> None:
    """Bake the feature-server image, mirror every other image, emit the manifests, pack one bundle.

    Uses bundle.lock beside the spec where it fits, refuses it where it is stale, makes it where it is absent. Needs
    no container engine, and uses one where it is told to. An interrupted build goes on where it stopped when it is run
    again.
    """
    from bundler.effects.blobs import BlobStore  # noqa: PLC0415  (help must not load the program)
    from bundler.steps.build import run as build  # noqa: PLC0415

    if (rehearse_engine or store_images) and not rehearse:
        raise click.UsageError("--rehearse-engine, --redis and --postgres are for a rehearsal: add --rehearse.")
    store, progress = BlobStore(cache_dir), options.progress(quiet=quiet, verbose=verbose)
    request = build.BuildRequest(
        spec_file=spec_file,
        output_dir=output_dir,
        epoch=options.source_date_epoch(),
        locked=locked,
        sign_key=sign_key,
        engine=reader,
        baker=_container_engine(engine),
        environment=os.environ,
        rehearsal=_rehearsal(rehearse_engine, store_images, cache_dir) if rehearse else None,
        volume_size=volume_size,
        base=base,
        access=access,
    )
    if dry_run:
        planned = build.plan(request, store, progress)
        if output == "json":
            console.show_json(planned.to_json())
            return
        for number, step in enumerate(planned.steps, start=1):
            console.show(f"{number:>2}. {step.title}")
        for image in planned.mirror.images:
            console.show(f"{size(image.missing):>9} of {size(image.size):>9}  {image.reference}")
        console.show(f"{size(planned.mirror.bytes_to_fetch):>9} to fetch; Python and Debian packages come on top")
        return
    built = build.run(request, store, progress)
    if output == "json":
        console.show_json(built.to_json())
        return
    for line in built.summary():
        console.show(line)


def _rehearsal(engine: str | None, store_images: Mapping[str, str], cache: Path) -> RehearseOptions:
    from bundler.effects.engine import runs as engine_runs  # noqa: PLC0415  (help must not load the program)
    from bundler.steps.rehearsal.options import RehearseOptions  # noqa: PLC0415  (help must not load the program)

    return RehearseOptions(engine, os.environ, store_images, notes_folder=engine_runs.folder(cache))


def _container_engine(name: str | None) -> str | None:
    """Return the container engine; raise ``UsageError`` for another word, and for what --engine meant before."""
    if name in _READERS:
        raise click.UsageError(f"--engine {name}: what reads registries is now named by --reader {name}.")
    if name is not None and name not in _ENGINES:
        raise click.UsageError(f"--engine {name}: the container engines are docker and podman; none bakes without one.")
    return name

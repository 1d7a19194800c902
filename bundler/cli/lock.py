"""``bundler lock``: resolve and pin everything that a build will use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundler.cli import cache_options, console, options, registry_options

if TYPE_CHECKING:
    from bundler.effects.registry.endpoint import Access
    from bundler.model.progress import Progress


@click.command(
    name="lock", epilog=options.examples("bundler lock -f bundle.yaml", "bundler lock -f bundle.yaml -P pandas")
)
@options.spec_file
@click.option("--upgrade", is_flag=True, help="Resolve everything again instead of keeping the pins of the lock.")
@click.option(
    "-P", "--upgrade-package", "packages", multiple=True, metavar="NAME", help="Resolve this package again; repeatable."
)
@registry_options.registry_access
@cache_options.cache_dir
@options.output_format
@options.verbosity
def command(
    *,
    spec_file: Path,
    upgrade: bool,
    packages: tuple[str, ...],
    access: Access,
    cache_dir: Path,
    output: str,
    progress: Progress,
) -> None:
    """Write bundle.lock beside the spec.

    The lock pins wheels by name, version and hash for each platform, images by digest, and fingerprints the spec and
    the feature repo. It does not name a package index, so it works with every mirror. Commit it to version control.
    """
    from bundler.effects.blobs import BlobStore  # noqa: PLC0415  (help must not load the program)
    from bundler.steps.lock import lockfile as locking  # noqa: PLC0415

    request = locking.LockRequest(
        spec_file=spec_file,
        epoch=options.build_time(),
        upgrade=upgrade,
        upgrade_packages=packages,
        access=access,
    )
    written = locking.write(request, BlobStore(cache_dir), progress)
    if output == "json":
        console.show_json({"lock": str(written.path), "changes": list(written.changes)})
        return
    for line in written.changes:
        console.show(line)
    console.show(str(written.path))

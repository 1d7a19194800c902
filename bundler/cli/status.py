"""``bundler status``: what of a bundle is installed, and whether it serves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundler.cli import options, report
from bundler.errors import ExitCode

if TYPE_CHECKING:
    from bundler.effects.kubectl import Kubectl


@click.command(name="status")
@options.bundle_argument
@options.pushed_registry
@options.cluster
@options.output_format
@options.verbosity
def command(
    *,
    bundle: Path,
    registry: str,
    kubectl: Kubectl,
    output: str,
    verbose: bool,
    quiet: bool,
) -> int:
    """Say whether BUNDLE is what was installed last, whether its feature stores serve, and what stops them.

    Reads only. Exit code 0 where all is well, 8 where it is not.
    """
    from bundler.steps.install import status  # noqa: PLC0415  (help stays quick)
    from bundler.steps.install.release import Release  # noqa: PLC0415

    options.progress(quiet=quiet, verbose=verbose)  # --verbose shows what kubectl is asked
    found = status.run(Release.of(bundle, registry), kubectl)
    return report.show(found, output, good="Serving.", bad="NOT SERVING as it should.", status=ExitCode.CLUSTER)

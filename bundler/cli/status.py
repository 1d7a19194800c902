"""``bundler status``: shows what of a bundle is installed, and whether it serves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundler.cli import bundle_options, cluster_options, options, registry_options, report
from bundler.errors import ExitCode

if TYPE_CHECKING:
    from bundler.effects.kubectl import Kubectl
    from bundler.model.progress import Progress
    from bundler.model.trust import Trust


@click.command(
    name="status", epilog=options.examples("bundler status rides-1.0.bundle.tar --registry registry.example:5000/feast")
)
@bundle_options.bundle_argument
@registry_options.pushed_registry
@cluster_options.cluster
@options.output_format
@options.verbosity
def command(
    *,
    bundle: Path,
    trust: Trust,
    registry: str,
    flat: bool,
    kubectl: Kubectl,
    output: str,
    progress: Progress,  # noqa: ARG001  (-v shows what kubectl is asked, even where nothing takes long)
) -> int:
    """Show whether BUNDLE was installed last, whether its feature stores serve, and what stops them.

    Changes nothing. Exit code 0: everything serves; 8: something does not.
    """
    from bundler.steps.install import status  # noqa: PLC0415  (help stays quick)
    from bundler.steps.install.release import Release  # noqa: PLC0415

    outcome = status.run(Release.of(bundle, registry, trust, flat=flat), kubectl)
    return report.show(
        outcome, output, good="Serving.", bad="Not everything serves as it should.", status=ExitCode.CLUSTER
    )

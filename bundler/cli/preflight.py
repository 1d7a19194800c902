"""``bundler preflight``: everything that would stop an install, at once, before anything changes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundler.cli import bundle_options, cluster_options, options, registry_options, report
from bundler.errors import ExitCode

if TYPE_CHECKING:
    from bundler.effects.kubectl import Kubectl
    from bundler.effects.registry.endpoint import Access
    from bundler.model.progress import Progress
    from bundler.model.trust import Trust


@click.command(
    name="preflight",
    epilog=options.examples("bundler preflight rides-1.0.bundle.tar --registry registry.example:5000/feast"),
)
@bundle_options.bundle_argument
@registry_options.pushed_registry
@cluster_options.secret_files
@cluster_options.install_part
@cluster_options.cluster
@registry_options.registry_access
@options.output_format
@options.verbosity
def command(
    *,
    bundle: Path,
    trust: Trust,
    registry: str,
    flat: bool,
    secrets: tuple[str, ...],
    part: str,
    kubectl: Kubectl,
    access: Access,
    output: str,
    progress: Progress,
) -> int:
    """Find everything that would stop an install of BUNDLE, and what to do about it.

    Checks the cluster (version, rights, operator, every object by a server-side dry run, Secrets, nodes, storage,
    quotas) and at the registry (every image by digest, the login of the pull secrets). Changes nothing. Exit code 0:
    an install can begin; 8: it cannot.
    """
    from bundler.steps.install.preflight import run  # noqa: PLC0415  (help stays quick)
    from bundler.steps.install.release import Release  # noqa: PLC0415

    asked = run.PreflightOptions(access, secrets, part)
    outcome = run.run(Release.of(bundle, registry, trust, flat=flat), asked, kubectl, progress)
    return report.show(
        outcome, output, good="Nothing stops an install.", bad="An install would fail.", status=ExitCode.CLUSTER
    )

"""``bundler lint``: what of a FeatureStore will not start, and why."""

from __future__ import annotations

from pathlib import Path

import click

from bundler.cli import operator_release, options, report
from bundler.errors import UsageError


@click.command(name="lint")
@click.argument("manifests", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--operator-version",
    metavar="VERSION",
    callback=operator_release.check,
    help="Release of the operator, e.g. 0.61.0.",
)
@click.option(
    "--operator-manifest",
    type=click.Path(path_type=Path),
    help="The release's install.yaml: its schema and rules are then checked, too.",
)
@options.output_format
def command(
    *, manifests: tuple[Path, ...], operator_version: str | None, operator_manifest: Path | None, output: str
) -> int:
    """Say what an operator would refuse in MANIFESTS, and what it would accept but never get to start.

    Exit code 3 where anything fails. Try it on the resource that Feast's guide prints for air-gapped clusters.
    """
    from bundler.steps import lint  # noqa: PLC0415  (help must not load the program)

    if (operator_version is None) == (operator_manifest is None):
        raise UsageError("Exactly one of --operator-version and --operator-manifest says which operator is meant.")
    found = lint.run(manifests, operator_version=operator_version, operator_manifest=operator_manifest)
    return report.show(found, output, good="Nothing is known to go wrong.", bad="It does not work as it is.", status=3)

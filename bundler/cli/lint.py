"""``bundler lint``: finds the parts of a FeatureStore that will not start, and why."""

from __future__ import annotations

from pathlib import Path

import click

from bundler.cli import operator_release, options, report
from bundler.errors import UsageError


@click.command(name="lint", epilog=options.examples("bundler lint featurestore.yaml --operator-version 0.61.0"))
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
    help="install.yaml of the operator's release; its schema and rules are checked too.",
)
@options.output_format
def command(
    *, manifests: tuple[Path, ...], operator_version: str | None, operator_manifest: Path | None, output: str
) -> int:
    """Find what the operator would refuse in MANIFESTS, and what it would accept but could not start.

    MANIFESTS are files, or folders whose YAML files are read at any depth.

    Exit code 3: something would fail.
    """
    from bundler.steps import lint  # noqa: PLC0415  (help must not load the program)

    if (operator_version is None) == (operator_manifest is None):
        raise UsageError(
            "Name the operator by exactly one of --operator-version and --operator-manifest.",
            remedy="Give one of them, e.g. --operator-version 0.61.0.",
        )
    outcome = lint.run(manifests, operator_version=operator_version, operator_manifest=operator_manifest)
    return report.show(
        outcome, output, good="No fault was found.", bad="The operator would refuse or could not start this.", status=3
    )

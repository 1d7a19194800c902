"""``bundler init``: propose a spec for a feature repo."""

from __future__ import annotations

from pathlib import Path

import click

from bundler.cli import console, options
from bundler.errors import UsageError


@click.command(name="init", epilog=options.examples("bundler init feature_repo -o bundle.yaml"))
@click.argument("repo", type=click.Path(path_type=Path))
@click.option("--name", help="Name of the bundle.  [default: the feature repo's project]")
@click.option(
    "-o",
    "--output-file",
    type=click.Path(path_type=Path),
    help="File to write instead of stdout; an existing file is never overwritten.",
)
def command(repo: Path, name: str | None, output_file: Path | None) -> None:
    """Write a commented bundle.yaml for the feature repo REPO.

    Fills in what the repo and the files around it say: stores and the variables that they need, requirement files or
    the packages of pyproject.toml, setup.cfg, Pipfile or environment.yml, the Feast release, and a base whose Python
    fits. What they do not say (the internal registry, the namespace) gets a placeholder. What is not taken is named,
    with the reason. Paths are relative to the folder of the output file, or else to the current folder.
    """
    from bundler.effects import files  # noqa: PLC0415  (help must not load the program)
    from bundler.steps.lock import init  # noqa: PLC0415

    if output_file and files.is_there(output_file):
        raise UsageError(f"{output_file} exists.", remedy="Choose another name, or remove it first.")
    if output_file:
        files.require_writable(output_file)
    proposal = init.propose(repo, name=name, folder=output_file.parent if output_file else Path.cwd())
    for note in proposal.notes:
        console.tell(note)
    if output_file is None:
        console.show_document(proposal.text)
        return
    files.write(output_file, proposal.text.encode())
    console.show(str(output_file))

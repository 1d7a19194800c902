"""``bundler verify``: recompute everything a bundle says of itself."""

from __future__ import annotations

from pathlib import Path

import click

from bundler.cli import console, options
from bundler.errors import ExitCode
from bundler.model.findings import Report, Status

_MARKS = {Status.PASS: "ok  ", Status.FAIL: "FAIL", Status.MANUAL: "todo", Status.NOT_APPLICABLE: "n/a "}


@click.command(name="verify")
@options.bundle_argument
@click.option("--key", type=click.Path(path_type=Path), help="Public key (PEM) that the signature must fit.")
@options.output_format
@options.verbosity
def command(*, bundle: Path, key: Path | None, output: str, verbose: bool, quiet: bool) -> int:
    """Recompute every digest of BUNDLE, reading it in place.

    Exit code 0 where all is well, 6 where anything is missing, extra or altered; every fault is reported.
    """
    from bundler.steps import verify  # noqa: PLC0415  (help must not load the program)

    report = verify.run(bundle, progress=options.progress(quiet=quiet, verbose=verbose), public_key=key)
    if output == "json":
        console.show_json(report.to_json())
    else:
        _show(report)
    return ExitCode.VERIFICATION if report.failed else ExitCode.DONE


def _show(report: Report) -> None:
    for finding in report.findings:
        console.show(f"{_MARKS[finding.status]}  {finding.title}")
        details = finding.evidence if finding.status is not Status.NOT_APPLICABLE else ()
        for line in details:
            console.show(f"        {line}")
        if finding.remedy and finding.status is not Status.PASS:
            console.show(f"        -> {finding.remedy}")
    console.show("FAILED: do not use this bundle." if report.failed else "Verified.")

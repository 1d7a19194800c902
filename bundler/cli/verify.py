"""``bundler verify``: recompute everything a bundle says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundler.cli import bundle_options, console, options, report
from bundler.errors import ExitCode

if TYPE_CHECKING:
    from bundler.model.progress import Progress
    from bundler.model.trust import Trust


@click.command(name="verify", epilog=options.examples("bundler verify rides-1.0.bundle.tar --key release.pub"))
@bundle_options.bundle_argument
@click.option("--key", type=click.Path(path_type=Path), help="Public key (PEM) that the signature must match.")
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path),
    help="Policy for vulnerabilities (YAML or JSON: failOn, allow) by which the scan of the build is judged again.",
)
@options.output_format
@options.verbosity
def command(
    *, bundle: Path, trust: Trust, key: Path | None, policy_file: Path | None, output: str, progress: Progress
) -> int:
    """Recompute every digest of BUNDLE, reading it in place.

    Reports every fault. Exit code 0: no fault; 6: something is missing, extra or altered.
    """
    from bundler.effects import files  # noqa: PLC0415  (help must not load the program)
    from bundler.steps.bundle import verify  # noqa: PLC0415

    if key:  # also where the bundle is not signed: a wrong path must not pass for a bundle without a signature
        files.read_content(key, "the public key", remedy="Give the signer's public key in PEM.")
    policy = None
    if policy_file:
        from bundler.steps.bundle import vulnerability_policy  # noqa: PLC0415  (start-up time: it reads YAML)

        policy = vulnerability_policy.read(policy_file)
    outcome = verify.run(bundle, progress=progress, public_key=key, trust=trust, now=console.now(), policy=policy)
    return report.show(
        outcome, output, good="Verified.", bad="FAILED: do not use this bundle.", status=ExitCode.VERIFICATION
    )

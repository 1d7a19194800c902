"""The program: its commands, and the only place that turns errors into messages and exit codes."""

from __future__ import annotations

import importlib
import importlib.util
import io
import logging
import os
import signal
import sys
from itertools import pairwise
from types import FrameType, TracebackType
from typing import NoReturn

import click

from bundler import __version__
from bundler.cli import console
from bundler.errors import BundlerError, ExitCode, UsageError

# Command -> one line of help. Each lives in the module of its name in bundler.cli and is imported when it is called,
# so that `verify` starts without the libraries of `build`; the offline program simply lacks the others' modules.
_COMMANDS = {
    "init": "Write a commented bundle.yaml for a feature repo.",
    "lock": "Resolve and pin everything that a build uses.",
    "build": "Build images and manifests, and pack one offline bundle.",
    "inspect": "Show what is in a bundle.",
    "sign": "Add a signature to a bundle.",
    "keygen": "Make a key pair that signs bundles.",
    "diff": "Show what one bundle has that another does not.",
    "verify": "Recompute every digest of a bundle.",
    "approve": "Add a reviewer's approval to a bundle.",
    "push": "Push a bundle's images to a registry, straight from the file.",
    "preflight": "Find everything that would stop an install; change nothing.",
    "install": "Apply a bundle's manifests, wait until it serves, run the CronJob once.",
    "status": "Show what of a bundle is installed, and whether it serves.",
    "uninstall": "Delete what a bundle installed; data stays.",
    "serve": "Serve a bundle as a read-only registry.",
    "load": "Load a bundle's images into a local Docker or Podman.",
    "rehearse": "Run the bundle's pods in containers without a network.",
    "lint": "Find what in manifests will not start, and why.",
}


class _Commands(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [name for name in _COMMANDS if importlib.util.find_spec(f"bundler.cli.{name}")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"bundler.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if rows := [(name, _COMMANDS[name]) for name in self.list_commands(ctx)]:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] in _COMMANDS and args[0] not in self.list_commands(ctx):
            ctx.fail(f"{args[0]!r} belongs to the connected side: install the whole program there with pip.")
        return super().resolve_command(ctx, args)


_HELP = """Put the Feast feature store on Kubernetes clusters that have no internet.

\b
Connected:     bundler init REPO > bundle.yaml;  bundler build -f bundle.yaml -o dist/
Disconnected:  bundler verify BUNDLE;  bundler push BUNDLE --registry HOST[:PORT]/PREFIX;
               bundler install BUNDLE --registry HOST[:PORT]/PREFIX

Results go to stdout, progress and errors to stderr; --output json is for scripts. Exit codes: 0 done,
1 bug or interrupt, 2 usage, 3 spec or lock unusable, 4 tool missing, 5 tool failed, 6 verification failed,
7 registry refused or unreachable, 8 cluster not ready, 9 images pushed without
artifacts that the registry refuses.
"""


@click.group(
    cls=_Commands, help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def program() -> None:
    """The group of all commands."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and end the process with the exit code of the result."""
    signal.signal(signal.SIGTERM, _interrupt)
    arguments = sys.argv[1:] if arguments is None else arguments
    as_json = "--output=json" in arguments or ("--output", "json") in pairwise(arguments)
    logging.captureWarnings(capture=True)
    sys.excepthook = _show_bug
    if isinstance(sys.stdout, io.TextIOWrapper):  # names out of bundles may be more than a terminal's encoding knows
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = program.main(arguments, prog_name="bundler", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else ExitCode.DONE)
    except BundlerError as error:
        console.show_error(error, as_json=as_json)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        if as_json:
            console.show_error(UsageError(console.usage_text(error), remedy="bundler COMMAND --help"), as_json=True)
        else:
            console.show_usage_error(error)
        sys.exit(ExitCode.USAGE)
    except (KeyboardInterrupt, click.Abort):
        sys.stderr.write("interrupted: no incomplete file is left; run the same command again to continue\n")
        sys.stderr.flush()
        # Not sys.exit: after an interrupt that came while Python was compiling a text (importing a dataclass does), the
        # interpreter would end by the signal, although it was caught here.
        os._exit(ExitCode.BUG)
    except BrokenPipeError:  # `bundler inspect ... | head`
        sys.stderr.close()
        sys.exit(ExitCode.BUG)


def _show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback, which is a bug of this program; its message may hold foreign text."""
    import traceback  # noqa: PLC0415  (start-up time)

    for line in "".join(traceback.format_exception(kind, error, trace)).splitlines():
        console.tell(line)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    # As for Ctrl-C, so that temporary files and child processes are cleaned up.
    raise KeyboardInterrupt

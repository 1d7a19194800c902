"""``bundler diff``: what one bundle has that another does not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundler.cli import bundle_options, console, options
from bundler.model.size import size

if TYPE_CHECKING:
    from bundler.model.trust import Trust
    from bundler.steps.bundle.diff import Change, Difference

_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")


@click.command(name="diff", epilog=options.examples("bundler diff rides-1.0.bundle.tar rides-1.1.bundle.tar --patch"))
@click.argument("old", type=click.Path(path_type=Path), metavar="OLD")
@click.argument("new", type=click.Path(path_type=Path), metavar="NEW")
@click.option("-p", "--patch", is_flag=True, help="Also show the changed lines of manifests and build files.")
@bundle_options.trusted
@options.output_format
def command(*, old: Path, new: Path, patch: bool, trust: Trust, output: str) -> None:
    """Show what bundle NEW has that bundle OLD does not.

    Compares images, Python and Debian packages, files of the feature repo and manifests, and says how many bytes a
    push of NEW sends to a registry that has OLD. OLD and NEW are files of bundles, or one volume of each. Checks
    everything but the bytes of layers and the signatures, which `bundler verify` does.
    """
    from bundler.steps.bundle import diff  # noqa: PLC0415  (help must not load the program)

    difference = diff.run(old, new, trust)
    if output == "json":
        console.show_json(difference.to_json())
        return
    for line in _lines(difference, patch=patch):
        console.show(line, keep="\t")


def _lines(difference: Difference, *, patch: bool) -> Iterator[str]:
    old, new = difference.old.manifest, difference.new.manifest
    yield f"{old.name} {old.version} -> {new.name} {new.version}"
    if difference.old.digest == difference.new.digest:
        yield "  the same bundle"
        return
    blobs, fresh = difference.new.blobs, difference.new_blobs
    yield (
        f"  {len(fresh)} of {len(blobs)} blobs are new: {size(sum(fresh.values()))} of "
        f"{size(sum(blobs.values()))}, which is what a push sends to a registry that has {old.version}"
    )
    if base := new.base:
        yield f"  {console.delta(base)}"
    if difference.lacking:
        yield f"  {len(difference.lacking)} of these are not in OLD, so NEW cannot be pushed after it"
    yield f"  made {old.created_text} by {old.tool}, and {new.created_text} by {new.tool}"
    yield from _section("images", difference.images)
    for bill, changes in difference.packages.items():
        yield from _section(f"in {bill}", changes)
    if difference.texts:
        yield from ("", "manifests and build files")
    for text in difference.texts:
        yield f"  {text.mark} {text.name}  +{text.added} -{text.removed} lines"
        if patch:
            yield from (f"      {line}" for line in text.patch)
    yield from _section("other files", difference.files)


def _section(title: str, changes: tuple[Change, ...]) -> Iterator[str]:
    if changes:
        yield from ("", title)
    for change in changes:
        yield f"  {change.mark} {change.name}  {' -> '.join(_short(text) for text in (change.old, change.new) if text)}"


def _short(text: str) -> str:
    """Shorten digests to the digits that people compare."""
    return _DIGEST.sub(r"\1", text)

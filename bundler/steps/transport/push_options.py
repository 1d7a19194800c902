"""What a push is asked for, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bundler.effects.registry.endpoint import Access, Destination
from bundler.effects.registry.upload import CHUNK_SIZE


@dataclass(frozen=True)
class PushOptions:
    """What ``bundler push`` was asked.

    ``only`` names images by their reference in the bundle or by the name they get; empty means all.
    ``journal_folder`` is where unfinished uploads are noted, so that the next push continues them; None: they are not.
    ``chunk_size`` is the most bytes in one request. ``force`` sends what the registry has, too. ``keep_going`` lets
    one image fail without the others. ``listen`` is the address that skopeo reads the bundle from.
    """

    destination: Destination
    access: Access = field(default_factory=Access)
    only: tuple[str, ...] = ()
    chunk_size: int = CHUNK_SIZE
    journal_folder: Path | None = None
    receipt_file: Path | None = None
    force: bool = False
    keep_going: bool = False
    listen: str = "127.0.0.1:0"
